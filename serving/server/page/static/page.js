// The page: which models and versions there are, which one is chosen, and what becomes of it.

import { address, changed, keep, lookAt, recall, viewed } from "./address.js";
import { ServerError, get, modelPath } from "./api.js";
import { betweenSection } from "./between.js";
import { directionsSection } from "./directions.js";
import { drawSection } from "./draw.js";
import { Generator } from "./generator.js";
import { quizSection } from "./quiz.js";
import { sheetSection } from "./sheet.js";
import { sketchSection } from "./sketch.js";
import { copyWith, find, make, requestPlace } from "./wiring.js";

const POLL = 2000; // milliseconds

const [modelSwitch, versionSwitch] = [find("model"), find("version")];

let models = []; // as page/models.json tells them
let stale = true; // whether something may have changed that the status does not tell
let isAway = false; // whether the last question found no server
let shownVersion; // its number; undefined where none is loaded
let generator = null; // what is drawn with; null where the version is none of this project's

const page = {
  generator: () => generator,
  lost: (error) => {
    if (!(error instanceof ServerError)) throw error;
    stale = true; // whatever comes back is read again
    if (error.status !== 0) return;
    isAway = true;
    say("The server does not answer. What was drawn stays; the page goes on asking.", "bad");
  },
};
const between = betweenSection(page);
const directions = directionsSection(page);
const hand = { toBetween: between.set, toChange: directions.set };
const shows = [
  drawSection(page, hand),
  between.show,
  directions.show,
  sketchSection(page, hand),
  quizSection(page),
  sheetSection(page),
];
const showMetadataRequest = requestPlace(find("nothing").querySelector(".request-place"));

const model = () => models.find((one) => one.name === modelSwitch.value);

/** The choice of the version switch: {}, {version} or {label}, as `modelPath` takes it. */
const choice = () => {
  const [kind, ...rest] = versionSwitch.value.split(":");
  return kind ? { [kind]: rest.join(":") } : {};
};

/** The number of the version that the choice comes to; undefined where there is none. */
function chosenVersion() {
  const { version, label } = choice();
  if (label) return model().labels[label];
  return version ?? model()?.versions[0]?.version;
}

function say(text, kind = "") {
  if (find("message").textContent === text) return; // a screen reader would say it again
  [find("message").textContent, find("message").className] = [text, `note ${kind}`];
  find("message").hidden = !text;
}

/** Reads which models and versions there are, and shows the chosen one. */
async function refresh() {
  const isFirst = !models.length;
  const before = {
    model: isFirst ? recall("model") : modelSwitch.value,
    choice: isFirst ? recall("version") ?? "" : versionSwitch.value,
    version: shownVersion,
  };
  models = (await get("page/models.json")).models;
  modelSwitch.replaceChildren(...models.map((one) => new Option(one.name)));
  if (models.some((one) => one.name === before.model)) modelSwitch.value = before.model;
  find("model-switch").hidden = models.length < 2;
  fillVersions(before.choice);
  await show();
  const now = shownVersion;
  if (!now) {
    say("No version of this model is loaded at the moment; the page goes on asking.", "bad");
  } else if (before.version && before.version !== now && before.model === modelSwitch.value) {
    say(versionSwitch.value === before.choice
      ? `Version ${now} has taken the place of ${before.version}; everything was drawn again.`
      : `Version ${before.version} is served no longer; this is version ${now}.`);
  } else if (isFirst && versionSwitch.value !== before.choice) {
    say(`The link asks for version “${before.choice.replace(/^\w+:/, "")}”, which is not served; this is version ${now}.`, "bad");
  } else if (isFirst && before.model && modelSwitch.value !== before.model) {
    say(`The link asks for the model “${before.model}”, which is not served; this is “${modelSwitch.value}”.`, "bad");
  } else {
    say(isAway ? "The server answers again; everything was drawn again." : "", "good");
  }
  [stale, isAway] = [false, false];
  if (!isArrived && find(viewed())?.matches("section:not([hidden])")) arrive(viewed());
  isArrived = true;
}

function fillVersions(wanted) {
  const { versions = [], labels = {} } = model() ?? {};
  const served = new Set(versions.map((one) => one.version));
  versionSwitch.replaceChildren(
    new Option(versions.length ? `newest (${versions[0].version})` : "none", ""),
    ...Object.entries(labels).filter(([, version]) => served.has(version))
      .map(([label, version]) => new Option(`${label} (${version})`, `label:${label}`)),
    // A single version needs no switch.
    ...versions.slice(versions.length > 1 ? 0 : 1)
      .map(({ version }) => new Option(version, `version:${version}`)),
  );
  versionSwitch.value = wanted;
  if (versionSwitch.selectedIndex < 0) versionSwitch.value = "";
}

