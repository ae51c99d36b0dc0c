// From an image back to a latent: the one whose image is nearest.
//
// The server only draws, so the slope is measured and not computed: each number of the latent is
// moved a little, all in one request, and a damped Gauss-Newton step (Levenberg 1944, Marquardt
// 1963) follows from the changes. Images are compared blurred, so that a stroke that lies beside
// the one that is wanted pulls too.

import { add, dot, gram, solve } from "./algebra.js";
import { ANY } from "./generator.js";
import { SIDE } from "./ink.js";

const STARTS = 2; // candidates that get a first step
const STEPS = 4; // of the best of them
const NUDGE = 0.1; // of a number of the latent, to see what it changes
const DAMPING = [0.03, 0.3, 3]; // tried side by side, times the mean of the diagonal
const PRIOR = 0.005; // weight of the latent's own length, so that it stays where training went

/**
 * The latent whose image is nearest to `levels` (grey levels 0..255, 784).
 *
 * `label` is the class to look in, ANY for all. Returns {latent, label, levels, overlap,
 * requests}: overlap is the ink that both images have over the ink that either has, 0 to 1.
 */
export async function nearest(generator, levels, label) {
  const target = prepared(levels.map(share));
  const pool = await generator.sample(label);
  const ranked = pool.map((one) => ({ ...one, cost: squared(prepared(one.levels.map(share)), target) }))
    .sort((a, b) => a.cost - b.cost);
  // The best of each of the two best classes, or the two best of the one.
  const starts = label === ANY && generator.conditional
    ? ranked.filter((one, i) => ranked.findIndex((other) => other.label === one.label) === i) : ranked;
  let requests = 0;
  const draw = async (latents, of) => {
    requests++;
    const { images } = await generator.decode(latents, of);
    return images.map((image) => generator.levels(image).map(share));
  };
  /** One step; the cost never rises. */
  const step = async (from) => {
    const nudged = from.latent.map((_, i) => from.latent.map((value, j) => value + (i === j ? NUDGE : 0)));
    const [base, ...changed] = (await draw([from.latent, ...nudged], from.label)).map(prepared);
    const residual = add(base, target, -1);
    const slopes = changed.map((image) => add(image, base, -1).map((value) => value / NUDGE));
    const products = gram(slopes);
    const size = products.reduce((sum, row, i) => sum + row[i], 0) / products.length;
    const pull = slopes.map((slope, i) => -dot(slope, residual) - PRIOR * from.latent[i]);
    const tried = DAMPING.map((damping) => {
      const damped = products.map((row, i) => row.map((value, j) => value + (i === j ? damping * size + PRIOR : 0)));
      return inside(generator, add(from.latent, solve(damped, pull)));
    });
    const images = await draw(tried, from.label);
    const cost = (image, latent) => squared(prepared(image), target) + PRIOR * dot(latent, latent);
    const found = tried.map((latent, i) => ({
      latent, label: from.label, levels: images[i], cost: cost(images[i], latent),
    }));
    return [{ ...from, cost: squared(base, target) + PRIOR * dot(from.latent, from.latent) }, ...found]
      .reduce((best, one) => (one.cost < best.cost ? one : best));
  };
  const found = await Promise.all(starts.slice(0, STARTS).map(step));
  let best = found.reduce((a, b) => (b.cost < a.cost ? b : a));
  for (let i = 1; i < STEPS; i++) best = await step(best);
  // As an address keeps it, so that a link brings back the very image.
  const latent = best.latent.map((value) => Math.round(value * 1000) / 1000);
  const [image] = await draw([latent], best.label);
  const ink = (choose) => image.reduce((sum, value, i) => sum + choose(value, levels[i] / 255), 0);
  const overlap = ink(Math.min) / ink(Math.max);
  return { latent, label: best.label, levels: image.map((value) => 255 * value), overlap, requests };
}

const share = (level) => level / 255;
const squared = (a, b) => {
  const difference = add(a, b, -1);
  return dot(difference, difference);
};

/** Shares of white, blurred by [1 2 2 1] / 6 each way and halved: 14x14 numbers. */
function prepared(levels) {
  return halve(halve(levels));
}

/** Each row blurred and halved, and the image turned: twice is both ways. */
function halve(image) {
  const rows = image.length / SIDE;
  const half = new Float64Array(image.length / 2);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < SIDE; x += 2) {
      const at = y * SIDE + x;
      const [left, right] = [x ? image[at - 1] : 0, x + 2 < SIDE ? image[at + 2] : 0];
      half[(x / 2) * rows + y] = (left + 2 * image[at] + 2 * image[at + 1] + right) / 6;
    }
  }
  return half;
}

/** A latent of normal numbers is hardly ever longer than this; a uniform one lies in its cube. */
function inside({ contract }, latent) {
  if (contract.latent_distribution === "uniform") return latent.map((value) => Math.min(1, Math.max(-1, value)));
  const [length, longest] = [Math.sqrt(dot(latent, latent)), 1.15 * Math.sqrt(latent.length)];
  return length > longest ? latent.map((value) => (value * longest) / length) : latent;
}
