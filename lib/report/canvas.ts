import type { RgbImage } from "../images/decode.js";
import { sharp } from "../images/sharp.js";
import type { Colour } from "./colours.js";
import { advance, eachTextPixel, glyphHeight } from "./font.js";

/** Pixels to draw on: RGB, uint8. What lies outside is clipped. */
export class Canvas implements RgbImage {
  readonly pixels: Uint8Array;

  constructor(
    readonly width: number,
    readonly height: number,
    background: Colour,
  ) {
    this.pixels = new Uint8Array(width * height * 3);
    this.rectangle(0, 0, width, height, background);
  }

  /** `opacity` from 0 to 1. */
  blend(x: number, y: number, colour: Colour, opacity = 1): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    const at = (y * this.width + x) * 3;
    for (let c = 0; c < 3; c++)
      this.pixels[at + c] = Math.round(this.pixels[at + c]! * (1 - opacity) + colour[c]! * opacity);
  }

  rectangle(x: number, y: number, width: number, height: number, colour: Colour): void {
    for (let row = y; row < y + height; row++)
      for (let column = x; column < x + width; column++) this.blend(column, row, colour);
  }

  image(x: number, y: number, image: RgbImage): void {
    const width = Math.min(image.width, this.width - x);
    for (let row = 0; row < image.height && y + row < this.height; row++) {
      this.pixels.set(
        image.pixels.subarray(row * image.width * 3, (row * image.width + width) * 3),
        ((y + row) * this.width + x) * 3,
      );
    }
  }

  /** `scale` is the side of a font pixel. */
  text(x: number, y: number, text: string, colour: Colour, scale = 2): void {
    eachTextPixel(text, (column, row) => this.rectangle(x + column * scale, y + row * scale, scale, scale, colour));
  }

  async png(): Promise<Buffer> {
    return encodePng(this);
  }
}

export async function encodePng({ pixels, width, height }: RgbImage): Promise<Buffer> {
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 7 })
    .toBuffer();
}

export const textWidth = (text: string, scale = 2): number => Math.max(0, [...text].length * advance - 1) * scale;
export const textHeight = (scale = 2): number => glyphHeight * scale;

/** The text, its start cut off where it is wider than `width` pixels: of a path the end tells more. */
export function fitText(text: string, width: number, scale = 2): string {
  const room = Math.floor(width / (advance * scale));
  const characters = [...text];
  return characters.length <= room ? text : `…${characters.slice(characters.length - Math.max(0, room - 1)).join("")}`;
}
