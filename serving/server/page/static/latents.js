// The latents that an exported generator draws from its seeds, and ways between them.
//
// The signatures `generate` and `generate_png` turn a seed into a latent inside the graph
// (trainer/export.py): tf.random.stateless_normal or stateless_uniform with alg="philox". The same
// arithmetic stands here, so that what the page sends to `serving_default` is what the seed means
// everywhere else.

const LATENT_STREAM = 0;
const LABEL_STREAM = 1;

/** High and low 32 bits of the product of two 32-bit numbers. */
function multiply(a, b) {
  const product = BigInt(a) * BigInt(b);
  return [Number(product >> 32n), Number(product & 0xffffffffn)];
}

/** One block of Philox 4x32-10 (Salmon et al. 2011, section 3): four 32-bit numbers. */
export function philox([k0, k1], [c0, c1, c2, c3]) {
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(0xd2511f53, c0);
    const [high1, low1] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** `count` random 32-bit numbers of TensorFlow's stateless stream with the seed [seed, stream]. */
function randomBits(seed, stream, count) {
  // TensorFlow scrambles a seed into key and counter (stateless_random_ops.cc, GenerateKey).
  const words = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, stream, 0];
  const [k0, k1, c2, c3] = philox([0x3ec8f720, 0x02461e29], words);
  const bits = [];
  for (let block = 0; bits.length < count; block++) {
    bits.push(...philox([k0, k1], [block, 0, c2, c3]));
  }
  return bits;
}

/** 23 random bits as a number in [0, 1). */
const fraction = (bits) => (bits & 0x7fffff) / 2 ** 23;

/** The latent of a seed (a whole number from 0 to 2^53 - 1): `length` numbers. */
export function latentOf(seed, length, distribution) {
  const bits = randomBits(seed, LATENT_STREAM, length);
  if (distribution === "uniform") {
    return bits.slice(0, length).map((word) => 2 * fraction(word) - 1);
  }
  const latent = [];
  for (let i = 0; i < length; i += 2) { // Box and Muller, as random_distributions.h has it
    const radius = Math.sqrt(-2 * Math.log(Math.max(fraction(bits[i]), 1e-7)));
    const angle = 2 * Math.PI * fraction(bits[i + 1]);
    latent.push(radius * Math.sin(angle), radius * Math.cos(angle));
  }
  return latent.slice(0, length);
}

/** The class that belongs to a seed where the label is -1. */
export function classOf(seed, classesPresent) {
  return classesPresent[randomBits(seed, LABEL_STREAM, 1)[0] % classesPresent.length];
}

/**
 * The latent that lies at `share` (0 to 1) of the way from `from` to `to`.
 *
 * Normal latents of length Z lie near a shell of radius sqrt(Z), and the straight way between two
 * of them leaves it for places that training never saw; so the way bends around (White 2016,
 * section 2.1). Uniform latents fill a cube, in which the straight way stays.
 */
export function interpolate(from, to, share, distribution) {
  let weights = [1 - share, share];
  if (distribution !== "uniform") {
    const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    const cosine = dot(from, to) / Math.sqrt(dot(from, from) * dot(to, to));
    const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
    if (Math.sin(angle) > 1e-6) {
      weights = weights.map((weight) => Math.sin(weight * angle) / Math.sin(angle));
    }
  }
  return from.map((value, i) => weights[0] * value + weights[1] * to[i]);
}
