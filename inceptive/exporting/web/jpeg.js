// A large JPEG at 1/2, 1/4 or 1/8 of its size, in the DCT domain, level for level as libjpeg gives it to Pillow.
// Browsers decode at full size only, and what is resized from that differs by dozens of levels in fine patterns.
// Formulas: ITU-T T.81; arithmetic of whole numbers as in libjpeg's slow inverse DCT and its reduced ones.

const ZIGZAG = Uint8Array.from([
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55,
  62, 63,
]);
const BITS = 13; // of the constants below
const fix = x => Math.round(x * 2 ** BITS);
const [F0211, F0298, F0390, F0509, F0541, F0601, F0720, F0765, F0850, F0899, F1061, F1175, F1272, F1451, F1501, F1847,
  F1961, F2053, F2172, F2562, F3072, F3624] = [0.211164243, 0.298631336, 0.390180644, 0.509795579, 0.5411961,
  0.601344887, 0.720959822, 0.765366865, 0.850430095, 0.899976223, 1.061594337, 1.175875602, 1.27275858, 1.451774981,
  1.50132111, 1.847759065, 1.96157056, 2.053119869, 2.172734803, 2.562915447, 3.072711026, 3.624509785].map(fix);
const LOOKAHEAD = 10; // bits that are looked up at once: 8 to 12 take the same time
const PAD = 8192; // bytes of zeros after the data: more than the blocks of one MCU can take
const { imul } = Math; // whole numbers of 32 bits stay such
const clamp = level => (level < 0 ? 0 : level > 255 ? 255 : level);

/**
 * A Huffman table, by the bits to come. `whole`, by 16: the length of the code that they begin with, and its symbol.
 * `lookahead`, by LOOKAHEAD, where code and value of an AC coefficient have no more: value, zeros before it (64 at a block's end)
 * and length of both; else 0.
 */
function lookup(counts, symbols) {
  const whole = new Uint16Array(1 << 16), lookahead = new Int32Array(1 << LOOKAHEAD);
  for (let length = 1, code = 0, k = 0; length <= 16; length++, code <<= 1)
    for (let n = 0; n < counts[length - 1]; n++, code++, k++)
      whole.fill((length << 8) | symbols[k], code << (16 - length), (code + 1) << (16 - length));
  for (let ahead = 0; ahead < lookahead.length; ahead++) {
    const word = whole[ahead << (16 - LOOKAHEAD)], size = word & 15, length = (word >> 8) + size;
    const value = extend((ahead >> Math.max(LOOKAHEAD - length, 0)) & ((1 << size) - 1), size);
    if (word && length <= LOOKAHEAD) lookahead[ahead] = (value << 16) | (zerosOf(word) << 8) | length;
  }
  return { whole, lookahead };
}

const extend = (value, size) => value + (((value >> (size - 1)) - 1) & (1 - (1 << size))); // one half is below 0
const zerosOf = word => (word & 15 || (word & 255) === 0xf0 ? (word >> 4) & 15 : 64);

/** The size and the coding of a JPEG: {width, height, components, ...}; null if it is of a kind not read here. */
export function header(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = { quant: [], dc: [], ac: [], restart: 0, jfif: false, adobe: -1, start: 0, components: null };
  for (let at = 2; at + 4 <= bytes.length;) {
    if (bytes[at] !== 0xff) return null;
    const marker = bytes[at + 1];
    if (marker === 0xff) { at++; continue; }
    const end = at + 2 + view.getUint16(at + 2);
    if (end > bytes.length) return null;
    if (marker === 0xda) { found.start = at; break; }
    read(found, marker, view, at + 4, end);
    at = end;
  }
  const { components } = found;
  if (!found.start || !components || ![1, 3].includes(components.length)) return null;
  return found;
}

