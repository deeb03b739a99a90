import { useEffect, useState } from "preact/hooks";

import { loadMask, loadPicture, type Picture } from "./load.js";
import { Mask } from "./mask.js";
import type { Bitmap } from "./raster.js";
import { maskTexts as texts } from "../texts.js";
import { Workspace } from "./workspace.js";
import "./masks.css";

export interface MaskEditorProps {
  /** Address of the image in full size. Another address opens another image. */
  image: string;
  /** Address of the mask as it is stored (PNG, white or non-zero = defect); undefined: none yet. Read once an image. */
  mask?: string;
  /** Fetches the model's proposal as a PNG mask of the image's size; undefined: no model. */
  propose?: () => Promise<Blob>;
  /**
   * Stores the mask; called at the end of every stroke, one call at a time, the latest state last (coalesced). Undefined
   * blob: the mask is empty now. May still be called for an image after the editor has left it.
   */
  onSave(mask: Blob | undefined): Promise<void>;
}

/** Fills its parent. */
export function MaskEditor(props: MaskEditorProps) {
  return <Opened key={props.image} {...props} />;
}

type Opening = { picture?: Picture; mask?: Mask; failure?: string };

function Opened(props: MaskEditorProps) {
  const [{ picture, mask, failure }, setOpening] = useState<Opening>({});

  useEffect(() => {
    let isGone = false;
    const open = async (): Promise<Opening> => {
      const picture = await loadPicture(props.image).catch((error: Error) => error);
      if (picture instanceof Error) return { failure: texts.imageFailed(picture.message) };
      const { width, height } = picture;
      const stored: Bitmap | Error | undefined =
        props.mask === undefined ? undefined : await loadMask(props.mask, picture).catch((error: Error) => error);
      if (stored instanceof Error) return { picture, failure: texts.maskFailed(stored.message) };
      return { picture, mask: new Mask(width, height, stored) };
    };
    void open().then((opening) => {
      if (!isGone) return setOpening(opening);
      opening.picture?.full.close();
      opening.picture?.small?.close();
    });
    return () => void (isGone = true);
  }, []);

  return (
    <section class="masks" aria-label={texts.editor}>
      {picture && mask ? (
        <Workspace picture={picture} mask={mask} propose={props.propose} onSave={props.onSave} />
      ) : (
        <div class="masks-opening" role="status">
          <p>{failure ?? texts.loading}</p>
          {picture && failure && (
            <button
              type="button"
              onClick={() => setOpening({ picture, mask: new Mask(picture.width, picture.height) })}
            >
              {texts.startEmpty}
            </button>
          )}
        </div>
      )}
    </section>
  );
}
