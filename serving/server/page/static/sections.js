// The four things to do with a generator. Each function wires one section and returns what shows it
// again, which is called whenever another version is chosen or pushed. What they get as `page` has
// `generator()`, the one in use (null for none), and `lost(error)`, for when it does not answer.

import { ServerError, predict } from "./api.js";
import { classOf, interpolate, latentOf } from "./latents.js";
import { difference, fromFloats, fromPng, picture, sheet } from "./pictures.js";

const ANY = -1; // "any class, chosen from the seed", of the signatures that take seeds
const DIRECTIONS = 8; // shown at once
const STRIP = 9;

const find = (id) => document.getElementById(id);

/** A version that can draw, from its contract (common/contract.py) and its signatures. */
export class Generator {
  constructor(path, contract, signatures) {
    this.path = path;
    this.contract = contract;
    const takes = (name, ...inputs) => inputs.every((input) => signatures[name]?.inputs[input]);
    /** The signatures that draw from seeds. */
    this.seeded = ["generate_png", "generate"].filter((name) => takes(name, "seed", "label"));
    /** Whether it draws from latents too. */
    this.decodes = takes("serving_default", "latent", "label");
    this.conditional = contract.conditional;
    this.classes = this.conditional ? contract.classes_present : [];
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

  /** The picture of floats, as an address. */
  address(image) {
    return fromFloats(image, this.contract.value_range);
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

/**
 * A function that runs `work`, one at a time: what is asked for meanwhile is done once, afterwards.
 * So a slider can be dragged faster than the server draws. Errors go to the section's own line, or
 * to `lost` where there was no answer or no such version.
 */
function worker(section, page, work) {
  const problem = section.querySelector(".problem");
  let running = false;
  let again = false;
  return async function run() {
    again = true;
    if (running) return;
    running = true;
    busy(section, 1);
    while (again && page.generator()) {
      again = false;
      try {
        await work(page.generator());
        problem.hidden = true;
      } catch (error) {
        if (error.status === 0 || error.status === 404) page.lost(error);
        else [problem.textContent, problem.hidden] = [`Not drawn: ${error.message}`, false];
        if (!(error instanceof ServerError)) console.error(error);
      }
    }
    running = false;
    busy(section, -1);
  };
}

const working = new Map(); // how many workers of a section are at it
function busy(section, change) {
  working.set(section, (working.get(section) ?? 0) + change);
  section.setAttribute("aria-busy", working.get(section) > 0);
}

/** A place for requests; returns the function that shows one. */
export function requestPlace(place, { open = false } = {}) {
  place.append(find("request-template").content.cloneNode(true));
  const [code, button] = [place.querySelector("code"), place.querySelector("button")];
  place.querySelector("details").open = open;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(code)) ? "Copied" : "Select it and copy it by hand";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return ({ command, answer }) => {
    code.textContent = command;
    place.querySelector(".answer").textContent = answer ? `(answered with ${answer})` : "";
  };
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch { // a page that came over plain HTTP from another machine has no clipboard
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

function listen(elements, event, then) {
  for (const element of elements) {
    element.addEventListener(event, () => (element.form ?? element).checkValidity() && then());
  }
}

function fillClasses(select, generator, preferred) {
  const chosen = select.options.length ? Number(select.value) : preferred;
  const options = generator.classes.map((label) => new Option(generator.title(label), label));
  select.replaceChildren(...options);
  select.closest(".classes").hidden = !generator.conditional;
  if (generator.classes.includes(chosen)) select.value = chosen;
}

/** The label that a class switch stands on. */
function chosenClass(select, generator) {
  return generator.conditional ? Number(select.value) : ANY;
}

const seedOf = (input) => Math.floor(Number(input.value));
const otherSeed = () => Math.floor(Math.random() * 1_000_000);
const numbers = (from, count) => Array.from({ length: count }, (_, i) => from + i);

function save(link, address, name) {
  [link.href, link.download] = [address, name];
}

/** Pictures of chosen classes and seeds. */
export function drawSection(page, { onStart, onEnd, onWalk }) {
  const section = find("draw");
  const [seed, count, signature] = [find("draw-seed"), find("draw-count"), find("draw-signature")];
  const chips = section.querySelector(".chips");
  const showRequest = requestPlace(find("draw-request"), { open: true });
  const showPickedRequest = requestPlace(find("picked").querySelector(".request-place"));
  let picked = null;

  const draw = worker(section, page, async (generator) => {
    const chosen = [...chips.querySelectorAll("input:checked")].map((box) => Number(box.value));
    const labels = generator.conditional ? chosen : [ANY];
    const seeds = numbers(seedOf(seed), Number(count.value));
    if (!labels.length) {
      find("drawn").replaceChildren("Choose a class.");
      return pick(generator, null);
    }
    const pairs = labels.flatMap((label) => seeds.map((one) => ({ label, seed: one })));
    const { addresses, request } = await generator.draw(
      signature.value, pairs.map((pair) => pair.seed), pairs.map((pair) => pair.label),
    );
    showRequest(request);
    const tiles = pairs.map((pair, i) => tile(generator, pair, addresses[i]));
    find("drawn").replaceChildren(
      ...labels.map((label, i) => {
        const row = document.createElement("div");
        row.className = "tiles";
        const some = tiles.slice(i * seeds.length, (i + 1) * seeds.length);
        if (generator.conditional) {
          row.append(Object.assign(document.createElement("h3"), { textContent: generator.title(label) }));
        }
        row.append(...some);
        return row;
      }),
    );
    const same = pairs.findIndex((p) => picked && p.seed === picked.seed && p.label === picked.label);
    const index = Math.max(0, same);
    tiles[index].querySelector("input").checked = true;
    pick(generator, pairs[index]);
  });

  function tile(generator, pair, address) {
    const label = document.createElement("label");
    label.className = "tile";
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "tile" });
    radio.addEventListener("change", () => pick(generator, pair));
    label.append(radio, picture(address, `${generator.title(pair.label)}, seed ${pair.seed}`));
    return label;
  }

  /** Shows one picture by itself, by a request of its own. */
  const pick = (generator, pair) => {
    picked = pair;
    find("picked").hidden = !pair;
    if (pair) drawPicked();
  };
  const drawPicked = worker(section, page, async (generator) => {
    if (!picked) return;
    const { label, seed: one } = picked;
    const { addresses, request } = await generator.draw(signature.value, [one], [label]);
    const drawn = generator.label(one, label);
    const title = `${generator.title(drawn)}, seed ${one}`;
    const image = find("picked").querySelector("img");
    [image.src, image.alt] = [addresses[0], title];
    find("picked").querySelector("figcaption").textContent = title;
    save(find("picked-save"), addresses[0], `seed-${one}${drawn === ANY ? "" : `-class-${drawn}`}.png`);
    if (signature.value === "generate_png") {
      request.command +=
        ` \\\n  | grep -o '"b64": *"[^"]*"' | cut -d'"' -f4 | base64 -d > seed-${one}.png`;
    }
    showPickedRequest(request);
  });
  function fillChips(generator) {
    const labels = [...generator.classes, ANY];
    const titles = labels.map((label) => generator.title(label));
    // Left alone where they are right: a version that is pushed must not take the focus away.
    const wanted = JSON.stringify([labels, titles]);
    if (chips.dataset.holds === wanted) return;
    chips.dataset.holds = wanted;
    chips.replaceChildren(
      ...labels.map((label, i) => {
        const chip = document.createElement("label");
        const box = Object.assign(document.createElement("input"), { type: "checkbox", value: label });
        box.checked = i === Math.min(7, labels.length - 2);
        chip.append(box, titles[i]);
        return chip;
      }),
    );
    listen(chips.querySelectorAll("input"), "change", draw);
  }
  const there = (then) => () => {
    const generator = page.generator();
    then(generator.label(picked.seed, picked.label), picked.seed);
  };
  find("picked-from").addEventListener("click", there(onStart));
  find("picked-to").addEventListener("click", there(onEnd));
  find("picked-directions").addEventListener("click", there(onWalk));

  listen([seed, count, signature], "input", draw);
  find("draw-other").addEventListener("click", () => ((seed.value = otherSeed()), draw()));

  return (generator) => {
    section.hidden = !generator?.seeded.length;
    if (section.hidden) return;
    for (const id of ["picked-from", "picked-to", "picked-directions"]) {
      find(id).hidden = !generator.decodes;
    }
    fillChips(generator);
    find("draw-classes").hidden = !generator.conditional;
    const asked = signature.value;
    signature.replaceChildren(...generator.seeded.map((name) => new Option(name)));
    if (generator.seeded.includes(asked)) signature.value = asked;
    draw();
  };
}

/** Along the latent space from one digit to another. */
export function betweenSection(page) {
  const section = find("between");
  const [from, to] = ["from", "to"].map((end) => [find(`${end}-class`), find(`${end}-seed`)]);
  const way = find("way");
  const showRequest = requestPlace(section.querySelector(".request-place"));

  const ends = (generator) =>
    [from, to].map(([select, seed]) => ({
      latent: generator.latent(seedOf(seed)),
      label: chosenClass(select, generator),
    }));
  /** Latent and label at a share of the way: the class switches halfway. */
  const at = (generator, share) => {
    const [start, end] = ends(generator);
    const distribution = generator.contract.latent_distribution;
    return {
      latent: interpolate(start.latent, end.latent, share, distribution),
      label: share < 0.5 ? start.label : end.label,
    };
  };
  const describe = (generator, share, label) =>
    `${Math.round(share * 100)} % of the way: ${generator.title(label)}`;

  const drawPicture = worker(section, page, async (generator) => {
    const share = Number(way.value) / 100;
    const { latent, label } = at(generator, share);
    const { images, request } = await generator.decode([latent], label);
    const image = find("between-picture");
    [image.src, image.alt] = [generator.address(images[0]), describe(generator, share, label)];
    way.setAttribute("aria-valuetext", image.alt);
    showRequest(request);
  });
  const drawStrip = worker(section, page, async (generator) => {
    const shares = numbers(0, STRIP).map((i) => i / (STRIP - 1));
    const points = shares.map((share) => at(generator, share));
    const { images } = await generator.decode(
      points.map((point) => point.latent), points.map((point) => point.label),
    );
    find("between-strip").replaceChildren(
      ...images.map((image, i) =>
        picture(generator.address(image), describe(generator, shares[i], points[i].label))),
    );
  });
  const drawAll = () => (drawPicture(), drawStrip());

  listen([way], "input", drawPicture);
  listen([...from, ...to], "input", drawAll);
  find("between-other").addEventListener("click", () => {
    [from[1].value, to[1].value] = [otherSeed(), otherSeed()];
    drawAll();
  });

  const show = (generator) => {
    section.hidden = !generator?.decodes;
    if (section.hidden) return;
    fillClasses(from[0], generator, 3);
    fillClasses(to[0], generator, 8);
    const { latent_dim: length, latent_distribution: distribution } = generator.contract;
    find("between-text").textContent =
      `The network draws from a latent: ${length} numbers, ` +
      (distribution === "uniform"
        ? "each between -1 and 1. The way between two of them is straight"
        : "each from a normal distribution. The way between two of them bends around the middle, " +
          "where hardly any latent lies (spherical interpolation)") +
      (generator.conditional
        ? "; the class switches halfway, since between two classes there is nothing. Set both " +
          "classes alike to see a digit change its hand."
        : ".");
    drawAll();
  };
  const setEnd = ([select, seed]) => (label, value) => {
    [select.value, seed.value] = [label, value];
    drawAll();
    section.scrollIntoView();
  };
  return { show, start: setEnd(from), end: setEnd(to) };
}

/** One number of a latent at a time. */
export function directionsSection(page) {
  const section = find("directions");
  const [select, seed] = [find("directions-class"), find("directions-seed")];
  const strongest = find("directions-strongest");
  const showRequest = requestPlace(section.querySelector(".request-place"));
  let latent = []; // as the sliders have moved it
  let order = []; // of the directions
  let first = 0; // of those shown, in that order

  const range = (generator) => (generator.contract.latent_distribution === "uniform" ? 1 : 3);
  const shown = () => order.slice(first, first + DIRECTIONS);
  const moved = (index, value) => latent.map((old, i) => (i === index ? value : old));

  const drawPicture = worker(section, page, async (generator) => {
    const label = chosenClass(select, generator);
    const { images, request } = await generator.decode([latent], label);
    const image = find("directions-picture");
    image.src = generator.address(images[0]);
    image.alt = `${generator.title(label)}, seed ${seed.value}, as the sliders have moved it`;
    showRequest(request);
  });
  /** The pictures at both ends of each slider. */
  const drawEnds = worker(section, page, async (generator) => {
    const [label, end, indices] = [chosenClass(select, generator), range(generator), shown()];
    const latents = indices.flatMap((index) => [moved(index, -end), moved(index, end)]);
    const { images } = await generator.decode(latents, label);
    section.querySelectorAll("#directions-sliders img").forEach((image, i) => {
      if (i < images.length) image.src = generator.address(images[i]);
    });
  });
  /** Orders the directions: by number, or by how much they change the picture of the seed. */
  const sort = worker(section, page, async (generator) => {
    order = numbers(0, generator.contract.latent_dim);
    if (strongest.checked) {
      const [label, end] = [chosenClass(select, generator), range(generator)];
      const change = [];
      for (let i = 0; i < order.length; i += 32) {
        const some = order.slice(i, i + 32);
        const latents = some.flatMap((index) => [moved(index, -end), moved(index, end)]);
        const { images } = await generator.decode(latents, label);
        some.forEach((_, j) => change.push(difference(images[2 * j], images[2 * j + 1])));
      }
      order.sort((a, b) => change[b] - change[a]);
    }
    buildSliders(generator);
    drawPicture();
    drawEnds();
  });

  function buildSliders(generator) {
    const end = range(generator);
    find("directions-sliders").replaceChildren(
      ...shown().map((index) => {
        const row = document.createElement("label");
        row.className = "direction";
        const slider = Object.assign(document.createElement("input"), {
          type: "range", min: -end, max: end, step: 0.05, value: latent[index],
        });
        slider.addEventListener("input", () => {
          latent = moved(index, Number(slider.value));
          drawPicture();
        });
        slider.addEventListener("change", drawEnds);
        const name = Object.assign(document.createElement("span"), { textContent: `z${index + 1}` });
        row.append(name, picture("data:,", ""), slider, picture("data:,", ""));
        return row;
      }),
    );
    const last = Math.min(first + DIRECTIONS, order.length);
    find("directions-shown").textContent = `${first + 1} to ${last} of ${order.length}`;
    find("directions-previous").disabled = first === 0;
    find("directions-next").disabled = last === order.length;
  }

  const restart = () => {
    const generator = page.generator();
    if (!generator) return;
    latent = generator.latent(seedOf(seed));
    first = Math.min(first, Math.max(0, latent.length - DIRECTIONS));
    sort();
  };
  const turn = (by) => () => {
    first = Math.max(0, Math.min(first + by, order.length - 1));
    buildSliders(page.generator());
    drawEnds();
  };
  listen([seed, select], "input", restart);
  strongest.addEventListener("change", () => ((first = 0), sort()));
  find("directions-back").addEventListener("click", restart);
  find("directions-previous").addEventListener("click", turn(-DIRECTIONS));
  find("directions-next").addEventListener("click", turn(DIRECTIONS));

  const show = (generator) => {
    section.hidden = !generator?.decodes;
    if (section.hidden) return;
    fillClasses(select, generator, 5);
    find("directions-text").textContent =
      `A slider moves one of the ${generator.contract.latent_dim} numbers of the latent and leaves ` +
      "the others; beside it are the images at its two ends. Nobody told the network what a " +
      "number should mean: most change several things at once, some hardly any.";
    // Where a new version comes, the sliders stay as they are.
    if (latent.length === generator.contract.latent_dim) sort();
    else restart();
  };
  const walk = (label, value) => {
    [select.value, seed.value] = [label, value];
    restart();
    section.scrollIntoView();
  };
  return { show, walk };
}

/** Ten of each class on one picture, as `mnist-gan generate` draws it. */
export function sheetSection(page) {
  const section = find("sheet");
  const seed = find("sheet-seed");
  const canvas = find("sheet-picture");
  const showRequest = requestPlace(section.querySelector(".request-place"));

  const draw = worker(section, page, async (generator) => {
    const rows = generator.conditional ? generator.classes : Array(10).fill(ANY);
    const labels = rows.flatMap((label) => Array(10).fill(label));
    const seeds = numbers(seedOf(seed), labels.length);
    const { addresses, request } = await generator.draw(generator.seeded[0], seeds, labels);
    await sheet(canvas, addresses, 10, 2, 4);
    canvas.setAttribute("aria-label", `${title(generator)}, seeds ${seeds[0]} to ${seeds.at(-1)}`);
    save(find("sheet-save"), canvas.toDataURL(), `sheet-seed-${seeds[0]}.png`);
    showRequest(request);
  });
  const title = (generator) => (generator.conditional ? "Ten of each class" : "A hundred images");
  listen([seed], "input", draw);
  find("sheet-other").addEventListener("click", () => ((seed.value = otherSeed()), draw()));

  return (generator) => {
    section.hidden = !generator?.seeded.length;
    if (section.hidden) return;
    find("sheet-title").textContent = title(generator);
    draw();
  };
}
