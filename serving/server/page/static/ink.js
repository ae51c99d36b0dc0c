// What can be measured of the ink of a 28x28 image: grey levels 0..255, row by row, in; numbers out.

export const SIDE = 28; // pixels across
const MIDDLE = (SIDE - 1) / 2;
const IS_INK = 100; // levels from here on are stroke, below is its soft edge

/** All measurements of one image, by name; null where there is no ink. */
export function measure(levels) {
  const at = (x, y) => (x < SIDE && y < SIDE ? levels[y * SIDE + x] / 255 : 0);
  let [mass, sumX, sumY, edge, faint] = [0, 0, 0, 0, 0];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const ink = at(x, y);
      [mass, sumX, sumY] = [mass + ink, sumX + ink * x, sumY + ink * y];
      edge += Math.hypot(at(x + 1, y) - ink, at(x, y + 1) - ink);
      if (ink > 0.004 && ink < 0.06) faint++;
    }
  }
  if (mass < 1) return null;
  const [centreX, centreY] = [sumX / mass, sumY / mass];
  let [xx, xy, yy] = [0, 0, 0];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [ink, dx, dy] = [at(x, y), x - centreX, y - centreY];
      [xx, xy, yy] = [xx + ink * dx * dx, xy + ink * dx * dy, yy + ink * dy * dy];
    }
  }
  [xx, xy, yy] = [xx / mass, xy / mass, yy / mass];
  return {
    // The angle of the upright that fits best, in degrees; y grows downwards, so right is positive.
    slant: (Math.atan2(-xy, yy + 1e-9) * 180) / Math.PI,
    // A stroke of length L and width W covers LW and has an edge of 2L.
    stroke: (2 * mass) / edge,
    // Of an even bar with this spread, once it is put upright.
    width: Math.sqrt(12 * Math.max(0, xx - (xy * xy) / (yy + 1e-9))),
    height: Math.sqrt(12 * yy),
    offCentre: Math.hypot(centreX - MIDDLE, centreY - MIDDLE),
    faint,
    pieces: pieces(levels),
  };
}

/** How many separate pieces of stroke there are; pixels touch by their corners too. */
function pieces(levels) {
  const open = new Set();
  levels.forEach((level, i) => level >= IS_INK && open.add(i));
  let count = 0;
  for (const start of open) {
    count++;
    const todo = [start];
    while (todo.length) {
      const i = todo.pop();
      if (!open.delete(i)) continue;
      const x = i % SIDE;
      for (const dx of [-1, 0, 1]) {
        if (x + dx < 0 || x + dx >= SIDE) continue;
        for (const dy of [-SIDE, 0, SIDE]) if (open.has(i + dx + dy)) todo.push(i + dx + dy);
      }
    }
  }
  return count;
}

const ODD = [ // what a low and a high value mean in words
  ["stroke", "its stroke is thinner", "its stroke is thicker"],
  ["slant", "it leans further to the left", "it leans further to the right"],
  ["width", "it is narrower", "it is wider"],
  ["height", "it is lower", "it is taller"],
  ["offCentre", null, "it lies further off the middle"],
  ["faint", "its edge has fewer faint pixels", "it has more faint pixels"],
  ["pieces", null, "it is in more pieces"],
];

/**
 * How an image differs from real ones, in words: ["its stroke is thinner than in 99 of 100"].
 *
 * `levels` is the image and `real` the measurements of real ones. A value counts as odd where at
 * most 2 % of the real ones are as far out.
 */
export function oddities(levels, real) {
  const found = measure(levels);
  if (!found) return ["there is nothing on it"];
  const said = [];
  for (const [name, low, high] of ODD) {
    const below = real.filter((one) => one[name] < found[name]).length;
    const above = real.filter((one) => one[name] > found[name]).length;
    const enough = 0.98 * real.length;
    if (low && above >= enough) said.push(`${low} than ${above} of ${real.length} real ones`);
    if (high && below >= enough) said.push(`${high} than ${below} of ${real.length} real ones`);
  }
  return said;
}
