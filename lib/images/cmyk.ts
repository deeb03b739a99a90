/** RGB of 8-bit CMYK, 0 = no ink, as OpenCV and Pillow convert it without a profile: R = (255 - C) (255 - K) / 255. */
export function rgbOfCmyk(cmyk: Uint8Array): Uint8Array {
  const pixels = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; to < pixels.length; from += 4, to += 3) {
    const white = 255 - cmyk[from + 3]!;
    pixels[to] = Math.round(((255 - cmyk[from]!) * white) / 255);
    pixels[to + 1] = Math.round(((255 - cmyk[from + 1]!) * white) / 255);
    pixels[to + 2] = Math.round(((255 - cmyk[from + 2]!) * white) / 255);
  }
  return pixels;
}
