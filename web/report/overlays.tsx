import { useState } from "preact/hooks";

import { texts } from "./texts.js";

/** What lies over a picture, and the fields that set it. */
export function useOverlays(hasMask: boolean) {
  const [heat, setHeat] = useState(45);
  const [showMask, setShowMask] = useState(true);
  const fields = (
    <>
      <label>
        {texts.heat}
        <input
          type="range"
          min={0}
          max={100}
          value={heat}
          onInput={(event) => setHeat(Number(event.currentTarget.value))}
        />
      </label>
      {hasMask && (
        <label class="check">
          <input type="checkbox" checked={showMask} onChange={(event) => setShowMask(event.currentTarget.checked)} />{" "}
          {texts.mask}
        </label>
      )}
    </>
  );
  return { style: { "--heat": heat / 100 }, showMask: hasMask && showMask, fields };
}
