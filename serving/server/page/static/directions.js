// Ways from one digit into the latent space: measured ones, and single numbers.

import { decodeLatent, encodeLatent, keep, keepControl, recall } from "./address.js";
import { add, apart, dot, regress } from "./algebra.js";
import { measure } from "./ink.js";
import { difference, picture } from "./pictures.js";
import {
  chosenClass, fillClasses, find, listen, make, numbers, requestPlace, seedOf, worker,
} from "./wiring.js";

const SHOWN = 8; // single numbers at once
const MEASURED = [
  { key: "slant", name: "Slant", unit: "°", low: "to the left", high: "to the right" },
  { key: "stroke", name: "Stroke", unit: " px", low: "thinner", high: "thicker" },
  { key: "width", name: "Width", unit: " px", low: "narrower", high: "wider" },
  { key: "height", name: "Height", unit: " px", low: "lower", high: "taller" },
];
const RIDGE = 20; // weight of the ridge: latents have a variance of 1, so it counts as 20 images
const FARTHEST = 3; // a slider's end, in standard deviations of a latent
const LEARNT = 0.3; // share of the variance from which on a direction is worth a slider

export function directionsSection(page) {
  const section = find("directions");
  const [select, seed] = [find("directions-class"), find("directions-seed")];
  const strongest = find("directions-strongest");
  const showRequest = requestPlace(section.querySelector(".request-place"));
  let own = null; // the latent to start from, where it is none of a seed
  let asked = recall("directions-latent"); // the same, as text, until its length is known
  let moves = movesOf(recall("directions-moves")); // of single numbers: index to value
  const amounts = Object.fromEntries(MEASURED.map(({ key }) => [key, within(recall(`directions-${key}`))]));
  let steps = []; // measured directions: {key, name, ..., step}
  let order = []; // of the single numbers
  let first = Math.max(0, Math.floor(Number(recall("directions-first")) || 0)); // of those shown, in that order

  keep("directions-latent", () => (own ? encodeLatent(own) : ""));
  keep("directions-moves", () => [...moves].map(([index, value]) => `${index + 1}:${value}`).join());
  keep("directions-first", () => (first ? String(first) : ""));
  for (const { key } of MEASURED) keep(`directions-${key}`, () => (amounts[key] ? String(amounts[key]) : ""));

  const uniform = (generator) => generator.contract.latent_distribution === "uniform";
  const range = (generator) => (uniform(generator) ? 1 : FARTHEST);
  /** The latent as the sliders have moved it, with other amounts or moves where given. */
  const latentAt = (generator, { amount = {}, move = [] } = {}) => {
    let latent = Array.from(own ?? generator.latent(seedOf(seed)));
    for (const [index, value] of [...moves, ...move]) if (index in latent) latent[index] = value;
    for (const { key, step } of steps) latent = add(latent, step, amount[key] ?? amounts[key]);
    return uniform(generator) ? latent.map((value) => Math.min(1, Math.max(-1, value))) : latent;
  };
  const shown = () => order.slice(first, first + SHOWN);

  const drawPicture = worker(section, page, async (generator) => {
    const label = chosenClass(select, generator);
    const { images, request } = await generator.decode([latentAt(generator)], label);
    const image = find("directions-picture");
    image.src = generator.address(images[0]);
    const from = own ? "your drawing" : `seed ${seed.value}`;
    image.alt = `${generator.title(label)}, ${from}, as the sliders have moved it`;
    const now = generator.hasInk && measure(generator.levels(images[0]));
    find("directions-measured").textContent = !generator.hasInk ? "" : now
      ? MEASURED.map(({ key, name, unit }) => `${name.toLowerCase()} ${now[key].toFixed(1)}${unit}`).join(", ")
      : "nothing is left on it";
    showRequest(request);
  });
  /** The pictures at both ends of each slider. */
  const drawEnds = worker(section, page, async (generator) => {
    const [label, end] = [chosenClass(select, generator), range(generator)];
    const latents = [
      ...steps.flatMap(({ key }) => [-end, end].map((amount) => latentAt(generator, { amount: { [key]: amount } }))),
      ...shown().flatMap((index) => [-end, end].map((value) => latentAt(generator, { move: [[index, value]] }))),
    ];
    if (!latents.length) return;
    const { images } = await generator.decode(latents, label);
    section.querySelectorAll(".direction img").forEach((image, i) => {
      if (i < images.length) image.src = generator.address(images[i]);
    });
    steps.forEach(({ key, unit }, i) => {
      const [low, high] = [2 * i, 2 * i + 1].map((at) => measure(generator.levels(images[at]))?.[key]);
      const says = (value) => (value === undefined ? "no ink" : `${value.toFixed(1)}${unit}`);
      find(`directions-${key}-says`).textContent = `${says(low)} to ${says(high)}`;
    });
  });
  /** Learns the measured directions of the class from a sample of it. */
  const learn = worker(section, page, async (generator) => {
    const label = chosenClass(select, generator);
    steps = await measuredDirections(generator, label);
    if (label !== chosenClass(select, generator)) return;
    buildMeasured(generator);
    drawPicture();
    drawEnds();
  });
  /** Orders the single numbers: by number, or by how much they change the picture. */
  const sort = worker(section, page, async (generator) => {
    order = numbers(0, generator.contract.latent_dim);
    if (strongest.checked) {
      const [label, end] = [chosenClass(select, generator), range(generator)];
      const change = [];
      for (let i = 0; i < order.length; i += 32) {
        const some = order.slice(i, i + 32);
        const latents = some.flatMap((index) => [-end, end].map((value) => latentAt(generator, { move: [[index, value]] })));
        const { images } = await generator.decode(latents, label);
        some.forEach((_, j) => change.push(difference(images[2 * j], images[2 * j + 1])));
      }
      order.sort((a, b) => change[b] - change[a]);
    }
    first = Math.min(first, Math.max(0, order.length - 1));
    buildSingle(generator);
    drawPicture();
    drawEnds();
  });

  /** A slider between the pictures of its ends. */
  function row(generator, name, value, says, moved) {
    const end = range(generator);
    const slider = make("input", { type: "range", min: -end, max: end, step: 0.05 });
    slider.value = value;
    slider.addEventListener("input", () => {
      moved(Number(slider.value));
      drawPicture();
    });
    slider.addEventListener("change", drawEnds);
    return make("label", { className: "direction" },
      make("span", {}, name), picture("data:,", ""), slider, picture("data:,", ""), ...says);
  }
  function buildMeasured(generator) {
    find("directions-measured-sliders").replaceChildren(...steps.map((one) => row(
      generator, one.name, amounts[one.key],
      [make("span", { className: "says" }, `${one.low} – ${one.high}, `,
        make("span", { id: `directions-${one.key}-says` }))],
      (value) => (amounts[one.key] = value),
    )));
    const missing = MEASURED.filter(({ key }) => !steps.some((one) => one.key === key)).map((one) => one.name.toLowerCase());
    find("directions-missing").textContent = missing.length && generator.hasInk
      ? `No straight direction that changes ${missing.join(" or ")} was found for this class.` : "";
  }
  function buildSingle(generator) {
    const latent = latentAt(generator);
    find("directions-sliders").replaceChildren(...shown().map((index) => row(
      generator, `z${index + 1}`, moves.get(index) ?? (own ?? generator.latent(seedOf(seed)))[index] ?? latent[index], [],
      (value) => moves.set(index, value),
    )));
    const last = Math.min(first + SHOWN, order.length);
    find("directions-shown").textContent = `${first + 1} to ${last} of ${order.length}`;
    find("directions-previous").disabled = first === 0;
    find("directions-next").disabled = last === order.length;
  }

  const restart = () => {
    if (!page.generator()) return;
    moves = new Map();
    for (const key of Object.keys(amounts)) amounts[key] = 0;
    find("directions-note").hidden = !own;
    learn();
    sort();
  };
  const turn = (by) => () => {
    first = Math.max(0, Math.min(first + by, order.length - 1));
    buildSingle(page.generator());
    drawEnds();
  };
  listen([seed], "input", () => ((own = null), restart()));
  listen([select], "input", restart);
  keepControl(strongest);
  strongest.addEventListener("change", () => ((first = 0), sort()));
  find("directions-back").addEventListener("click", restart);
  find("directions-previous").addEventListener("click", turn(-SHOWN));
  find("directions-next").addEventListener("click", turn(SHOWN));

  const show = (generator) => {
    section.hidden = !generator?.decodes;
    if (section.hidden) return;
    fillClasses(select, generator, 5);
    const length = generator.contract.latent_dim;
    if (asked) own = decodeLatent(asked, length);
    else if (own?.length !== length) own = null;
    asked = null;
    if (steps[0]?.step.length !== length) steps = [];
    find("directions-note").hidden = !own;
    find("directions-text").textContent = generator.hasInk
      ? "The first sliders follow what was measured: the page draws 256 images of the class, " +
        "measures their ink, and finds by regression in which direction of the latent space a " +
        "measurement changes while the others stay. The numbers beside a slider are measured on the " +
        "images at its two ends."
      : "Measured directions need 28x28 grey images.";
    find("directions-single-text").textContent =
      `Each moves one of the ${length} numbers of the latent and leaves the others. Nobody told the ` +
      "network what a number should mean: most change several things at once, some hardly any.";
    // Where a new version comes, the sliders stay as they are.
    learn();
    sort();
  };
  /** Takes {label, seed} or {label, latent} to start from. */
  const set = ({ label, seed: value, latent = null }) => {
    select.value = label;
    if (value !== undefined) seed.value = value;
    own = latent;
    restart();
  };
  return { show, set };
}