/** Take in one segment of a header. */
function read(found, marker, view, at, end) {
  if (marker === 0xdb) {
    while (at < end) {
      const word = view.getUint8(at++), table = new Int32Array(64), wide = word >> 4;
      for (let k = 0; k < 64; k++, at += wide ? 2 : 1) table[ZIGZAG[k]] = wide ? view.getUint16(at) : view.getUint8(at);
      found.quant[word & 15] = table;
    }
  } else if (marker === 0xc4) {
    while (at < end) {
      const word = view.getUint8(at), counts = Array.from({ length: 16 }, (_, k) => view.getUint8(at + 1 + k));
      const total = counts.reduce((a, b) => a + b);
      const symbols = Array.from({ length: total }, (_, k) => view.getUint8(at + 17 + k));
      (word >> 4 ? found.ac : found.dc)[word & 15] = lookup(counts, symbols);
      at += 17 + total;
    }
  } else if (marker === 0xdd) found.restart = view.getUint16(at);
  else if (marker === 0xe0) found.jfif ||= view.getUint32(at) === 0x4a464946;
  else if (marker === 0xee && end - at >= 12 && view.getUint32(at) === 0x41646f62) found.adobe = view.getUint8(at + 11);
  else if ([0xc0, 0xc1, 0xc2].includes(marker) && view.getUint8(at) === 8) {
    found.progressive = marker === 0xc2;
    found.height = view.getUint16(at + 1);
    found.width = view.getUint16(at + 3);
    found.components = Array.from({ length: view.getUint8(at + 5) }, (_, k) => {
      const place = at + 6 + 3 * k, sampling = view.getUint8(place + 1);
      return { id: view.getUint8(place), h: sampling >> 4, v: sampling & 15, quant: view.getUint8(place + 2) };
    });
  }
}

/**
 * The pixels of a JPEG at 1 / `denominator` of its size: {width, height, data, grey}, RGBA, not turned. Null if it is coded
 * in a way not read here (arithmetic, lossless, CMYK, rare sampling): then the browser's own decoder has to do.
 */
export function reduced(bytes, denominator) {
  const found = header(bytes);
  if (!found?.width || !found.height) return null;
  const { components } = found, tall = Math.max(...components.map(c => c.v)), wide = Math.max(...components.map(c => c.h));
  const side = 8 / denominator, one = components.length === 1;
  if (one) Object.assign(components[0], { h: 1, v: 1 });
  const most = one ? [1, 1] : [wide, tall];
  for (const c of components) {
    c.side = side; // chroma sampled at half is made at twice the share, where both directions allow
    while (c.side < 8 && (most[0] * side) % (c.h * c.side * 2) === 0 && (most[1] * side) % (c.v * c.side * 2) === 0) c.side *= 2;
    c.across = (most[0] * side) / (c.h * c.side);
    if (![1, 2].includes(c.across) || most[1] * side !== c.v * c.side) return null;
    c.columns = Math.ceil(Math.ceil((found.width * c.h) / most[0]) / 8);
    c.lines = Math.ceil(Math.ceil((found.height * c.v) / most[1]) / 8);
    c.pitch = Math.ceil(found.width / (8 * most[0])) * c.h;
    c.rows = Math.ceil(found.height / (8 * most[1])) * c.v;
    c.room = c.side === 1 ? 1 : 64; // coefficients that are kept of a block: one sample is made of the first alone
    c.coefficients = new Int16Array(found.progressive ? c.room * c.pitch * c.rows : 64);
    c.exact = new Uint8Array(64); // which coefficients a progressive file has told to the last bit
    c.samples = new Uint8Array(c.side * c.side * c.pitch * c.rows).fill(128);
    c.wide = Math.ceil((found.width * c.h * c.side) / (most[0] * 8));
  }
  scans(bytes, found, most);
  if (found.progressive && components.some(c => c.exact.subarray(1, 10).includes(0))) return null; // libjpeg smooths these
  if (found.progressive) for (const c of components)
    for (let line = 0; line < c.rows; line++)
      for (let column = 0; column < c.pitch; column++)
        sample(c, quantOf(c, found), c.room * (line * c.pitch + column), line, column);
  return coloured(found, Math.ceil(found.width / denominator), Math.ceil(found.height / denominator), side);
}

