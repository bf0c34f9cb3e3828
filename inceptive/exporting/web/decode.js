// A picture's file as upright, opaque sRGB pixels, as inceptive/images/decoding.py makes them.

const MAX_PIXELS = 100_000_000;
const ascii = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
const big = (bytes, at, length) => bytes.subarray(at, at + length).reduce((sum, byte) => sum * 256 + byte, 0);
const little = (bytes, at, length) => big(bytes.slice(at, at + length).reverse(), 0, length);

/** What a file is by its first bytes, and whether browsers may read it; "" for what is no picture known here. */
export function kindOf(bytes) {
  const start = ascii(bytes, 0, 12);
  if (start.startsWith("\xff\xd8\xff")) return "JPEG";
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
  if (start.startsWith("RIFF") && start.endsWith("WEBP")) return "WebP";
  if (start.startsWith("GIF8")) return "GIF";
  if (start.startsWith("BM")) return "BMP";
  if (start.startsWith("\0\0\x01\0")) return "ICO";
  if (start.slice(4, 8) === "ftyp") {
    const brands = ascii(bytes, 8, Math.min(big(bytes, 0, 4), 400) - 8);
    return brands.includes("avif") || brands.includes("avis") ? "AVIF" : "HEIC";
  }
  if (/^(II\*\0|MM\0\*|II\+\0|MM\0\+)/.test(start)) return "TIFF";
  if (start.startsWith("\0\0\0\x0cjP  ") || start.startsWith("\xff\x4f\xff\x51")) return "JPEG 2000";
  if (start.startsWith("\xff\x0a") || start.startsWith("\0\0\0\x0cJXL ")) return "JPEG XL";
  return /^P[1-6]\s/.test(start) ? "PNM" : "";
}

/** The orientation (1 to 8) that a TIFF structure with EXIF says. */
function orientationOf(exif) {
  const number = ascii(exif, 0, 2) === "MM" ? big : little;
  if (exif.length < 14) return 1;
  const entries = number(exif, 4, 4), count = entries + 2 <= exif.length ? number(exif, entries, 2) : 0;
  for (let k = 0, at = entries + 2; k < count && at + 12 <= exif.length; k++, at += 12) {
    const value = number(exif, at + 8, 2);
    if (number(exif, at, 2) === 0x0112) return value >= 1 && value <= 8 ? value : 1;
  }
  return 0; // no word about it
}

const turnOfXmp = text => Number(/tiff:Orientation(?:="|>)([1-8])/.exec(text)?.[1] ?? 1);

/** The parts of a file: {start, end, name, body} of each JPEG segment, PNG chunk or RIFF chunk. */
function* parts(bytes, kind) {
  let at = { JPEG: 2, PNG: 8, WebP: 12 }[kind];
  while (at + 8 <= bytes.length) {
    if (kind === "JPEG") {
      if (bytes[at] !== 0xff || bytes[at + 1] === 0xda) return;
      const end = at + 2 + big(bytes, at + 2, 2), name = bytes[at + 1] === 0xe1 ? "APP1" : "";
      yield { start: at, end, name, body: bytes.subarray(at + 4, end) };
      at = end;
    } else {
      const png = kind === "PNG", length = png ? big(bytes, at, 4) : little(bytes, at + 4, 4);
      const end = png ? at + 12 + length : at + 8 + length + (length % 2);
      yield { start: at, end, name: ascii(bytes, png ? at + 4 : at, 4), body: bytes.subarray(at + 8, at + 8 + length) };
      at = end;
    }
  }
}

/**
 * A file without what browsers read in different ways: {bytes, orientation, deep}. Its orientation is taken out
 * and told; so is a PNG's word on colours beside its profile, which Pillow does not follow. deep: of 16 bits.
 */
export function plain(bytes, kind) {
  if (!["JPEG", "PNG", "WebP"].includes(kind)) return { bytes, orientation: 1, deep: false };
  const kept = [];
  let from = 0, exif = 0, xmp = 1;
  for (const { start, end, name, body } of parts(bytes, kind)) {
    let left = ["gAMA", "cHRM", "cICP", "mDCV", "cLLI"].includes(name);
    if (name === "APP1" && ascii(body, 0, 6) === "Exif\0\0") { exif ||= orientationOf(body.subarray(6)); left = true; }
    if (name === "eXIf") { exif ||= orientationOf(body); left = true; }
    if (name === "EXIF") {
      exif ||= orientationOf(ascii(body, 0, 6) === "Exif\0\0" ? body.subarray(6) : body);
      body.fill(0); // a RIFF file keeps its length
    }
    if (name === "APP1" && ascii(body, 0, 28) === "http://ns.adobe.com/xap/1.0/" || name === "XMP ")
      xmp = turnOfXmp(new TextDecoder("latin1").decode(body));
    if (left) { kept.push(bytes.subarray(from, start)); from = end; }
  }
  kept.push(bytes.subarray(from));
  return { bytes: kept, orientation: exif || xmp, deep: kind === "PNG" && bytes[24] === 16 };
}

/** The canvas transform (a to f) that turns a picture of `wide` x `high` upright, by its EXIF orientation. */
export const turned = (orientation, wide, high) => [
  [1, 0, 0, 1, 0, 0], [-1, 0, 0, 1, wide, 0], [-1, 0, 0, -1, wide, high], [1, 0, 0, -1, 0, high],
  [0, 1, 1, 0, 0, 0], [0, 1, -1, 0, high, 0], [0, -1, -1, 0, high, wide], [0, -1, 1, 0, 0, wide],
][orientation - 1];

/**
 * The picture in a Blob: {width, height, rows, close}, where rows(top, count) gives RGBA pixels.
 * Throws an Error that says in words what is wrong with the file.
 */
export async function decode(blob, shown) {
  const file = new Uint8Array(await blob.arrayBuffer()), kind = kindOf(file);
  if (!file.length) throw new Error("is empty (0 bytes)");
  if (!kind) throw new Error(`is not an image${file.subarray(0, 1024).every(byte => byte >= 9) ? " (it holds text)" : ""}`);
  const { bytes, orientation, deep } = plain(file, kind);
  if (deep && shown.sample_range)
    throw new Error("holds 16 bits for each sample, of which a browser shows 8; this model learned from all: use `inceptive predict`");
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([].concat(bytes)), { premultiplyAlpha: "none" });
  } catch {
    const read = ["JPEG", "PNG", "WebP", "GIF", "BMP", "ICO"].includes(kind);
    throw new Error(read ? `is truncated or damaged (${kind})`
      : `holds ${kind}, which this browser does not read: save the picture as JPEG or PNG`);
  }
  const swapped = orientation > 4, width = swapped ? bitmap.height : bitmap.width;
  const height = swapped ? bitmap.width : bitmap.height;
  if (width * height > MAX_PIXELS)
    throw new Error(`is too large (${width} x ${height} pixels; at most ${MAX_PIXELS / 1e6} million)`);
  const turn = turned(orientation, bitmap.width, bitmap.height);
  let canvas, context;
  function rows(top, count) {
    if (canvas?.height !== count) {
      canvas = new OffscreenCanvas(width, count);
      context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
      context.imageSmoothingEnabled = false;
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "white";
    context.fillRect(0, 0, width, count);
    context.setTransform(...turn.slice(0, 5), turn[5] - top);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, count).data;
  }
  return { width, height, rows, close: () => bitmap.close() };
}