/** What one step of length 1 in the latent space changes, by regression on a sample. */
async function measuredDirections(generator, label) {
  if (!generator.seeded.length || !generator.hasInk) return [];
  const sample = (await generator.sample(label)).map(({ latent, levels }) => ({ latent, ink: measure(levels) }));
  const drawn = sample.filter(({ ink }) => ink);
  if (drawn.length < 50) return [];
  const targets = drawn.map(({ ink }) => MEASURED.map(({ key }) => ink[key]));
  const { rows, explained } = regress(drawn.map(({ latent }) => latent), targets, RIDGE);
  const learnt = MEASURED.map((_, k) => k).filter((k) => explained[k] >= LEARNT);
  if (!learnt.length) return [];
  return apart(learnt.map((k) => rows[k])).map((step, i) => {
    const length = Math.sqrt(dot(step, step));
    return { ...MEASURED[learnt[i]], step: step.map((value) => value / length) };
  });
}

function movesOf(text) {
  const pairs = (text ?? "").split(",").map((one) => one.split(":").map(Number));
  return new Map(pairs.filter(([n, value]) => n >= 1 && Number.isFinite(value)).map(([n, value]) => [n - 1, within(value)]));
}

/** A number of an address as a slider could have given it; 0 for what is none. */
function within(text) {
  return Math.min(FARTHEST, Math.max(-FARTHEST, Number(text) || 0));
}
