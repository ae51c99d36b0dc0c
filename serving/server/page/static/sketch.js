// Draw a digit by hand; the page finds the latent whose image is nearest.

import { changed, keep, lookAt, recall } from "./address.js";
import { ANY } from "./generator.js";
import { SIDE } from "./ink.js";
import { nearest } from "./nearest.js";
import { fromLevels, levelsIn } from "./pictures.js";
import { busy, find, listen, make, sayWhere, worker } from "./wiring.js";

const GRID = 64; // places across and down, one character each in the address
const CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BOX = 20; // MNIST's digits fill so many pixels, and their ink is centred
const STROKE = 2.6; // pixels of 28, about MNIST's
const PAUSE = 350; // milliseconds after a stroke, in which the next one may begin

export function sketchSection(page, { toBetween, toChange }) {
  const section = find("sketch");
  const canvas = find("sketch-canvas");
  const select = find("sketch-class");
  let strokes = strokesOf(recall("sketch")); // each a list of [x, y], 0 to GRID - 1
  let pen = { x: GRID / 2, y: GRID / 2, down: false }; // of the keyboard
  let found = null;
  let timer = null; // of the pause after a stroke
  let drawing = null; // the pointer's stroke

  keep("sketch", () => strokes.map((one) => one.flat().map((n) => CHARACTERS[n]).join("")).join("."));

  function paint() {
    const context = canvas.getContext("2d");
    const scale = canvas.width / GRID;
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    trace(context, strokes, ([x, y]) => [(x + 0.5) * scale, (y + 0.5) * scale], canvas.width * (STROKE / SIDE));
    if (document.activeElement === canvas) {
      context.strokeStyle = pen.down ? "orange" : "deepskyblue";
      context.lineWidth = 3;
      context.strokeRect((pen.x + 0.5) * scale - 8, (pen.y + 0.5) * scale - 8, 16, 16);
    }
  }

  const search = worker(section, page, async (generator) => {
    find("sketch-result").hidden = !strokes.length;
    if (!strokes.length) return;
    find("sketch-said").textContent = "";
    const levels = normalised(strokes);
    const label = generator.conditional ? Number(select.value) : ANY;
    await generator.sample(label); // once, and not part of what a drawing takes
    const began = performance.now();
    found = await nearest(generator, levels, label);
    const seconds = (performance.now() - began) / 1000;
    Object.assign(find("sketch-own"), { src: fromLevels(levels), alt: "Your drawing, centred as MNIST's digits are" });
    const title = generator.title(found.label);
    Object.assign(find("sketch-found"), { src: fromLevels(found.levels), alt: `The nearest image: ${title}` });
    find("sketch-caption").textContent = generator.conditional ? `nearest, as ${title}` : "nearest";
    find("sketch-words").textContent =
      `${closeness(found.overlap)}: ${Math.round(found.overlap * 100)} % of the ink of both lies in the same ` +
      `places. Found in ${seconds.toFixed(2)} s by ${found.requests} requests.`;
  });
  const soon = () => {
    changed();
    if (!timer) busy(section, 1);
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = null;
      if (!drawing) search();
      busy(section, -1);
    }, PAUSE);
  };

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const on = (share) => Math.min(GRID - 1, Math.max(0, Math.floor(share * GRID)));
    return [on((event.clientX - box.left) / box.width), on((event.clientY - box.top) / box.height)];
  };
  const extend = (stroke, point) => {
    const last = stroke.at(-1);
    if (last && Math.hypot(last[0] - point[0], last[1] - point[1]) < 1.5) return;
    stroke.push(point);
    paint();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    lookAt(section.id);
    drawing = [place(event)];
    strokes.push(drawing);
    paint();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    // A browser hands on a fast hand's points in bundles.
    for (const one of event.getCoalescedEvents?.() ?? [event]) extend(drawing, place(one));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (drawing) soon();
      drawing = null;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-3, 0], ArrowRight: [3, 0], ArrowUp: [0, -3], ArrowDown: [0, 3] }[event.key] ?? [0, 0];
    if (event.key === " ") pen.down = !pen.down;
    else if (!dx && !dy) return;
    event.preventDefault();
    const on = (value) => Math.min(GRID - 1, Math.max(0, value));
    pen = { ...pen, x: on(pen.x + dx), y: on(pen.y + dy) };
    if (event.key === " " && pen.down) strokes.push([[pen.x, pen.y]]);
    else if (pen.down) strokes.at(-1).push([pen.x, pen.y]);
    lookAt(section.id);
    find("sketch-pen").textContent = `The pen is ${pen.down ? "down" : "up"}.`;
    paint();
    if (!pen.down && event.key === " ") soon();
  });
  for (const event of ["focus", "blur"]) canvas.addEventListener(event, paint);
  find("sketch-clear").addEventListener("click", () => {
    [strokes, found] = [[], null];
    pen = { ...pen, down: false };
    find("sketch-pen").textContent = "";
    paint();
    search();
  });
  listen([select], "input", search);

  const point = () => ({ label: found.label, latent: found.latent });
  const hand = (id, then, text, where) => find(id).addEventListener("click", () => {
    if (!found) return;
    then(point());
    sayWhere(find("sketch-said"), text, where);
  });
  hand("sketch-from", (one) => toBetween("from", one), "It is now the start of the walk in", "between");
  hand("sketch-to", (one) => toBetween("to", one), "It is now the end of the walk in", "between");
  hand("sketch-directions", toChange, "It is now what the sliders change in", "directions");

  return (generator) => {
    section.hidden = !(generator?.decodes && generator.seeded.length && generator.hasInk);
    if (section.hidden) return;
    const asked = select.options.length ? select.value : recall("sketch-class") ?? String(ANY);
    const labels = [ANY, ...generator.classes];
    select.replaceChildren(...labels.map((label) => new Option(label === ANY ? "whichever is nearest" : generator.title(label), label)));
    if (labels.map(String).includes(asked)) select.value = asked;
    select.closest(".classes").hidden = !generator.conditional;
    keep("sketch-class", () => (select.value === String(ANY) ? "" : select.value));
    paint();
    search();
  };
}

