// GIF 89a: images in a loop, with its own LZW (the specification's appendix F).

const STEPS = [0, 51, 102, 153, 204, 255];
export const GREYS = Array.from({ length: 256 }, (_, level) => [level, level, level]);
/** Six steps of red, of green and of blue. */
export const COLOURS = STEPS.flatMap((r) => STEPS.flatMap((g) => STEPS.map((b) => [r, g, b])));

/**
 * Frames of equal size as a GIF.
 *
 * `frames` are arrays of places in `palette`, row by row; each is shown for `delay` hundredths of a
 * second. `palette` holds at most 256 colours [red, green, blue]. Returns the file's bytes.
 */
export function gif(frames, width, height, delay, palette = GREYS) {
  const word = (n) => [n & 255, n >> 8];
  const text = (s) => [...s].map((c) => c.charCodeAt(0));
  const size = [...word(width), ...word(height)];
  const bytes = [
    ...text("GIF89a"), ...size, 0xf7, 0, 0, // 256 colours for all frames
    ...GREYS.map((_, i) => palette[i] ?? [0, 0, 0]).flat(),
    0x21, 0xff, 11, ...text("NETSCAPE2.0"), 3, 1, 0, 0, 0, // for ever
  ];
  for (const frame of frames) {
    bytes.push(0x21, 0xf9, 4, 0, ...word(delay), 0, 0, 0x2c, 0, 0, 0, 0, ...size, 0, 8);
    const packed = compress(frame);
    for (let at = 0; at < packed.length; at += 255) {
      const block = packed.slice(at, at + 255);
      bytes.push(block.length);
      for (const byte of block) bytes.push(byte);
    }
    bytes.push(0);
  }
  bytes.push(0x3b);
  return Uint8Array.from(bytes);
}

const CLEAR = 256;
const END = 257;

function compress(levels) {
  const packed = [];
  let [buffer, held, width] = [0, 0, 9];
  const put = (code) => {
    buffer |= code << held;
    for (held += width; held >= 8; held -= 8) {
      packed.push(buffer & 255);
      buffer >>>= 8;
    }
  };
  let [codes, next] = [new Map(), END + 1];
  put(CLEAR);
  let prefix = levels[0];
  for (const level of Array.from(levels).slice(1)) {
    const key = prefix * 256 + level;
    if (codes.has(key)) {
      prefix = codes.get(key);
      continue;
    }
    put(prefix);
    if (next < 4096) {
      if (next === 1 << width) width++;
      codes.set(key, next++);
    } else {
      put(CLEAR);
      [codes, next, width] = [new Map(), END + 1, 9];
    }
    prefix = level;
  }
  put(prefix);
  put(END);
  if (held) packed.push(buffer & 255);
  return packed;
}