/** Shows the chosen version: its details, and all that it draws. */
async function show() {
  shownVersion = chosenVersion();
  const details = model()?.versions.find((one) => one.version === shownVersion);
  find("main").setAttribute("aria-busy", "true");
  try {
    showFacts(details);
    const path = modelPath(modelSwitch.value, choice());
    const signatures = details && await signaturesOf(path);
    const found = details?.contract && new Generator(path, details.contract, signatures);
    generator = found?.seeded.length || found?.decodes ? found : null;
    if (generator && details.real) generator.real = { model: modelSwitch.value, version: details.version };
    find("nothing").hidden = Boolean(generator || !details);
    if (!find("nothing").hidden) showNothing(path, signatures);
    for (const showSection of shows) showSection(generator);
    document.querySelector("nav").hidden = !generator;
    for (const link of document.querySelectorAll("nav a")) {
      link.parentElement.hidden = document.querySelector(link.getAttribute("href")).hidden;
    }
  } finally {
    find("main").removeAttribute("aria-busy");
  }
}

async function signaturesOf(path) {
  return (await get(`${path}/metadata`)).metadata.signature_def.signature_def;
}

/** A SavedModel that is none of ours: what it answers, and how to ask it. */
function showNothing(path, signatures) {
  const names = (tensors) => Object.keys(tensors).join(", ");
  find("signatures").replaceChildren(
    ...Object.entries(signatures)
      .filter(([name]) => !name.startsWith("__"))
      .map(([name, { inputs, outputs }]) => {
        return make("li", {}, make("code", {}, `${name}(${names(inputs)}) -> ${names(outputs)}`));
      }),
  );
  showMetadataRequest({ path: `${path}/metadata` });
}

function showFacts(details) {
  const { metadata, contract } = details ?? {};
  const { metrics = {}, blessing = {}, data = {} } = metadata ?? {};
  const fid = metrics.fid;
  const facts = details && {
    Model: modelSwitch.value,
    Version: details.version,
    "Trained on": data.dataset ?? contract?.training?.data?.name,
    FID: typeof fid === "number" && fid.toPrecision(3),
    "Relative FID": typeof metrics.relative_fid === "number" && metrics.relative_fid.toPrecision(3),
    Blessing: metadata && verdict(blessing),
    Pushed: metadata?.pushed_at?.replace("T", " ").replace("Z", " UTC"),
  };
  find("facts").replaceChildren(
    ...Object.entries(facts || {}).filter(([, value]) => value).map(([name, value]) => {
      const entry = make("div", {}, make("dt", {}, name), make("dd", {}, value));
      if (name === "Blessing") entry.className = blessing.blessed && !blessing.forced ? "good" : "bad";
      return entry;
    }),
  );
  const smoke = metadata?.preset === "smoke"
    ? "Trained by the preset “smoke”, to exercise the machine: nothing to use. " : "";
  find("verdict").hidden = !(blessing.reason || smoke);
  find("verdict").querySelector("p").textContent = smoke + (blessing.reason ?? "");
}

function verdict({ blessed, forced }) {
  if (forced) return "by force";
  return blessed ? "blessed" : "not judged";
}

/** One look at the versions, by the status API; the rest follows where they changed. */
async function look() {
  if (stale || await hasChanged()) await refresh();
}

async function hasChanged() {
  const { label } = choice();
  try {
    const served = await available(modelPath(modelSwitch.value));
    if (served.join() !== model().versions.map((one) => one.version).join()) return true;
    if (!label) return false;
    return (await available(modelPath(modelSwitch.value, { label })))[0] !== model().labels[label];
  } catch (error) {
    if (error.status === 0) throw error;
    return true; // the model or the label is gone
  }
}

/** The versions under a path that answer requests, newest first. */
async function available(path) {
  return (await get(path)).model_version_status
    .filter((one) => one.state === "AVAILABLE").map((one) => one.version);
}

find("no-script").remove();
for (const element of [modelSwitch, versionSwitch]) {
  element.addEventListener("change", () => {
    if (element === modelSwitch) {
      fillVersions("");
      shownVersion = undefined;
    }
    say("");
    changed();
    show().catch(page.lost);
  });
}
keep("model", () => (modelSwitch.selectedIndex > 0 ? modelSwitch.value : ""));
keep("version", () => versionSwitch.value);
find("link").addEventListener("click", () => {
  find("link-text").textContent = address();
  find("link-text").hidden = false; // what is hidden can't be selected
  copyWith(find("link"), find("link-text"));
});
// Links within the page move in it and leave the rest of the address as it is.
document.addEventListener("click", (event) => {
  const target = event.target.closest?.('a[href^="#"]:not([download])')?.getAttribute("href").slice(1);
  if (!target || !find(target)) return;
  event.preventDefault();
  if (find(target).matches("section")) lookAt(target);
  goTo(target);
});
function goTo(id) {
  const place = find(id);
  place.tabIndex = -1;
  place.focus({ preventScroll: true });
  place.scrollIntoView();
}
/** Goes there once all is drawn, too: what stands above has grown meanwhile. */
async function arrive(id) {
  goTo(id);
  do await new Promise((resolve) => setTimeout(resolve, 50));
  while (document.querySelector("section[aria-busy=true]"));
  if (document.activeElement === find(id)) find(id).scrollIntoView();
}
let isArrived = false;
// A tab that was asleep may have missed anything.
document.addEventListener("visibilitychange", () => (stale = true));
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => event.preventDefault());
}
for (;;) {
  if (!document.hidden) await look().catch(page.lost);
  await new Promise((resolve) => setTimeout(resolve, POLL));
}