/** Read the coefficients of every scan. */
function scans(bytes, found, most) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = found.start, done = false;
  while (!done) {
    while (at + 4 <= bytes.length && (bytes[at] !== 0xff || bytes[at + 1] === 0xff)) at++;
    if (at + 4 > bytes.length) { if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return; throw new Error("is truncated or damaged (JPEG)"); }
    const marker = bytes[at + 1];
    if (marker === 0xd9) return;
    const end = at + 2 + view.getUint16(at + 2);
    if (marker === 0xda) at = scan(bytes, at + 4, end, found, most);
    else { read(found, marker, view, at + 4, end); at = end; }
  }
}

/** Read one scan, whose header is at `at` and whose data begin at `pos`; returns where the next marker is. */
function scan(bytes, at, pos, found, most) {
  const parts = [];
  for (let k = 0, count = bytes[at++]; k < count; k++, at += 2) {
    const component = found.components.find(c => c.id === bytes[at]);
    if (!component) throw new Error("is truncated or damaged (JPEG)");
    const quant = found.progressive ? null : quantOf(component, found);
    parts.push({ c: component, quant, dc: found.dc[bytes[at + 1] >> 4], ac: found.ac[bytes[at + 1] & 15] });
  }
  const first = bytes[at], last = found.progressive ? bytes[at + 1] : 63, high = bytes[at + 2] >> 4, low = bytes[at + 2] & 15;
  const unstuffed = (found.unstuffed ??= new Uint8Array(bytes.length + PAD)), view = new DataView(unstuffed.buffer);
  let end = 0, p = 0, run = 0; // where the bits in `unstuffed` end, and the next of them

  function unstuff() { // the data up to the next marker, without the zeros that stand after 255 in a file
    let n = 0, from = pos;
    for (;;) {
      const full = bytes.indexOf(255, pos);
      let after = full + 1;
      while (bytes[after] === 255) after++;
      if (full < 0 || after >= bytes.length) throw new Error("is truncated or damaged (JPEG)");
      const marker = bytes[after] !== 0, until = marker ? full : full + 1;
      unstuffed.set(bytes.subarray(from, until), n);
      n += until - from;
      pos = from = marker ? full : after + 1;
      if (marker) break;
    }
    unstuffed.fill(0, n, n + PAD);
    end = 8 * n;
    p = 0;
  }
  const bits = at => view.getUint32(at >> 3) << (at & 7); // 25 of them, at least
  function symbol(table) {
    const word = table.whole[bits(p) >>> 16];
    p += word >> 8;
    return word & 255;
  }
  function receive(length) {
    const value = bits(p) >>> 1 >>> (31 - length);
    p += length;
    return value;
  }
  const signed = length => extend(receive(length), length);
  function sequential({ c, dc, ac, quant }, line, column) {
    const q = c.coefficients;
    q[0] = c.last += signed(symbol(dc));
    p = acCoefficients(view, p, ac, q);
    sample(c, quant, 0, line, column);
    q.fill(0);
  }
  const place = (c, line, column) => c.room * (line * c.pitch + column);
  function dcFirst({ c, dc }, line, column) { c.last += signed(symbol(dc)); c.coefficients[place(c, line, column)] = c.last << low; }
  function dcAgain({ c }, line, column) { if (receive(1)) c.coefficients[place(c, line, column)] |= 1 << low; }
  function acFirst(part, line, column) {
    const q = part.c.coefficients, o = place(part.c, line, column);
    if (run) { run--; return; }
    for (let k = first; k <= last; k++) {
      const word = symbol(part.ac), length = word & 15, zeros = word >> 4;
      if (length) { k += zeros; q[o + ZIGZAG[k & 63]] = signed(length) << low; } else if (zeros === 15) k += 15;
      else { run = (1 << zeros) - 1 + (zeros ? receive(zeros) : 0); break; }
    }
  }
  function acAgain(part, line, column) {
    const q = part.c.coefficients, o = place(part.c, line, column);
    const plus = 1 << low, minus = -1 << low;
    const refine = z => { if (receive(1) && !(q[z] & plus)) q[z] += q[z] >= 0 ? plus : minus; };
    let k = first;
    if (!run) for (; k <= last; k++) {
      const word = symbol(part.ac);
      let zeros = word >> 4, value = 0;
      if (word & 15) value = receive(1) ? plus : minus;
      else if (zeros !== 15) { run = (1 << zeros) + (zeros ? receive(zeros) : 0); break; }
      for (; k <= last; k++) {
        const z = o + ZIGZAG[k];
        if (q[z]) refine(z);
        else if (--zeros < 0) break;
      }
      if (value && k <= last) q[o + ZIGZAG[k]] = value;
    }
    if (run) {
      for (; k <= last; k++) if (q[o + ZIGZAG[k]]) refine(o + ZIGZAG[k]);
      run--;
    }
  }
  const block = !found.progressive ? sequential : first === 0 ? (high ? dcAgain : dcFirst) : high ? acAgain : acFirst;

  const alone = parts.length === 1, { c } = parts[0];
  if (!low) for (const part of parts) part.c.exact.fill(1, first, last + 1);
  if (first && c.room === 1) return next(pos); // a progressive scan without first coefficients
  const columns = alone ? c.columns : Math.ceil(found.width / (8 * most[0]));
  const lines = alone ? c.lines : Math.ceil(found.height / (8 * most[1]));
  unstuff();
  for (const part of parts) part.c.last = 0;
  for (let line = 0, left = found.restart; line < lines; line++)
    for (let column = 0; column < columns; column++, left--) {
      if (found.restart && !left) {
        while (pos + 1 < bytes.length && !(bytes[pos] === 0xff && bytes[pos + 1] >= 0xd0 && bytes[pos + 1] <= 0xd9)) pos++;
        const there = (bytes[pos + 1] & 0xf8) === 0xd0;
        if (there) pos += 2;
        if (there || p <= end) unstuff();
        run = 0;
        left = found.restart;
        for (const part of parts) part.c.last = 0;
      }
      if (p > end) continue; // too little: as in libjpeg, what cannot be known stays grey
      if (alone) block(parts[0], line, column);
      else for (const part of parts)
        for (let y = 0; y < part.c.v; y++)
          for (let x = 0; x < part.c.h; x++)
            block(part, line * part.c.v + y, column * part.c.h + x);
    }
  return next(pos);

  function next(from) {
    while (from + 1 < bytes.length && !(bytes[from] === 0xff && bytes[from + 1] && bytes[from + 1] !== 0xff
      && (bytes[from + 1] & 0xf8) !== 0xd0)) from++;
    return from;
  }
}

