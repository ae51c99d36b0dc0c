// Asks every two seconds what there is, and shows it. Nothing is kept here: a reload shows the same.

import { chart } from "./charts.js";

const POLL = 2000; // milliseconds
const FRAME = 300; // milliseconds an image when it plays
const CHARTS = [
  ["Loss", [["d_loss", "discriminator"], ["g_loss", "generator"]]],
  ["Discriminator's loss", [["d_loss_real", "on real"], ["d_loss_fake", "on fakes"]]],
  ["Length of the gradient", [["d_gradient_norm", "discriminator"], ["g_gradient_norm", "generator"]]],
  ["Images per second", [["images_per_second", "images/s"]]],
];

const find = (id) => document.getElementById(id);
let shown = ""; // the answer that was shown last
let samples = []; // steps
let player;

async function look() {
  let text, state;
  try {
    const response = await fetch("watch/state.json", { signal: AbortSignal.timeout(10_000) });
    text = await response.text();
    state = JSON.parse(text);
  } catch {
    find("status").textContent = "mnist-gan watch does not answer; the page goes on asking. What it shows is what it saw last.";
    shown = "";
    return;
  }
  say(status(state));
  const { time, ...rest } = state;
  if (shown === JSON.stringify(rest)) return;
  shown = JSON.stringify(rest);
  showNodes(state);
  find("training").hidden = !state.training;
  if (state.training) showTraining(state.training);
}

function say(text) {
  if (find("status").textContent !== text) find("status").textContent = text;
}

function status({ training, alive, nodes, run, time }) {
  const node = nodes.find((one) => one.state === "RUNNING")?.name;
  const failed = nodes.find((one) => one.state === "FAILED");
  if (!training && !run) return alive ? "A run has begun; no node has started yet." : "Nothing has run in this workspace yet: try mnist-gan run.";
  const made = training ? `step ${number(training.step)}${training.steps ? ` of ${number(training.steps)}` : ""}` : "";
  const isDone = training?.steps && training.step >= training.steps;
  if (alive && node === "Trainer") {
    if (!training || time - training.written > 600) return "The Trainer is at work; it has written nothing yet.";
    const rate = training.images_per_second ? `, ${Math.round(training.images_per_second)} images/s` : "";
    const left = training.seconds_left && !isDone ? `, about ${span(training.seconds_left)} left` : "";
    return `Training: ${made}${rate}${left}.`;
  }
  if (alive) return `A run is going on${node ? `: ${node} is at work` : ""}.${made ? ` The newest training: ${made}.` : ""}`;
  if (failed) return `The run ended: ${failed.name} failed.${made ? ` The newest training: ${made}.` : ""}`;
  if (made && !isDone) return `Nothing runs now. The training stopped at ${made}; mnist-gan run goes on from its last checkpoint.`;
  return `The run has ended.${made ? ` The newest training: ${made}.` : ""}`;
}

function showNodes({ nodes, run, alive }) {
  find("run").textContent = run ? `Run ${run}` : "There was none yet.";
  find("nodes").replaceChildren(...nodes.map(({ name, state, seconds, error }) => {
    const row = document.createElement("tr");
    // A run that was killed leaves its node as it was.
    const now = state === "RUNNING" && !alive ? "interrupted" : state.toLowerCase();
    const cells = [name, error ? `${now}: ${error}` : now, seconds === null || state === "CACHED" ? "" : span(seconds)];
    row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    row.children[1].className = now === "interrupted" ? "CANCELED" : state;
    return row;
  }));
}

function showTraining({ step, steps, history, samples: found }) {
  find("progress").hidden = !steps;
  find("progress").value = steps ? Math.min(1, step / steps) : 0;
  const of = (key) => history.filter((record) => typeof record[key] === "number").map((record) => [record.step, record[key]]);
  // What was measured on the eval split is called by its number of images.
  const measured = [...new Set(history.flatMap(Object.keys))].filter((key) => key.endsWith("_eval"));
  const evaluated = measured.map((key) => [key.startsWith("fid") ? "FID on eval" : "Accuracy on eval", [[key, key]]]);
  find("charts").replaceChildren(...[...CHARTS, ...evaluated].flatMap(([title, keys]) => {
    const lines = keys.map(([key, name]) => ({ name, points: of(key) })).filter(({ points }) => points.length);
    return lines.length ? [chart(title, lines, steps ?? step)] : [];
  }));
  samples = found;
  find("at").max = Math.max(0, samples.length - 1);
  if (find("newest").checked) find("at").value = find("at").max;
  showSamples();
}

function showSamples() {
  if (!samples.length) return;
  const step = samples[Number(find("at").value)];
  const address = `watch/samples/${step}.png`;
  if (find("samples").getAttribute("src") !== address) find("samples").src = address;
  find("samples").alt = `What the fixed latents give at step ${step}`;
  find("at-step").textContent = number(step);
  find("at").setAttribute("aria-valuetext", `step ${step}`);
}

const number = (value) => value.toLocaleString("en");
function span(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

find("at").addEventListener("input", () => {
  find("newest").checked = false;
  showSamples();
});
find("newest").addEventListener("change", () => {
  if (find("newest").checked) find("at").value = find("at").max;
  showSamples();
});
find("play").addEventListener("click", () => {
  const stop = () => {
    clearInterval(player);
    player = undefined;
    find("play").textContent = "Play";
  };
  if (player) return stop();
  find("newest").checked = false;
  find("play").textContent = "Pause";
  if (find("at").value === find("at").max) find("at").value = 0;
  showSamples();
  player = setInterval(() => {
    if (find("at").value === find("at").max) return stop();
    find("at").value = Number(find("at").value) + 1;
    showSamples();
  }, FRAME);
});

for (;;) {
  if (!document.hidden) await look();
  await new Promise((resolve) => setTimeout(resolve, POLL));
}
