import { useEffect, useRef, useState } from "preact/hooks";

import { useStudio } from "../studio.js";
import { texts } from "../texts.js";

/** A camera that the browser sees; its picture is judged at a click, or one after another. */
export function Camera({ onImage, onClose }: { onImage(image: Blob): Promise<void>; onClose(): void }) {
  const { tell } = useStudio();
  const video = useRef<HTMLVideoElement>(null);
  const [isLive, setLive] = useState(false);
  // Of the last rendering: another model may be chosen while pictures are taken.
  const onImageNow = useRef(onImage);
  onImageNow.current = onImage;
  useEffect(() => {
    let stream: MediaStream | undefined;
    let isOver = false;
    const open = async (): Promise<void> => {
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
        if (isOver) return stop();
        video.current!.srcObject = stream;
        await video.current!.play();
      } catch (error) {
        if (isOver) return;
        tell({ text: texts.noCamera((error as Error).message), isError: true });
        onClose();
      }
    };
    const stop = (): void => stream?.getTracks().forEach((track) => track.stop());
    void open();
    return () => {
      isOver = true;
      stop();
    };
  }, []);
  const take = async (): Promise<void> => {
    const { current } = video;
    if (!current || current.videoWidth === 0) return;
    const canvas = document.createElement("canvas");
    canvas.width = current.videoWidth;
    canvas.height = current.videoHeight;
    canvas.getContext("2d")!.drawImage(current, 0, 0);
    const image = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (image) await onImageNow.current(image);
  };
  useEffect(() => {
    if (!isLive) return;
    let isOver = false;
    const again = async (): Promise<void> => {
      while (!isOver) {
        await take();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    void again();
    return () => void (isOver = true);
  }, [isLive]);
  return (
    <section class="camera">
      <video ref={video} muted playsInline aria-label={texts.camera} />
      <div class="bar">
        <button type="button" onClick={() => void take()}>
          {texts.judgePicture}
        </button>
        <label class="check">
          <input type="checkbox" checked={isLive} onChange={(event) => setLive(event.currentTarget.checked)} />{" "}
          {texts.oneAfterAnother}
        </label>
      </div>
    </section>
  );
}
