import { useEffect, useState } from "preact/hooks";

import type { StudioDetection, StudioImage } from "../../../lib/studio/types.js";
import { useOverlays } from "../../report/overlays.js";
import { addresses, api } from "../api.js";
import { useLabelling } from "../data/labelling.js";
import { Dialog } from "../dialog.js";
import { useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";

/** One image as the model sees it, with what a person can do about it. */
export function Detail({ run, image, onClose }: { run: string; image: StudioImage; onClose(): void }) {
  const { tell } = useStudio();
  const labelling = useLabelling();
  const attempt = useAttempt();
  const [detection, setDetection] = useState<StudioDetection>();
  useEffect(() => {
    let isOver = false;
    void attempt(async () => {
      try {
        const found = await api.detection(run, image);
        if (!isOver) setDetection(found);
      } catch (error) {
        // What went wrong stands on the page below.
        if (!isOver) onClose();
        throw error;
      }
    });
    return () => void (isOver = true);
  }, [run, image.id]);
  const relabel = async (label: "good" | "defect"): Promise<void> => {
    const moved = await labelling.store([image], [{ ids: [image.id], label }]);
    if (moved) tell({ text: texts.relabelled });
    onClose();
  };
  return (
    <Dialog title={image.id} onClose={onClose}>
      <Judged
        source={addresses.image(image)}
        mask={image.mask !== null ? addresses.mask(image) : undefined}
        detection={detection}
      />
      <div class="bar">
        <span>{texts.labelledAs(image.label === "good" ? texts.good : image.kind!)}</span>
        {image.label === "defect" && (
          <button type="button" class="plain good" onClick={() => void relabel("good")}>
            {texts.relabelGood}
          </button>
        )}
        {image.label === "good" && (
          <button type="button" class="plain defect" onClick={() => void relabel("defect")}>
            {texts.relabelDefect}
          </button>
        )}
        {image.label === "defect" && (
          <a href={`#/masks/${encodeURIComponent(image.id)}`}>
            {image.mask !== null ? texts.changeMask : texts.drawMask}
          </a>
        )}
      </div>
    </Dialog>
  );
}

interface JudgedProps {
  source: string;
  mask?: string | undefined;
  detection: StudioDetection | undefined;
}

/** Image, heat map with its opacity, mask and regions, and the scores. */
export function Judged({ source, mask, detection }: JudgedProps) {
  const { style, showMask, fields } = useOverlays(mask !== undefined);
  const [loaded, setLoaded] = useState({ width: 1, height: 1 });
  // Of a file that the browser cannot show only the model knows the size.
  const { width, height } = detection ?? loaded;
  return (
    <>
      <div class="judged" style={{ ...style, aspectRatio: `${width} / ${height}` }}>
        <img
          src={source}
          alt={texts.theImage}
          onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) =>
            setLoaded({ width: naturalWidth, height: naturalHeight })
          }
        />
        {detection && <img class="heat" src={detection.heat} alt="" />}
        {showMask && <div class="mask" style={{ maskImage: `url("${mask}")` }} />}
        {detection && (
          <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
            {detection.regions.map((region) => (
              <rect
                key={`${region.x} ${region.y}`}
                x={region.x}
                y={region.y}
                width={region.width}
                height={region.height}
              />
            ))}
          </svg>
        )}
      </div>
      <div class="fields">{fields}</div>
      {detection ? (
        <p>
          <strong class={`verdict ${detection.verdict}`}>{texts.verdicts[detection.verdict]}</strong>{" "}
          {texts.scores(detection)}
        </p>
      ) : (
        <p class="quiet">{texts.asking}</p>
      )}
      {detection?.warnings.map((warning) => (
        <p key={warning} class="quiet">
          {warning}
        </p>
      ))}
    </>
  );
}
