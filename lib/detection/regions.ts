import type { Region } from "../native/binding.js";

interface Size {
  height: number;
  width: number;
}

/**
 * A region of a map in pixels of its image. Edges are multiplied before they are divided: edges that fall on whole pixels
 * are exact then, where a rounded quotient of the sizes would move some to the next one.
 */
export function scaleRegion(region: Region, map: Size, image: Size): Region {
  const left = Math.floor((region.x * image.width) / map.width);
  const top = Math.floor((region.y * image.height) / map.height);
  const right = Math.ceil(((region.x + region.width) * image.width) / map.width);
  const bottom = Math.ceil(((region.y + region.height) * image.height) / map.height);
  return {
    ...region,
    area: Math.max(1, Math.round((region.area * image.width * image.height) / (map.width * map.height))),
    x: left,
    y: top,
    width: Math.min(image.width, right) - left,
    height: Math.min(image.height, bottom) - top,
    peakX: Math.min(image.width - 1, Math.floor(((region.peakX + 0.5) * image.width) / map.width)),
    peakY: Math.min(image.height - 1, Math.floor(((region.peakY + 0.5) * image.height) / map.height)),
  };
}
