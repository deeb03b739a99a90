/**
 * A 5 x 9 bitmap font, so that labels look the same on machines without any font installed. One string per character,
 * one base-32 digit per row from the top, its five bits the pixels from left to right; rows 8 and 9 are below the base line.
 */
const glyphs: Record<string, string> = {
  A: "ehhvhhh",
  B: "uhhuhhu",
  C: "ehggghe",
  D: "uhhhhhu",
  E: "vgguggv",
  F: "vgguggg",
  G: "ehgnhhe",
  H: "hhhvhhh",
  I: "e44444e",
  J: "72222ic",
  K: "hikokih",
  L: "ggggggv",
  M: "hrllhhh",
  N: "hhpljhh",
  O: "ehhhhhe",
  P: "uhhuggg",
  Q: "ehhhlid",
  R: "uhhukih",
  S: "fgge11u",
  T: "v444444",
  U: "hhhhhhe",
  V: "hhhhha4",
  W: "hhhllla",
  X: "hha4ahh",
  Y: "hhha444",
  Z: "v1248gv",
  a: "00e1fhf",
  b: "ggmphhu",
  c: "00ehghe",
  d: "11djhhf",
  e: "00ehvge",
  f: "698s888",
  g: "00fhhhf1e",
  h: "ggmphhh",
  i: "40c444e",
  j: "20622222c",
  k: "ggikoki",
  l: "c44444e",
  m: "00qlllh",
  n: "00mphhh",
  o: "00ehhhe",
  p: "00uhhhugg",
  q: "00fhhhf11",
  r: "00mpggg",
  s: "00fge1u",
  t: "88s8896",
  u: "00hhhjd",
  v: "00hhha4",
  w: "00hllla",
  x: "00ha4ah",
  y: "00hhhhf1e",
  z: "00v248v",
  0: "ehjlphe",
  1: "4c4444e",
  2: "eh1248v",
  3: "v2421he",
  4: "26aiv22",
  5: "vgu11he",
  6: "68guhhe",
  7: "v124444",
  8: "ehhehhe",
  9: "ehhf12c",
  ".": "00000cc",
  ",": "00000cc48",
  ":": "0cc0cc0",
  ";": "0cc0cc48",
  "-": "000v",
  "+": "044v44",
  "=": "00v0v",
  _: "0000000v",
  "/": "112488g",
  "\\": "0g84210",
  "(": "2488842",
  ")": "8422248",
  "[": "e88888e",
  "]": "e22222e",
  "<": "248g842",
  ">": "8421248",
  "!": "4444404",
  "?": "eh12404",
  "%": "op248j3",
  "#": "aavavaa",
  "*": "04lel4",
  "'": "448",
  '"': "aaa",
  "&": "ciko8ld",
  "|": "444444444",
  "~": "0009m",
  "@": "ehnlmge",
  $: "4fke5u4",
  "^": "4ah",
  "`": "842",
  "{": "2448442",
  "}": "8442448",
  "≥": "842480v",
  "²": "c248e",
  "…": "000000l",
};

const glyphWidth = 5;
export const glyphHeight = 9;
/** From one character to the next. */
export const advance = 6;

/** Calls `set` for every pixel of the text; unknown characters show as "?". */
export function eachTextPixel(text: string, set: (x: number, y: number) => void): void {
  let left = 0;
  for (const character of text) {
    if (character !== " ") {
      const rows = glyphs[character] ?? glyphs["?"]!;
      for (let y = 0; y < rows.length; y++) {
        const bits = parseInt(rows[y]!, 32);
        for (let x = 0; x < glyphWidth; x++) if (bits & (16 >> x)) set(left + x, y);
      }
    }
    left += advance;
  }
}
