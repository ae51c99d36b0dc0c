// Asks every two seconds what there is, and shows it. Nothing is kept here: a reload shows the same.

import { bar, chart, histograms } from "./charts.js";

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
let opinions = []; // steps
let held = false; // as the last answer had it
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
  const isGrowing = state.alive && state.nodes.some((one) => one.state === "RUNNING"); // its bar of the time line
  if (!isGrowing && shown === JSON.stringify(rest)) return;
  shown = JSON.stringify(rest);
  showNodes(state);
  find("training").hidden = !state.training;
  if (state.training) showTraining(state);
}

function say(text) {
  if (find("status").textContent !== text) find("status").textContent = text;
}

const isTraining = ({ alive, nodes }) => alive && nodes.some((one) => one.state === "RUNNING" && one.name === "Trainer");
// It writes its records when it has come to wait.
const isHeld = ({ hold, samples: found, step }) => hold !== null && step >= hold && found.at(-1) === step;

function status({ training, alive, nodes, run }) {
  const node = nodes.find((one) => one.state === "RUNNING")?.name;
  const failed = nodes.find((one) => one.state === "FAILED");
  if (!training && !run) return alive ? "A run has begun; no node has started yet." : "Nothing has run in this workspace yet: try mnist-gan run.";
  const made = training ? `step ${number(training.step)}${training.steps ? ` of ${number(training.steps)}` : ""}` : "";
  const isDone = training?.steps && training.step >= training.steps;
  if (isTraining({ alive, nodes })) {
    // What lies there may be an earlier training's.
    if (!training || training.written * 1000 < nodes.find((one) => one.name === node).started) {
      return "The Trainer is at work; it has written nothing yet.";
    }
    if (isHeld(training)) return `Paused at ${made}.`;
    if (training.hold !== null) return `Training: ${made}. It pauses as soon as it has made ${training.hold > training.step ? `step ${number(training.hold)}` : "the steps that it is at"}.`;
    const rate = training.images_per_second ? `, ${Math.round(training.images_per_second)} images/s` : "";
    const left = training.seconds_left && !isDone ? `, about ${span(training.seconds_left)} left` : "";
    return `Training: ${made}${rate}${left}.`;
  }
  if (alive) return `A run is going on${node ? `: ${node} is at work` : ""}.${made ? ` The newest training: ${made}.` : ""}`;
  if (failed) return `The run ended: ${failed.name} failed.${made ? ` The newest training: ${made}.` : ""}`;
  if (made && !isDone) return `Nothing runs now. The training stopped at ${made}; mnist-gan run goes on from its last checkpoint.`;
  if (node) return `Nothing runs now. The run was interrupted when ${node} was at work.${made ? ` The newest training: ${made}.` : ""}`;
  return `The run has ended.${made ? ` The newest training: ${made}.` : ""}`;
}

function showNodes({ nodes, run, alive, time }) {
  find("run").textContent = run ? `Run ${run}` : "There was none yet.";
  const worked = nodes.filter(({ state }) => state !== "CACHED");
  const begun = Math.min(...worked.map(({ started }) => started));
  const tookOf = ({ started, seconds, state }) => seconds ?? (state === "RUNNING" && alive ? time - started / 1000 : 0);
  const whole = Math.max(...worked.map((one) => (one.started - begun) / 1000 + tookOf(one)), 1e-3);
  find("nodes").replaceChildren(...nodes.map((one) => {
    const { name, state, started, seconds, error } = one;
    const row = document.createElement("tr");
    // A run that was killed leaves its node as it was.
    const now = state === "RUNNING" && !alive ? "interrupted" : state.toLowerCase();
    const after = (started - begun) / 1000;
    const times = state === "CACHED" ? ["", ""] : [span(after), seconds === null ? "" : span(seconds)];
    const line = state === "CACHED" ? "" : bar(after / whole, tookOf(one) / whole, state);
    const cells = [name, error ? `${now}: ${error}` : now, ...times, line];
    row.append(...cells.map((content) => {
      const cell = document.createElement("td");
      cell.append(content);
      return cell;
    }));
    row.children[1].className = now === "interrupted" ? "CANCELED" : state;
    row.lastChild.className = "wide";
    return row;
  }));
}

function showTraining({ training, alive, nodes }) {
  const { step, steps, history, hold } = training;
  find("progress").hidden = !steps;
  find("progress").value = steps ? Math.min(1, step / steps) : 0;
  find("orders").hidden = !(training.teaching && isTraining({ alive, nodes }));
  held = hold !== null;
  find("hold").textContent = held ? "Let the training go on" : "Pause the training";
  find("step").disabled = !isHeld(training);
  find("step").value = step;
  const of = (...keys) => history.filter((record) => keys.every((key) => typeof record[key] === "number"))
    .map((record) => [record.step, ...keys.map((key) => record[key])]);
  // What was measured on the eval split is called by its number of images.
  const measured = [...new Set(history.flatMap(Object.keys))].filter((key) => key.endsWith("_eval")).sort().reverse();
  const titles = { relative: "Relative FID on eval: 1 is as good as real images", fid: "FID on eval", accuracy: "Accuracy on eval" };
  const evaluated = measured.map((key) => [titles[key.split("_")[0]] ?? key, [[key, key]]]);
  find("charts").replaceChildren(...[...evaluated, ...CHARTS].flatMap(([title, keys]) => {
    const lines = keys.map(([key, name]) => ({ name, points: of(key), interval: of(`${key}_low`, `${key}_high`) }))
      .filter(({ points }) => points.length);
    return lines.length ? [chart(title, lines, steps ?? step)] : [];
  }));
  [samples, opinions] = [training.samples, training.opinions];
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
  showOpinions(opinions.findLast((one) => one <= step));
}

async function showOpinions(step) {
  find("opinions").hidden = step === undefined;
  if (step === undefined || find("opinions").dataset.step === String(step)) return;
  find("opinions").dataset.step = step;
  find("slopes").src = `watch/opinions/${step}.png`;
  find("slopes").alt = `Real images and fakes at step ${step}, each row above the gradient of the discriminator's logit`;
  try {
    const response = await fetch(`watch/opinions/${step}.json`);
    const { real, fake } = await response.json();
    if (find("opinions").dataset.step !== String(step)) return; // another was asked for meanwhile
    const share = (counts) => `${Math.round((100 * counts.slice(counts.length / 2).reduce((sum, n) => sum + n, 0)) / counts.reduce((sum, n) => sum + n, 0))} %`;
    find("histograms").replaceChildren(histograms(
      "What the discriminator thinks",
      [{ name: `real images, ${share(real)} of which it takes for real`, counts: real }, { name: `fakes, ${share(fake)}`, counts: fake }],
      ["surely fake", "surely real"],
    ));
  } catch {
    delete find("opinions").dataset.step; // it is asked for again
  }
}

async function order(step) {
  try {
    const response = await fetch(`watch/hold${step === null ? "" : `?step=${step}`}`, { method: "POST", headers: { "Content-Type": "application/json" } });
    find("refused").textContent = response.ok ? "" : (await response.json()).error;
  } catch {
    find("refused").textContent = "mnist-gan watch does not answer.";
  }
  await look();
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

find("hold").addEventListener("click", () => order(held ? null : 0));
find("step").addEventListener("click", () => order(Number(find("step").value) + Number(find("step-count").value)));

for (;;) {
  if (!document.hidden) await look();
  await new Promise((resolve) => setTimeout(resolve, POLL));
}
