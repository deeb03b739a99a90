import type { DetectionRecord } from "../detection/record.js";

/** What came of one image, for a file, a database or another machine. */
export interface Result extends DetectionRecord {
  /** When it was detected: ISO 8601, UTC. */
  time: string;
  /** The model's name where it has one; SHA-256 of its file, as sha256sum prints it, or null where no file holds it. */
  model: { name?: string; checksum: string | null };
  /** Of which the image is, where a trigger said so. */
  part?: string;
  /** True where the process ended between detecting and recording, so that the image was detected once more. */
  repeated?: true;
}

/** How an output fares: for logs and /metrics. */
export interface OutputStatus {
  /** As on the command line, without secrets: "csv:results". */
  output: string;
  /** Since the start. */
  written: number;
  /** Not yet there: in memory or on the disk until they can be written. */
  waiting: number;
  /** Given up since the start: the limit of what is kept was reached, or the receiver refused it for good. */
  lost: number;
  /** Why the last attempt failed. Undefined: it succeeded. */
  error: string | undefined;
}

/** Where results go: one implementation a file in this folder, and yours. */
export interface Output {
  /**
   * Takes a result. True: it is where it belongs, or kept on the disk until it can go there. False: it was given up. Either
   * may take as long as a disk is full: who detects need not wait for it. It never rejects: a failure shows in `status`.
   */
  write(result: Result): Promise<boolean>;
  /** One entry for each place that results go to. */
  status(): readonly OutputStatus[];
  /** Writes what still can be written within a few seconds; the rest stays on the disk for the next start. */
  close(): Promise<void>;
}
