import type { DetectionRecord } from "../detection/record.js";

/** What came of one image, for a file, a database or another machine. */
export interface Result extends DetectionRecord {
  /** When it was detected: ISO 8601, UTC. */
  time: string;
  /** The model's name where it has one, and the checksum of its network. */
  model: { name?: string; checksum: string };
  /** True where the process ended between detecting and recording, so that the image was detected once more. */
  repeated?: true;
}

/** How an output fares: for logs and /metrics. */
export interface OutputStatus {
  /** As on the command line, without secrets: "csv:results". */
  output: string;
  written: number;
  /** Kept on the disk until they can be written. */
  waiting: number;
  /** Given up, because the limit of what is kept on the disk was reached. */
  lost: number;
  /** Why the last attempt failed. Undefined: it succeeded. */
  error: string | undefined;
}

/** Where results go: one implementation a file in this folder, and yours. */
export interface Output {
  /**
   * Takes a result. It resolves when the result is where it belongs, or kept on the disk until it can go there. Detection never waits for a
   * receiver that is away, and a failure is no rejection: it shows in `status`.
   */
  write(result: Result): Promise<void>;
  /** How it fares now. */
  status(): OutputStatus;
  /** Writes what still can be written within a few seconds; the rest stays on the disk for the next start. */
  close(): Promise<void>;
}