/** Draws strokes as a pen does; `place` gives a point's pixels. */
function trace(context, strokes, place, width) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: "white" });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...place(stroke[0]));
    for (const point of stroke) context.lineTo(...place(point));
    // A canvas draws no line without a length: a dot gets a little one.
    if (stroke.length === 1) context.lineTo(place(stroke[0])[0] + 0.01, place(stroke[0])[1]);
    context.stroke();
  }
}

/** The drawing as MNIST has its digits: in a box of 20 pixels, its ink in the middle of 28. */
function normalised(strokes) {
  const points = strokes.flat();
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const extent = Math.max(Math.max(...xs) - left, Math.max(...ys) - top, 1);
  // A short stroke stays short: a dot is not blown up to a disc.
  const scale = Math.min((BOX - STROKE) / extent, 1);
  const fine = 8;
  const draw = (dx, dy) => {
    const canvas = make("canvas", { width: SIDE * fine, height: SIDE * fine });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const at = ([x, y]) => [((x - left) * scale + 4 + dx) * fine, ((y - top) * scale + 4 + dy) * fine];
    trace(context, strokes, at, STROKE * fine);
    const levels = levelsIn(context, 0, 0, SIDE * fine, SIDE * fine);
    const small = new Float64Array(SIDE * SIDE);
    levels.forEach((level, i) => {
      const [x, y] = [Math.floor((i % (SIDE * fine)) / fine), Math.floor(i / (SIDE * fine) / fine)];
      small[y * SIDE + x] += level / fine ** 2;
    });
    return Array.from(small);
  };
  const once = draw(0, 0);
  const mass = once.reduce((sum, level) => sum + level, 0);
  const middle = (coordinate) => once.reduce((sum, level, i) => sum + level * coordinate(i), 0) / mass;
  const [dx, dy] = [middle((i) => i % SIDE), middle((i) => Math.floor(i / SIDE))].map((at) => (SIDE - 1) / 2 - at);
  return draw(dx, dy);
}

function closeness(overlap) {
  if (overlap > 0.7) return "Very near";
  return overlap > 0.5 ? "Near" : "Not near, the page found nothing that is more like it";
}

function strokesOf(text) {
  if (!text) return [];
  const strokes = text.split(".").map((part) => {
    const values = [...part].map((c) => CHARACTERS.indexOf(c));
    return Array.from({ length: values.length >> 1 }, (_, i) => [values[2 * i], values[2 * i + 1]]);
  });
  return strokes.filter((one) => one.length && one.flat().every((value) => value >= 0));
}