/** Read the coefficients of a block after its first, from bit `at` of `view`; returns the bit after. Here the time goes. */
function acCoefficients(view, at, { lookahead, whole }, q) {
  for (let k = 1; k < 64; k++) {
    const ahead = view.getUint32(at >> 3) << (at & 7), found = lookahead[ahead >>> (32 - LOOKAHEAD)];
    let value = found >> 16, length = found & 255;
    k += (found >> 8) & 255;
    if (!found) {
      const word = whole[ahead >>> 16];
      length = word & 15;
      at += word >> 8;
      k += zerosOf(word);
      value = extend((view.getUint32(at >> 3) << (at & 7)) >>> 1 >>> (31 - length), length);
    }
    at += length;
    if (k > 63) break;
    q[ZIGZAG[k]] = value;
  }
  return at;
}

/** The table of a component's quantisation, as it stands now: a file may bring another for a later scan. */
function quantOf(c, found) {
  const quant = found.quant[c.quant];
  if (!quant) throw new Error("is truncated or damaged (JPEG)");
  return quant;
}

const SPACE = new Int32Array(64);

/** The `side` x `side` samples of a block, from its coefficients, which begin at `o`. */
function sample({ coefficients: q, samples, side, pitch }, quant, o, line, column) {
  const across = pitch * side, at = line * side * across + column * side;
  if (side === 1) samples[at] = clamp(((q[o] * quant[0] + 4) >> 3) + 128);
  else INVERSE[side](q, o, quant, samples, at, across, SPACE);
}

