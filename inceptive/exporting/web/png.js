// Pixels as a PNG file, not compressed: how a browser is asked to convert them from a colour profile.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let k = 0; k < 8; k++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** Arrays of bytes, one after another. */
export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

const word = number => [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];

/** `bytes` as a zlib stream of stored blocks (RFC 1950, 1951). */
export function stored(bytes) {
  const parts = [[0x78, 1]];
  for (let at = 0; at === 0 || at < bytes.length; at += 65535) {
    const part = bytes.subarray(at, at + 65535), size = part.length, last = at + 65535 >= bytes.length ? 1 : 0;
    parts.push([last, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255], part);
  }
  let a = 1, b = 0;
  for (let k = 0; k < bytes.length;) {
    for (const end = Math.min(k + 3800, bytes.length); k < end; k++) { a += bytes[k]; b += a; }
    a %= 65521;
    b %= 65521;
  }
  parts.push(word(b * 65536 + a));
  return joined(parts);
}

function chunk(name, body) {
  const content = joined([Array.from(name, letter => letter.charCodeAt(0)), body]);
  let sum = 0xffffffff;
  for (const byte of content) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  return joined([word(body.length), content, word(~sum >>> 0)]);
}

/** RGBA pixels as PNG, opaque, with a colour profile (a zlib stream); `grey`: only their red, as grey. */
export function png({ width, height, data }, profile, grey) {
  const channels = grey ? 1 : 3, lines = new Uint8Array(height * (1 + channels * width));
  for (let y = 0, at = 0, p = 0; y < height; y++) {
    at++; // no filter
    for (let x = 0; x < width; x++, p += 4) for (let c = 0; c < channels; c++) lines[at++] = data[p + c];
  }
  return joined([[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
    chunk("IHDR", [...word(width), ...word(height), 8, grey ? 0 : 2, 0, 0, 0]),
    chunk("iCCP", joined([[0x70, 0, 0], profile])), chunk("IDAT", stored(lines)), chunk("IEND", [])]);
}
