// A photo file -> upright pixels; a clear word for whatever is not a photo.
import { PageError } from "./errors.js";

const MOST_MEGAPIXELS = 64; // 256 MB decoded; a phone's tab has little more
const HEAD = 2 ** 20; // bytes in which a photo's size stands
const HEIC = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"];

function starts(bytes, ...values) {
  return values.every((value, place) => bytes[place] === value);
}

function letters(bytes, first, last) {
  return String.fromCharCode(...bytes.subarray(first, last));
}

/** What kind of file this is by its first bytes, or null. */
export function kindOf(bytes) {
  if (starts(bytes, 0xff, 0xd8, 0xff)) return "jpeg";
  if (starts(bytes, 0x89, 0x50, 0x4e, 0x47)) return "png";
  if (starts(bytes, 0x42, 0x4d)) return "bmp";
  if (letters(bytes, 0, 4) === "GIF8") return "gif";
  if (letters(bytes, 0, 4) === "RIFF" && letters(bytes, 8, 12) === "WEBP") return "webp";
  if (starts(bytes, 0x49, 0x49, 0x2a, 0) || starts(bytes, 0x4d, 0x4d, 0, 0x2a)) return "tiff";
  if (letters(bytes, 4, 8) === "ftyp") {
    const brand = letters(bytes, 8, 12);
    if (brand === "avif" || brand === "avis") return "avif";
    return HEIC.includes(brand) ? "heic" : null;
  }
  return null;
}

/** How many pixels a photo has, from its header alone; 0 where it does not say. */
export function pixelsOf(bytes, kind) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (kind === "png") return view.getUint32(16) * view.getUint32(20);
    if (kind === "bmp") return Math.abs(view.getInt32(18, true) * view.getInt32(22, true));
    if (kind === "gif") return view.getUint16(6, true) * view.getUint16(8, true);
    if (kind === "webp") {
      const part = letters(bytes, 12, 16);
      if (part === "VP8X") {
        const side = (place) => 1 + view.getUint16(place, true) + (bytes[place + 2] << 16);
        return side(24) * side(27);
      }
      if (part === "VP8L") {
        const sides = view.getUint32(21, true);
        return (1 + (sides & 0x3fff)) * (1 + ((sides >>> 14) & 0x3fff));
      }
      return (view.getUint16(26, true) & 0x3fff) * (view.getUint16(28, true) & 0x3fff);
    }
    if (kind === "jpeg") {
      for (let place = 2; ; place += 2 + view.getUint16(place + 2)) {
        while (bytes[place + 1] === 0xff) place++;
        const marker = bytes[place + 1];
        const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
        if (isFrame) return view.getUint16(place + 5) * view.getUint16(place + 7);
      }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 0; // a damaged file, or a header beyond what was read
}

/** The first bytes of a file. */
async function headOf(file) {
  if (!file.size) throw new PageError("emptyFile");
  try {
    return new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  } catch {
    throw new PageError("unreadable"); // a folder, or a file that has gone
  }
}

/** Decode a photo file: { bitmap, width, height, kind, isDeep }, upright, in its own colours. */
export async function decode(file) {
  const head = await headOf(file);
  const kind = kindOf(head);
  if (kind === "tiff") throw new PageError("tiff");
  if (kind === null) throw new PageError("notAPhoto");
  const megapixels = pixelsOf(head, kind) / 1e6;
  if (megapixels > MOST_MEGAPIXELS) {
    const values = { megapixels: Math.round(megapixels), most: MOST_MEGAPIXELS };
    throw new PageError("tooLarge", values);
  }
  try {
    const bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
    const { width, height } = bitmap;
    if (width * height > MOST_MEGAPIXELS * 1e6) { // a header that did not say so
      bitmap.close();
      const values = { megapixels: Math.round((width * height) / 1e6), most: MOST_MEGAPIXELS };
      throw new PageError("tooLarge", values);
    }
    return { bitmap, width, height, kind, isDeep: kind === "png" && head[24] === 16 };
  } catch (error) {
    if (error instanceof PageError) throw error;
    throw new PageError(kind === "heic" ? "heic" : "damaged");
  }
}

/** Refuse a photo of which the browser shows black where `segment` reads colours. */
export function checkColours({ kind, isDeep }, bytes) {
  const highest = bytes.reduce((most, value) => Math.max(most, value), 0);
  const isTransparent = highest === 0 && ["png", "webp", "gif", "avif"].includes(kind);
  if (isTransparent || (isDeep && highest < 64)) throw new PageError("black");
}

/** The pixels of a decoded photo a few rows at a time, for `shrink`; transparent ones on black. */
export function rowsOf({ bitmap, width, height }) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  let context = null;
  return {
    width, height, channels: 4,
    rows(first, count) {
      if (context === null || canvas.height !== count) {
        canvas.height = count;
        context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
      }
      context.fillStyle = "#000";
      context.fillRect(0, 0, width, count);
      context.drawImage(bitmap, 0, first, width, count, 0, 0, width, count);
      return context.getImageData(0, 0, width, count).data;
    },
  };
}

/** A decoded photo on a canvas of at most `longest` pixels a side. */
export function scaledCanvas({ bitmap, width, height }, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}