const INVERSE = {
  2(q, o, t, out, at, across, s) {
    for (let x = 0; x < 8; x += x ? 2 : 1) {
      const p = o + x, even = imul(q[p], t[x]) << (BITS + 2);
      const more = odd(imul(q[p + 56], t[x + 56]), imul(q[p + 40], t[x + 40]), imul(q[p + 24], t[x + 24]), imul(q[p + 8], t[x + 8]));
      s[x] = (even + more + (1 << (BITS - 1))) >> BITS;
      s[x + 8] = (even - more + (1 << (BITS - 1))) >> BITS;
    }
    for (let y = 0; y < 2; y++, at += across) {
      const b = 8 * y, even = s[b] << (BITS + 2), more = odd(s[b + 7], s[b + 5], s[b + 3], s[b + 1]);
      out[at] = clamp(((even + more + (1 << (BITS + 6))) >> (BITS + 7)) + 128);
      out[at + 1] = clamp(((even - more + (1 << (BITS + 6))) >> (BITS + 7)) + 128);
    }
  },
  4(q, o, t, out, at, across, s) {
    for (let x = 0; x < 8; x++) {
      if (x === 4) continue;
      const p = o + x, zero = imul(q[p], t[x]);
      if (!(q[p + 8] | q[p + 16] | q[p + 24] | q[p + 40] | q[p + 48] | q[p + 56])) s[x] = s[x + 8] = s[x + 16] = s[x + 24] = zero << 2;
      else four(zero, imul(q[p + 16], t[x + 16]), imul(q[p + 48], t[x + 48]), imul(q[p + 56], t[x + 56]),
        imul(q[p + 40], t[x + 40]), imul(q[p + 24], t[x + 24]), imul(q[p + 8], t[x + 8]), 12, s, x, 8);
    }
    for (let y = 0, b = 0; y < 4; y++, b += 8, at += across) {
      four(s[b], s[b + 2], s[b + 6], s[b + 7], s[b + 5], s[b + 3], s[b + 1], 19, s, b, 1);
      for (let x = 0; x < 4; x++) out[at + x] = clamp(s[b + x] + 128);
    }
  },
  8(q, o, t, out, at, across, s) {
    for (let x = 0; x < 8; x++) {
      const p = o + x;
      eight(imul(q[p], t[x]), imul(q[p + 8], t[x + 8]), imul(q[p + 16], t[x + 16]), imul(q[p + 24], t[x + 24]),
        imul(q[p + 32], t[x + 32]), imul(q[p + 40], t[x + 40]), imul(q[p + 48], t[x + 48]), imul(q[p + 56], t[x + 56]), 11, s, x, 8);
    }
    for (let y = 0, b = 0; y < 8; y++, b += 8, at += across) {
      eight(s[b], s[b + 1], s[b + 2], s[b + 3], s[b + 4], s[b + 5], s[b + 6], s[b + 7], 18, s, b, 1);
      for (let x = 0; x < 8; x++) out[at + x] = clamp(s[b + x] + 128);
    }
  },
};

function odd(a, b, c, d) { return (imul(d, F3624) - imul(c, F1272) + imul(b, F0850) - imul(a, F0720)) | 0; }

function four(zero, two, six, a, b, c, d, shift, s, at, step) {
  const half = 1 << (shift - 1), even = zero << (BITS + 1), more = (imul(two, F1847) - imul(six, F0765)) | 0;
  const inner = (imul(d, F1061) - imul(c, F2172) + imul(b, F1451) - imul(a, F0211)) | 0;
  const outer = (imul(d, F2562) + imul(c, F0899) - imul(b, F0601) - imul(a, F0509)) | 0;
  s[at] = (even + more + outer + half) >> shift;
  s[at + 3 * step] = (even + more - outer + half) >> shift;
  s[at + step] = (even - more + inner + half) >> shift;
  s[at + 2 * step] = (even - more - inner + half) >> shift;
}

