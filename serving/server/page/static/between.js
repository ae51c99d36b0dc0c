// Along the latent space from one digit to another.

import { decodeLatent, encodeLatent, keep, recall } from "./address.js";
import { gif } from "./gif.js";
import { interpolate } from "./latents.js";
import { enlarge, picture } from "./pictures.js";
import {
  chosenClass, fillClasses, find, listen, make, numbers, otherSeed, requestPlace, saver, seedOf, worker,
} from "./wiring.js";

const STRIP = 9; // pictures on the way
const FRAMES = 21; // of the GIF, one way
const SCALE = 6;

/** One end of the walk: a class and a seed, or a latent that was found for a drawing. */
class End {
  constructor(name, preferred) {
    this.name = name;
    this.preferred = preferred;
    [this.select, this.seed, this.note] = ["class", "seed", "note"].map((part) => find(`${name}-${part}`));
    this.latent = null;
    this.asked = recall(`${name}-latent`);
    keep(`${name}-latent`, () => (this.latent ? encodeLatent(this.latent) : ""));
  }

  fill(generator) {
    fillClasses(this.select, generator, this.preferred);
    const length = generator.contract.latent_dim;
    this.set(this.asked ? decodeLatent(this.asked, length) : this.latent?.length === length ? this.latent : null);
    this.asked = null;
  }

  set(latent) {
    this.latent = latent;
    this.note.hidden = !latent;
  }

  point(generator) {
    return {
      latent: this.latent ?? generator.latent(seedOf(this.seed)),
      label: chosenClass(this.select, generator),
    };
  }
}

export function betweenSection(page) {
  const section = find("between");
  const ends = { from: new End("from", 3), to: new End("to", 8) };
  const way = find("way");
  const showRequest = requestPlace(section.querySelector(".request-place"));

  /** The classes that the walk is drawn in: each stays the same all the way. */
  const classes = (generator) =>
    [...new Set(Object.values(ends).map((end) => end.point(generator).label))];
  const at = (generator, share) => {
    const [from, to] = Object.values(ends).map((end) => end.point(generator).latent);
    return interpolate(from, to, share, generator.contract.latent_distribution);
  };
  const describe = (generator, share, label) =>
    `${Math.round(share * 100)} % of the way: ${generator.title(label)}`;
  /** The pictures at these shares of the way, an array for each class. */
  const drawAt = async (generator, shares) => {
    const labels = classes(generator);
    const latents = shares.map((share) => at(generator, share));
    const { images, request } = await generator.decode(
      labels.flatMap(() => latents), labels.flatMap((label) => latents.map(() => label)),
    );
    const rows = labels.map((label, i) => ({ label, images: images.slice(i * shares.length, (i + 1) * shares.length) }));
    return { rows, request };
  };

  const drawPicture = worker(section, page, async (generator) => {
    const share = Number(way.value) / 100;
    const { rows, request } = await drawAt(generator, [share]);
    find("between-pictures").replaceChildren(
      ...rows.map(({ label, images }) => {
        const text = generator.conditional ? `as ${generator.title(label)}` : "";
        const image = picture(generator.address(images[0]), describe(generator, share, label));
        return make("figure", {}, image, make("figcaption", {}, text));
      }),
    );
    way.setAttribute("aria-valuetext", rows.map(({ label }) => describe(generator, share, label)).join(", "));
    showRequest(request);
  });
  const drawStrip = worker(section, page, async (generator) => {
    const shares = numbers(0, STRIP).map((i) => i / (STRIP - 1));
    const { rows } = await drawAt(generator, shares);
    find("between-strips").replaceChildren(
      ...rows.map(({ label, images }) => make("div", { className: "strip" }, ...images.map(
        (image, i) => picture(generator.address(image), describe(generator, shares[i], label)),
      ))),
    );
  });
  const drawAll = () => (drawPicture(), drawStrip());

  listen([way], "input", drawPicture);
  for (const end of Object.values(ends)) {
    listen([end.select], "input", drawAll);
    listen([end.seed], "input", () => (end.set(null), drawAll()));
  }
  find("between-other").addEventListener("click", () => {
    for (const end of Object.values(ends)) {
      end.set(null);
      end.seed.value = otherSeed();
    }
    drawAll();
  });
  saver(find("between-gif"), async () => {
    const generator = page.generator();
    const shares = numbers(0, FRAMES).map((i) => i / (FRAMES - 1));
    const { rows } = await drawAt(generator, shares);
    // There, and back in the other class where the ends have two.
    const order = [...rows[0].images, ...rows.at(-1).images.toReversed()];
    const frames = order.map((image) => enlarge(generator.indices(image), generator.side, SCALE));
    const side = generator.side * SCALE;
    return { content: gif(frames, side, side, 8, generator.palette), type: "image/gif", name: "walk.gif" };
  });

  const show = (generator) => {
    section.hidden = !generator?.decodes;
    if (section.hidden) return;
    for (const end of Object.values(ends)) end.fill(generator);
    const { latent_dim: length, latent_distribution: distribution } = generator.contract;
    find("between-text").textContent =
      `The network draws from a latent: ${length} numbers, ` +
      (distribution === "uniform"
        ? "each between -1 and 1. The way between two of them is straight"
        : "each from a normal distribution. The way between two of them bends around the middle, " +
          "where hardly any latent lies (spherical interpolation)") +
      (generator.conditional
        ? ". A class is a choice and no place on the way, so each row stays in one class and only " +
          "the hand changes: above in the class of the start, below in that of the end."
        : ".");
    drawAll();
  };
  /** Takes {label, seed} or {label, latent} as one end: "from" or "to". */
  const set = (name, { label, seed, latent = null }) => {
    const end = ends[name];
    end.select.value = label;
    if (seed !== undefined) end.seed.value = seed;
    end.set(latent);
    drawAll();
  };
  return { show, set };
}
