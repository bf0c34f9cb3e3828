// A PNG of 16 bits a sample as 8-bit pixels, as inceptive/images/deep.py scales them: browsers cut the lower 8 bits.

import { round } from "./pixels.js";
import { joined } from "./png.js";

const SAMPLES = { 0: 1, 2: 3, 4: 2, 6: 4 }; // by PNG's colour type: grey, RGB, each with alpha

/** Inflate a zlib stream. */
export async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Undo the filters of a PNG's lines (its specification, 9.2): the bytes of each line, `step` to a pixel. */
function unfiltered(lines, size, step, height) {
  const out = new Uint8Array(size * height);
  for (let y = 0, from = 0; y < height; y++) {
    const filter = lines[from++], at = y * size, above = at - size;
    for (let x = 0; x < size; x++, from++) {
      const left = x < step ? 0 : out[at + x - step], up = y ? out[above + x] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = up;
      else if (filter === 3) guess = (left + up) >> 1;
      else if (filter === 4) {
        const corner = x < step || !y ? 0 : out[above + x - step], sum = left + up - corner;
        const [a, b, c] = [left, up, corner].map(each => Math.abs(sum - each));
        guess = a <= b && a <= c ? left : b <= c ? up : corner;
      }
      out[at + x] = lines[from] + guess;
    }
  }
  return out;
}

/**
 * The pixels of a PNG of 16 bits: {width, height, data, grey}, RGBA, on white, not turned; null where it is interlaced.
 * chunks are its {name, body}; range is the samples that become 0 and 255, or null for all of 16 bits.
 */
export async function deepPixels(chunks, range) {
  const [head] = chunks, view = new DataView(head.body.buffer, head.body.byteOffset);
  const width = view.getUint32(0), height = view.getUint32(4), type = head.body[9], count = SAMPLES[type];
  if (!count || head.body[12]) return null;
  const lines = await inflated(joined(chunks.filter(each => each.name === "IDAT").map(each => each.body)));
  if (lines.length < height * (1 + 2 * count * width)) throw new Error("its pixels end early");
  const bytes = unfiltered(lines, 2 * count * width, 2 * count, height), colours = count < 3 ? 1 : 3;
  const tag = chunks.find(each => each.name === "tRNS")?.body;
  const clear = tag && !(type & 4) ? Array.from({ length: colours }, (_, c) => tag[2 * c] * 256 + tag[2 * c + 1]) : null;
  const [low, high] = range && !(range[0] >= 0 && range[1] <= 1) ? range : [0, 65535], scale = 255 / (high - low);
  const data = new Uint8ClampedArray(4 * width * height).fill(255), sample = at => bytes[at] * 256 + bytes[at + 1];
  for (let pixel = 0, at = 0, out = 0; pixel < width * height; pixel++, at += 2 * count, out += 4) {
    if (clear?.every((level, c) => sample(at + 2 * c) === level)) continue; // white
    const alpha = type & 4 ? Math.fround(sample(at + 2 * colours) / 65535) : 1;
    for (let c = 0; c < 3; c++) {
      const level = Math.min(255, Math.max(0, round((sample(at + (colours === 3 ? 2 * c : 0)) - low) * scale)));
      data[out + c] = alpha === 1 ? level : round(level * alpha + Math.fround(255 * Math.fround(1 - alpha)));
    }
  }
  return { width, height, data, grey: colours === 1 };
}
