// A version that can draw, from its contract (common/contract.py) and its signatures.

import { predict } from "./api.js";
import { COLOURS, GREYS } from "./gif.js";
import { SIDE } from "./ink.js";
import { classOf, latentOf } from "./latents.js";
import { fromFloats, fromPng, levelsOf } from "./pictures.js";

/** "Any class, chosen from the seed", of the signatures that take seeds. */
export const ANY = -1;
const SAMPLE = 256; // images that the page learns from

export class Generator {
  constructor(path, contract, signatures) {
    this.path = path;
    this.contract = contract;
    const [height, , channels] = contract.image_shape;
    /** Pixels across. */
    this.side = height;
    this.isColour = channels > 1;
    /** Whether the page can measure the ink of its images. */
    this.hasInk = this.side === SIDE && !this.isColour;
    const takes = (name, ...inputs) => inputs.every((input) => signatures[name]?.inputs[input]);
    /** The signatures that draw from seeds. */
    this.seeded = ["generate_png", "generate"].filter((name) => takes(name, "seed", "label"));
    /** Whether it draws from latents too. */
    this.decodes = takes("serving_default", "latent", "label");
    /** Whether it kept its discriminator. */
    this.judges = takes("discriminate", "image", "label");
    this.conditional = contract.conditional;
    this.classes = this.conditional ? contract.classes_present : [];
    this.samples = new Map();
  }

  /** A class for people: "7", "dress", "any class". */
  title(label) {
    if (!this.conditional) return "image";
    if (label === ANY) return "any class";
    return this.contract.class_names[label] ?? `class ${label}`;
  }

  /** Draws from seeds and labels; addresses of the pictures, and the request. */
  async draw(signature, seeds, labels) {
    const answer = await predict(this.path, signature, { seed: seeds, label: labels });
    const address = (output) =>
      signature === "generate" ? fromFloats(output, this.contract.value_range) : fromPng(output);
    return { addresses: answer.outputs.map(address), request: answer.request };
  }

  /** Draws from latents, all of one class or of a class each; floats, and the request. */
  async decode(latents, labels) {
    // The request is shown to people, and pictures do not change by the fifth decimal.
    const latent = latents.map((one) => one.map((value) => Number(value.toFixed(4))));
    const label = latents.map((_, i) => (Array.isArray(labels) ? labels[i] : labels));
    const answer = await predict(this.path, "serving_default", { latent, label });
    return { images: answer.outputs, request: answer.request };
  }

  /** How real the discriminator finds images, given as grey levels row by row: a logit each. */
  async realness(images, labels) {
    const [lowest, highest] = this.contract.value_range;
    const [, width] = this.contract.image_shape;
    const pixel = (level) => [Number((lowest + (level / 255) * (highest - lowest)).toFixed(4))];
    const image = images.map((levels) => Array.from({ length: levels.length / width }, (_, row) =>
      Array.from(levels.slice(row * width, (row + 1) * width), pixel)));
    return (await predict(this.path, "discriminate", { image, label: labels })).outputs;
  }

  /**
   * What the page learns from: [{seed, label, latent, levels}], of one class, or of every class in
   * turn (`label` is ANY). Drawn once, as PNG: 0.2 MB instead of 5.
   */
  sample(label) {
    if (!this.samples.has(label)) {
      const drawn = this.#drawSample(label);
      drawn.catch(() => this.samples.delete(label));
      this.samples.set(label, drawn);
    }
    return this.samples.get(label);
  }

  async #drawSample(label) {
    const seeds = Array.from({ length: SAMPLE }, (_, i) => i);
    const every = this.conditional && label === ANY;
    const labels = seeds.map((i) => (every ? this.classes[i % this.classes.length] : label));
    const { addresses } = await this.draw(this.seeded[0], seeds, labels);
    const levels = await Promise.all(addresses.map(levelsOf));
    return seeds.map((seed, i) => ({ seed, label: labels[i], latent: this.latent(seed), levels: levels[i] }));
  }

  /** The picture of floats, as an address. */
  address(image) {
    return fromFloats(image, this.contract.value_range);
  }

  /** The colours of a GIF. */
  get palette() {
    return this.isColour ? COLOURS : GREYS;
  }

  /** Floats as places in the palette, row by row. */
  indices(image) {
    const step = this.isColour ? 51 : 1;
    const levels = this.levels(image).map((level) => Math.round(Math.min(255, Math.max(0, level)) / step));
    if (!this.isColour) return levels;
    return Array.from({ length: levels.length / 3 }, (_, i) => 36 * levels[3 * i] + 6 * levels[3 * i + 1] + levels[3 * i + 2]);
  }

  /** Levels 0..255 of floats, row by row and channel by channel. */
  levels(image) {
    const [lowest, highest] = this.contract.value_range;
    return image.flat(2).map((value) => ((value - lowest) / (highest - lowest)) * 255);
  }

  latent(seed) {
    return latentOf(seed, this.contract.latent_dim, this.contract.latent_distribution);
  }

  /** The class that a seed gets where `label` was asked for; -1 where nobody knows. */
  label(seed, label) {
    const chooses = label === ANY && this.conditional;
    return chooses ? classOf(seed, this.contract.classes_present) : label;
  }
}
