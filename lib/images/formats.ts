import path from "node:path";

/** What a data set's folder may contain. Decoding goes by content: the extension only says which files are images. */
export const IMAGE_EXTENSIONS: readonly string[] = [
  ".png",
  ".jpg",
  ".jpeg",
  ".tif",
  ".tiff",
  ".bmp",
  ".webp",
  ".gif",
  ".avif",
];

/** Names of other images: what is read from a folder must not leave a part out unsaid. First pictures, then raw and scientific data. */
const OTHER_PICTURES = /\.(dib|heic|heif|jfif|jpe|jp2|j2k|jpf|jpx|jxl|jxr|tga|psd|exr|hdr|pbm|pgm|ppm|pnm|pam|pfm)$/i;
const OTHER_RECORDS = /\.(dng|raw|arw|cr2|cr3|nef|orf|raf|rw2|dcm|fit|fits)$/i;

/** The formats that are read, as messages name them. */
export const SUPPORTED = "PNG, JPEG, TIFF, BMP, WebP, GIF and AVIF";

export function isImageFile(file: string): boolean {
  return IMAGE_EXTENSIONS.includes(path.extname(file).toLowerCase());
}

/** Whether a file's name is that of an image in a format that is not read. */
export function isUnsupportedImage(file: string): boolean {
  return OTHER_PICTURES.test(file) || OTHER_RECORDS.test(file);
}
