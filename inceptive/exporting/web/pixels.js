// From decoded pixels to the square that the net sees, as `Preprocessing.fit` makes it with Pillow, bit for bit.

const MAX_PIXELS = 100_000_000; // of inceptive/images/decoding.py
const BITS = 22; // Pillow's weights are whole numbers of 2 ** -22

const FILTERS = {
  box: { support: 0.5, weight: x => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: x => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
};

function cubic(x) { // Keys' kernel with a = -0.5, in the order of Pillow's operations
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/** Python's round: halves go to the even neighbour. */
export function round(x) {
  const below = Math.floor(x), rest = x - below;
  return below + (rest > 0.5 || (rest === 0.5 && below % 2) ? 1 : 0);
}

/** The middle of a side, no longer than `most`: its start and length. */
function middle(side, most) {
  const length = Math.min(side, most);
  return [Math.floor((side - length) / 2), length];
}

/** The shorter side, in pixels, from which the square is cut. */
export const shorterSide = shown => round(shown.size / shown.crop);

/**
 * What becomes of each side of a picture: `start` and `length` are the part that is used, `from` and `to` the
 * stretch of it that is resized to `out` pixels, of which the net sees `size` from `first` on.
 */
export function axes(width, height, shown) {
  const { size } = shown;
  if (shown.squash) return [width, height].map(side => {
    const part = side * shown.crop, from = (side - part) / 2;
    return { start: 0, length: side, from: Math.fround(from), to: Math.fround(from + part), out: size, first: 0, size };
  });
  const least = shorterSide(shown), scale = least / Math.min(width, height);
  const longest = Math.max(least, Math.floor(MAX_PIXELS / least));
  const most = Math.max(width, height) * scale > longest
    ? Math.max(Math.min(width, height), Math.trunc(longest / scale)) : Infinity;
  return [width, height].map(side => {
    const [start, length] = middle(side, most), out = Math.max(least, round(length * scale));
    return { start, length, from: 0, to: length, out, first: middle(out, size)[0], size };
  });
}

const unchanged = axis => axis.out === axis.length && axis.from === 0 && axis.to === axis.out;

/** For each of the pixels seen: where its window starts, how long it is, and the weights (of `taps` each). */
function windows(axis, filter) {
  const scale = Math.fround(axis.to - axis.from) / axis.out, stretch = Math.max(1, scale);
  const support = filter.support * stretch, taps = 2 * Math.ceil(support) + 1;
  const starts = new Int32Array(axis.size), lengths = new Int32Array(axis.size);
  const weights = new Int32Array(axis.size * taps), exact = new Float64Array(taps);
  const shrink = 1 / stretch;
  for (let k = 0; k < axis.size; k++) {
    const centre = axis.from + (axis.first + k + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const length = Math.min(axis.length, Math.trunc(centre + support + 0.5)) - start;
    let sum = 0;
    for (let x = 0; x < length; x++) sum += exact[x] = filter.weight((x + start - centre + 0.5) * shrink);
    for (let x = 0; x < length; x++) {
      const weight = (sum ? exact[x] / sum : exact[x]) * 2 ** BITS;
      weights[k * taps + x] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    starts[k] = start;
    lengths[k] = length;
  }
  return { starts, lengths, weights, taps };
}

/** The same where every pixel seen is one of the picture: without a filter, or where nothing is resized. */
function chosen(axis) {
  const starts = new Int32Array(axis.size), step = (axis.to - axis.from) / axis.out;
  let place = axis.from + step * 0.5; // added up as Pillow does, rounding included
  for (let k = 0; k < axis.first + axis.size; k++, place += step)
    if (k >= axis.first) starts[k - axis.first] = Math.trunc(place);
  return { starts, lengths: starts.map(() => 1), weights: starts.map(() => 1 << BITS), taps: 1 };
}

const sides = (axis, interpolation) =>
  interpolation === "nearest" || unchanged(axis) ? chosen(axis) : windows(axis, FILTERS[interpolation]);

/** Pillow's grey of RGBA pixels, one byte each. */
function grey(rgba) {
  const out = new Uint8Array(rgba.length / 4);
  for (let k = 0, p = 0; k < out.length; k++, p += 4)
    out[k] = (rgba[p] * 19595 + rgba[p + 1] * 38470 + rgba[p + 2] * 7471 + 0x8000) >> 16;
  return out;
}

const clip = sum => { const level = sum >> BITS; return level < 0 ? 0 : level > 255 ? 255 : level; };

/** One pass over a line of pixels `pitch` apart, `channels` of each; the results are written `step` apart. */
function pass(source, begin, pitch, channels, { starts, lengths, weights, taps }, target, at, step) {
  for (let k = 0; k < starts.length; k++) {
    const first = begin + starts[k] * pitch, base = k * taps, end = base + lengths[k];
    let red = 1 << (BITS - 1), green = red, blue = red;
    if (channels === 1) {
      for (let w = base, p = first; w < end; w++, p += pitch) red += source[p] * weights[w];
    } else {
      for (let w = base, p = first; w < end; w++, p += pitch) {
        const weight = weights[w];
        red += source[p] * weight;
        green += source[p + 1] * weight;
        blue += source[p + 2] * weight;
      }
      target[at + k * step + 1] = clip(green);
      target[at + k * step + 2] = clip(blue);
    }
    target[at + k * step] = clip(red);
  }
}

/** Whether rows are resized before columns: where the height shrinks by more than twice what the width does. */
function rowsFirst(width, height, across, down) {
  const less = height - down.out;
  return less > 0 && less > (width - across.out) * 2;
}

/**
 * The square of a picture (Uint8Array, planes of channels) for the preprocessing `shown`.
 * rows(top, count) gives RGBA pixels of that many rows, upright, sRGB and opaque.
 */
export function fit({ width, height, rows }, shown) {
  const { size, channels } = shown, [across, down] = axes(width, height, shown);
  const x = sides(across, shown.interpolation), y = sides(down, shown.interpolation);
  const top = y.starts[0], end = y.starts[size - 1] + y.lengths[size - 1];
  y.starts = y.starts.map(start => start - top);
  const pitch = channels === 1 ? 1 : 4, square = new Uint8Array(size * size * channels);
  const pixels = (row, count) => {
    const rgba = rows(down.start + row, count);
    return channels === 1 ? grey(rgba) : rgba;
  };
  if (rowsFirst(across.length, down.length, across, down)) {
    const left = x.starts[0], wide = x.starts[size - 1] + x.lengths[size - 1] - left;
    const source = pixels(top, end - top), low = new Uint8Array(wide * size * channels);
    for (let column = 0; column < wide; column++)
      pass(source, (across.start + left + column) * pitch, width * pitch, channels, y,
        low, column * channels, wide * channels);
    x.starts = x.starts.map(start => start - left);
    const line = new Uint8Array(size * channels);
    for (let row = 0; row < size; row++) {
      pass(low, row * wide * channels, channels, channels, x, line, 0, channels);
      spread(line, channels, square, row * size, 1, size);
    }
    return square;
  }
  const narrow = new Uint8Array((end - top) * size * channels), strip = Math.max(1, Math.floor(2 ** 20 / width));
  for (let row = top; row < end; row += strip) {
    const count = Math.min(strip, end - row), source = pixels(row, count);
    for (let k = 0; k < count; k++)
      pass(source, (k * width + across.start) * pitch, pitch, channels, x,
        narrow, (row - top + k) * size * channels, channels);
  }
  const line = new Uint8Array(size * channels);
  for (let column = 0; column < size; column++) {
    pass(narrow, column * channels, size * channels, channels, y, line, 0, channels);
    spread(line, channels, square, column, size, size);
  }
  return square;
}

/** Write a line of interleaved pixels into the planes of a square. */
function spread(line, channels, square, at, step, size) {
  for (let k = 0; k < size; k++)
    for (let c = 0; c < channels; c++) square[c * size * size + at + k * step] = line[k * channels + c];
}