function eight(a, b, c, d, e, f, g, h, shift, s, at, step) {
  const half = 1 << (shift - 1), turn = imul(c + g, F0541), low = turn - imul(g, F1847), high = turn + imul(c, F0765);
  const sum = (a + e) << BITS, rest = (a - e) << BITS;
  const e0 = (sum + high + half) | 0, e3 = (sum - high + half) | 0, e1 = (rest + low + half) | 0, e2 = (rest - low + half) | 0;
  const z5 = imul(h + d + f + b, F1175), z1 = -imul(h + b, F0899), z2 = -imul(f + d, F2562);
  const z3 = z5 - imul(h + d, F1961), z4 = z5 - imul(f + b, F0390);
  const o0 = (imul(h, F0298) + z1 + z3) | 0, o1 = (imul(f, F2053) + z2 + z4) | 0;
  const o2 = (imul(d, F3072) + z2 + z3) | 0, o3 = (imul(b, F1501) + z1 + z4) | 0;
  s[at] = (e0 + o3) >> shift;
  s[at + 7 * step] = (e0 - o3) >> shift;
  s[at + step] = (e1 + o2) >> shift;
  s[at + 6 * step] = (e1 - o2) >> shift;
  s[at + 2 * step] = (e2 + o1) >> shift;
  s[at + 5 * step] = (e2 - o1) >> shift;
  s[at + 3 * step] = (e3 + o0) >> shift;
  s[at + 4 * step] = (e3 - o0) >> shift;
}

/** A line of a component at the width of the picture. */
function line(c, y, width, side, into) {
  const at = y * c.pitch * c.side, { samples, wide } = c;
  if (c.across === 1) return samples.subarray(at, at + width);
  if (side === 1 || wide <= 2) {
    for (let x = 0; x < width; x++) into[x] = samples[at + (x >> 1)];
    return into;
  }
  for (let x = 0; x < wide; x++) { // three quarters of the nearer sample, one of the further
    const near = 3 * samples[at + x];
    into[2 * x] = x ? (near + samples[at + x - 1] + 1) >> 2 : samples[at];
    into[2 * x + 1] = x < wide - 1 ? (near + samples[at + x + 1] + 2) >> 2 : samples[at + x];
  }
  return into;
}

/** RGBA of the components. */
function coloured({ components, jfif, adobe }, width, height, side) {
  const data = new Uint8ClampedArray(4 * width * height);
  const named = String.fromCharCode(...components.map(c => c.id)) === "RGB";
  const rgb = !jfif && (adobe === 0 || (adobe < 0 && named));
  const spaces = components.map(c => new Uint8Array(2 * c.wide + 2));
  const half = 1 << 15, f16 = x => Math.round(x * 65536);
  const red = Int32Array.from({ length: 256 }, (_, x) => (f16(1.402) * (x - 128) + half) >> 16);
  const blue = Int32Array.from({ length: 256 }, (_, x) => (f16(1.772) * (x - 128) + half) >> 16);
  const reds = Int32Array.from({ length: 256 }, (_, x) => -f16(0.71414) * (x - 128));
  const blues = Int32Array.from({ length: 256 }, (_, x) => -f16(0.34414) * (x - 128) + half);
  for (let y = 0, p = 0; y < height; y++) {
    const [a, b, c] = components.map((each, k) => line(each, y, width, side, spaces[k]));
    for (let x = 0; x < width; x++, p += 4) {
      const luma = a[x];
      if (!b) data[p] = data[p + 1] = data[p + 2] = luma;
      else if (rgb) { data[p] = luma; data[p + 1] = b[x]; data[p + 2] = c[x]; }
      else {
        data[p] = luma + red[c[x]];
        data[p + 1] = luma + ((blues[b[x]] + reds[c[x]]) >> 16);
        data[p + 2] = luma + blue[b[x]];
      }
      data[p + 3] = 255;
    }
  }
  return { width, height, data, grey: components.length === 1 };
}
