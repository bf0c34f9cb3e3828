// A picture's file as upright, opaque sRGB pixels, as inceptive/images/decoding.py makes them.

import { deepPixels, inflated } from "./deep.js";
import { header, reduced } from "./jpeg.js";
import { shorterSide } from "./pixels.js";
import { joined, png, stored } from "./png.js";

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
      const end = at + 2 + big(bytes, at + 2, 2), name = { 0xe1: "APP1", 0xe2: "APP2" }[bytes[at + 1]];
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
 * A file without what browsers read in different ways: {bytes, bare, orientation, deep, profile}. Its orientation is taken
 * out and told; so is a PNG's word on colours beside its profile, which Pillow does not follow. deep: of 16 bits.
 * profile: that of a JPEG or PNG as a zlib stream, which `bytes` have and `bare` have not.
 */
export function plain(file, kind) {
  if (!["JPEG", "PNG", "WebP"].includes(kind)) return { bytes: file, orientation: 1, deep: false };
  const kept = [], profiles = [], bare = [];
  let exif = 0, xmp = 1, zipped = null;
  const leave = (start, end, ...lists) => lists.forEach(list => list.push([start, end]));
  for (const { start, end, name, body } of parts(file, kind)) {
    if (["gAMA", "cHRM", "cICP", "mDCV", "cLLI"].includes(name)) leave(start, end, kept, bare);
    else if (name === "APP1" && ascii(body, 0, 6) === "Exif\0\0") {
      exif ||= orientationOf(body.subarray(6));
      leave(start, end, kept, bare);
    } else if (name === "eXIf") {
      exif ||= orientationOf(body);
      leave(start, end, kept, bare);
    } else if (name === "EXIF") {
      exif ||= orientationOf(ascii(body, 0, 6) === "Exif\0\0" ? body.subarray(6) : body);
      body.fill(0); // a RIFF file keeps its length
    } else if (name === "APP2" && ascii(body, 0, 12) === "ICC_PROFILE\0") {
      profiles.push([body[12], body.subarray(14)]);
      leave(start, end, bare);
    } else if (name === "iCCP") {
      zipped = body.slice(body.indexOf(0) + 2);
      leave(start, end, bare);
    } else if ((name === "APP1" && ascii(body, 0, 28) === "http://ns.adobe.com/xap/1.0/") || name === "XMP ")
      xmp = turnOfXmp(new TextDecoder("latin1").decode(body));
  }
  if (profiles.length) zipped = stored(joined(profiles.sort((a, b) => a[0] - b[0]).map(([, part]) => part)));
  return {
    bytes: without(file, kept), bare: without(file, bare), orientation: exif || xmp,
    deep: kind === "PNG" && file[24] === 16, profile: zipped,
  };
}

/** A file without the stretches [start, end] of it. */
function without(file, stretches) {
  const kept = [];
  let from = 0;
  for (const [start, end] of stretches) { kept.push(file.subarray(from, start)); from = end; }
  return stretches.length ? joined([...kept, file.subarray(from)]) : file;
}

/** The canvas transform (a to f) that turns a picture of `wide` x `high` upright, by its EXIF orientation. */
export const turned = (orientation, wide, high) => [
  [1, 0, 0, 1, 0, 0], [-1, 0, 0, 1, wide, 0], [-1, 0, 0, -1, wide, high], [1, 0, 0, -1, 0, high],
  [0, 1, 1, 0, 0, 0], [0, 1, -1, 0, high, 0], [0, -1, -1, 0, high, wide], [0, -1, 1, 0, 0, wide],
][orientation - 1];

const bitmapOf = bytes => createImageBitmap(new Blob([bytes]), { premultiplyAlpha: "none" });

