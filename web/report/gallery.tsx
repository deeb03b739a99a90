import { useMemo, useState } from "preact/hooks";

import type { ReportEvaluation, ReportImage, ReportPicture } from "../../lib/report/types.js";
import { byInterest, isMistake } from "../../lib/report/order.js";
import { isDefect } from "./numbers.js";
import { useOverlays } from "./overlays.js";
import { texts } from "./texts.js";

type Filter = keyof typeof texts.filters;

const page = 60;

interface Props {
  evaluation: ReportEvaluation;
  threshold: number;
  onImage: ((image: ReportImage) => void) | undefined;
}

export function Gallery({ evaluation, threshold, onImage }: Props) {
  const { images, withoutPictures } = evaluation;
  const [filter, setFilter] = useState<Filter>("all");
  const { style, showMask, fields } = useOverlays(true);
  const [shown, setShown] = useState(page);
  const chosen = useMemo(() => {
    const wanted: Record<Filter, (image: ReportImage) => boolean> = {
      all: () => true,
      mistakes: (image) => isMistake(image, threshold),
      defects: isDefect,
      good: (image) => !isDefect(image),
    };
    return byInterest(images, threshold).filter(wanted[filter]);
  }, [images, threshold, filter]);
  return (
    <section class="gallery">
      <h2>{texts.gallery}</h2>
      <p class="quiet">
        {texts.order} {withoutPictures}
      </p>
      <div class="fields">
        <fieldset>
          <legend>{texts.show}</legend>
          {Object.entries(texts.filters).map(([name, text]) => (
            <label key={name}>
              <input type="radio" name="filter" checked={filter === name} onChange={() => setFilter(name as Filter)} />{" "}
              {text}
            </label>
          ))}
        </fieldset>
        {fields}
      </div>
      {chosen.length === 0 && <p>{texts.none}</p>}
      <ul class="tiles" style={style}>
        {chosen.slice(0, shown).map((image) => (
          <Tile key={image.id} image={image} threshold={threshold} mask={showMask} onImage={onImage} />
        ))}
      </ul>
      {chosen.length > shown && (
        <button type="button" class="more" onClick={() => setShown(shown + 3 * page)}>
          {texts.more(chosen.length - shown)}
        </button>
      )}
    </section>
  );
}

interface TileProps extends Pick<Props, "threshold" | "onImage"> {
  image: ReportImage;
  mask: boolean;
}

function Tile({ image, threshold, mask, onImage }: TileProps) {
  const { id, defect, value, picture } = image;
  const wrong = isMistake(image, threshold);
  const mistake = wrong ? (isDefect(image) ? texts.missedTag : texts.rejectedTag) : undefined;
  const tag = [mistake, image.verdict === "unsure" && texts.unsureTag].filter(Boolean).join(" · ");
  return (
    <li class={wrong ? "wrong" : ""}>
      {picture && (
        <Picture
          picture={picture}
          text={`${id}, ${isDefect(image) ? texts.defect : texts.goodPart}`}
          mask={mask}
          onClick={onImage && (() => onImage(image))}
        />
      )}
      <p class="name" title={id}>
        {id}
      </p>
      <p class="quiet">
        {isDefect(image) ? (defect ?? texts.unnamed) : texts.goodPart} · {value.toFixed(2)}
        {tag && <strong> · {tag}</strong>}
      </p>
    </li>
  );
}

/** Where the heat map lies on its picture; undefined: all over it. */
function placeOf(area: ReportPicture["heatArea"]) {
  const percent = (share: number): string => `${100 * share}%`;
  return (
    area && {
      inset: "auto",
      left: percent(area.x),
      top: percent(area.y),
      width: percent(area.width),
      height: percent(area.height),
    }
  );
}

interface PictureProps {
  picture: ReportPicture;
  text: string;
  mask: boolean;
  onClick: (() => void) | undefined;
}

function Picture({ picture, text, mask, onClick }: PictureProps) {
  const shape = { aspectRatio: `${picture.width} / ${picture.height}` };
  // Where it is clicked on, a server sends it; a report has it already, and prints all of them.
  const loading = onClick ? "lazy" : "eager";
  const inside = (
    <>
      <img src={picture.image} alt={text} loading={loading} />
      <img class="heat" style={placeOf(picture.heatArea)} src={picture.heat} alt="" loading={loading} />
      {mask && picture.mask && <div class="mask" style={{ maskImage: `url("${picture.mask}")` }} />}
    </>
  );
  return onClick ? (
    <button type="button" class="picture" style={shape} onClick={onClick}>
      {inside}
    </button>
  ) : (
    <div class="picture" style={shape}>
      {inside}
    </div>
  );
}
