/**
 * A 5 x 9 bitmap font, so that labels look the same on machines without any font installed. One word per glyph: the
 * character, then one base-32 digit per row from the top, whose five bits are the pixels from left to right. Rows 8 and
 * 9 are below the base line.
 */
const glyphs = new Map(
  [
    "Aehhvhhh Buhhuhhu Cehggghe Duhhhhhu Evgguggv Fvgguggg Gehgnhhe Hhhhvhhh Ie44444e J72222ic Khikokih",
    "Lggggggv Mhrllhhh Nhhpljhh Oehhhhhe Puhhuggg Qehhhlid Ruhhukih Sfgge11u Tv444444 Uhhhhhhe Vhhhhha4",
    "Whhhllla Xhha4ahh Yhhha444 Zv1248gv a00e1fhf bggmphhu c00ehghe d11djhhf e00ehvge f698s888 g00fhhhf1e",
    "hggmphhh i40c444e j20622222c kggikoki lc44444e m00qlllh n00mphhh o00ehhhe p00uhhhugg q00fhhhf11 r00mpggg",
    "s00fge1u t88s8896 u00hhhjd v00hhha4 w00hllla x00ha4ah y00hhhhf1e z00v248v 0ehjlphe 14c4444e 2eh1248v",
    "3v2421he 426aiv22 5vgu11he 668guhhe 7v124444 8ehhehhe 9ehhf12c .00000cc ,00000cc48 :0cc0cc0 ;0cc0cc48",
    "-000v +044v44 =00v0v _0000000v /112488g \\0g84210 (2488842 )8422248 [e88888e ]e22222e <248g842 >8421248",
    "!4444404 ?eh12404 %op248j3 #aavavaa *04lel4 '448 \"aaa &ciko8ld |444444444 ~0009m @ehnlmge $4fke5u4 ^4ah",
    "`842 {2448442 }8442448 ≥842480v ²c248e …000000l",
  ]
    .flatMap((line) => line.split(" "))
    .map((glyph) => [glyph[0], glyph.slice(1)]),
);

const glyphWidth = 5;
export const glyphHeight = 9;
/** From one character to the next. */
export const advance = 6;

/** Calls `set` for every pixel of the text; unknown characters show as "?". */
export function eachTextPixel(text: string, set: (x: number, y: number) => void): void {
  let left = 0;
  for (const character of text) {
    if (character !== " ") {
      const rows = glyphs.get(character) ?? glyphs.get("?")!;
      for (let y = 0; y < rows.length; y++) {
        const bits = parseInt(rows[y]!, 32);
        for (let x = 0; x < glyphWidth; x++) if (bits & (16 >> x)) set(left + x, y);
      }
    }
    left += advance;
  }
}