function pixelsOf(bitmap) {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** Whether a profile makes another colour, by more than 2 levels, of any: one that does not is left out. */
async function changes(profile) {
  const data = new Uint8Array(4 * 18 ** 3);
  for (let k = 0; k < 18 ** 3; k++) data.set([15 * (k % 18), 15 * (Math.floor(k / 18) % 18), 15 * Math.floor(k / 324), 255], 4 * k);
  const grey = await isGrey(profile), shown = pixelsOf(await bitmapOf(png({ width: 18, height: 324, data }, profile, grey))).data;
  return shown.some((level, k) => Math.abs(level - data[grey ? k - (k % 4) : k]) > 2 && k % 4 < 3);
}

/** Whether a profile is of grey: bytes 16 to 19 name its colours. */
const isGrey = async profile => ascii(await inflated(profile), 16, 4) === "GRAY";

/** 1, 2, 4 or 8: the share of its size at which Pillow reads a JPEG for a shorter side of `least` pixels. */
function denominatorOf({ width, height }, least) {
  const scale = (2 * least) / Math.min(width, height);
  if (scale >= 1) return 1;
  const room = Math.min(...[width, height].map(side => Math.floor(side / (Math.trunc(side * scale) + 1))));
  return [8, 4, 2, 1].find(share => room >= share) ?? 1;
}

/** The means of squares of `factor` pixels, with Pillow's rounding. */
export function shrunk({ width, height, data }, factor) {
  const wide = Math.ceil(width / factor), high = Math.ceil(height / factor), out = new Uint8ClampedArray(4 * wide * high);
  for (let y = 0, p = 0; y < high; y++)
    for (let x = 0; x < wide; x++)
      for (let c = 0; c < 4; c++, p++) {
        const right = Math.min(width, (x + 1) * factor), end = Math.min(height, (y + 1) * factor);
        let sum = 0;
        for (let row = y * factor; row < end; row++)
          for (let column = x * factor; column < right; column++) sum += data[4 * (row * width + column) + c];
        const count = (right - x * factor) * (end - y * factor);
        out[p] = Math.floor(((sum + (count >> 1)) * Math.trunc(Math.fround(2 ** 24 / count))) / 2 ** 24);
      }
  return { width: wide, height: high, data: out };
}

/** Pixels as a bitmap in sRGB. As in Python, colours that a profile changes are first made as few as will do. */
async function converted(pixels, profile, least) {
  if (!profile) return createImageBitmap(new ImageData(pixels.data, pixels.width));
  const factor = Math.floor(Math.min(pixels.width, pixels.height) / (2 * least));
  return bitmapOf(png(factor > 1 && !pixels.grey ? shrunk(pixels, factor) : pixels, profile, await isGrey(profile)));
}

/** What Pillow reads otherwise than browsers: a large JPEG smaller, a deep PNG rounded; null for any other file. */
async function ownPixels(file, kind, deep, shown) {
  if (deep) return deepPixels([...parts(file, kind)], shown.sample_range);
  const found = kind === "JPEG" ? header(file) : null, denominator = found ? denominatorOf(found, shorterSide(shown)) : 1;
  return denominator > 1 ? reduced(file, denominator) : null;
}

/**
 * The picture in a Blob: {width, height, rows, close}, where rows(top, count) gives RGBA pixels.
 * Throws an Error that says in words what is wrong with the file.
 */
export async function decode(blob, shown) {
  const file = new Uint8Array(await blob.arrayBuffer()), kind = kindOf(file);
  if (!file.length) throw new Error("is empty (0 bytes)");
  if (!kind) throw new Error(`is not an image${file.subarray(0, 1024).every(byte => byte >= 9) ? " (it holds text)" : ""}`);
  const found = plain(file, kind);
  let bitmap, interlaced;
  try {
    const profile = found.profile && await changes(found.profile) ? found.profile : null;
    const pixels = await ownPixels(file, kind, found.deep, shown);
    interlaced = found.deep && !pixels && shown.sample_range;
    bitmap = pixels ? await converted(pixels, profile, shorterSide(shown))
      : await bitmapOf(found.profile && !profile ? found.bare : found.bytes);
  } catch {
    const read = ["JPEG", "PNG", "WebP", "GIF", "BMP", "ICO"].includes(kind);
    throw new Error(read ? `is truncated or damaged (${kind})`
      : `holds ${kind}, which this browser does not read: save the picture as JPEG or PNG`);
  }
  if (interlaced) throw new Error("is an interlaced PNG of 16 bits, whose samples this page cannot read: use `inceptive predict`");
  const swapped = found.orientation > 4, width = swapped ? bitmap.height : bitmap.width;
  const height = swapped ? bitmap.width : bitmap.height;
  if (width * height > MAX_PIXELS)
    throw new Error(`is too large (${width} x ${height} pixels; at most ${MAX_PIXELS / 1e6} million)`);
  const turn = turned(found.orientation, bitmap.width, bitmap.height);
  let canvas, context;
  function rows(top, count) {
    if (canvas?.height !== count) {
      canvas = new OffscreenCanvas(width, count);
      context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
      context.imageSmoothingEnabled = false;
      context.fillStyle = "white";
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillRect(0, 0, width, count);
    context.setTransform(...turn.slice(0, 5), turn[5] - top);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, count).data;
  }
  return { width, height, rows, close: () => bitmap.close() };
}
