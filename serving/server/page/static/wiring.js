// What the sections have in common: one drawing at a time, what went wrong in words, requests.

import { ServerError } from "./api.js";
import { changed, keep, keepControl, lookAt, recall } from "./address.js";
import { ANY } from "./generator.js";
import { LANGUAGES, written } from "./requests.js";

export const find = (id) => document.getElementById(id);
export const otherSeed = () => Math.floor(Math.random() * 1_000_000);
export const numbers = (from, count) => Array.from({ length: count }, (_, i) => from + i);
export const seedOf = (input) => Math.floor(Number(input.value));

/** Makes an element; children may be text. */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/**
 * A function that runs `work`, one at a time: what is asked for meanwhile is done once, afterwards.
 * So a slider can be dragged faster than the server draws. Values that do not fit are not asked
 * for: the section's own line says what does. Errors go there too, or to `lost` where there was no
 * answer or no such version.
 */
export function worker(section, page, work) {
  let running = false;
  let again = false;
  return async function run() {
    changed();
    again = true;
    if (running) return;
    running = true;
    busy(section, 1);
    while (again && page.generator()) {
      again = false;
      const wrong = wrongValue(section);
      tell(section, wrong);
      if (wrong) break;
      try {
        await work(page.generator());
      } catch (error) {
        if (error.status === 0 || error.status === 404) page.lost(error);
        else tell(section, `Not drawn: ${error.message}`);
        if (!(error instanceof ServerError)) console.error(error);
      }
    }
    running = false;
    busy(section, -1);
    changed();
  };
}

const working = new Map(); // how many workers of a section are at it
export function busy(section, change) {
  working.set(section, (working.get(section) ?? 0) + change);
  section.setAttribute("aria-busy", working.get(section) > 0);
}

function tell(section, text) {
  const problem = section.querySelector(".problem");
  if (problem.textContent !== text) problem.textContent = text; // a screen reader would say it again
  problem.hidden = !text;
}

/** What is wrong with the first number that does not fit; "" where all do. */
function wrongValue(section) {
  let said = "";
  for (const input of section.querySelectorAll('input[type="number"]')) {
    const { valid, rangeOverflow, rangeUnderflow } = input.validity;
    input.setAttribute("aria-invalid", !valid);
    if (valid || said) continue;
    const name = input.labels[0].textContent.trim();
    const [lowest, highest] = [input.min, input.max].map((text) => Number(text).toLocaleString("en"));
    if (rangeOverflow) said = `${name}: ${input.value} is too large, the largest is ${highest}.`;
    else if (rangeUnderflow) said = `${name}: ${input.value} is too small, the smallest is ${lowest}.`;
    else said = `${name}: this takes a whole number from ${lowest} to ${highest}.`;
    said += " The images are still those of the last number that fitted.";
  }
  return said;
}

let language = LANGUAGES.includes(recall("language")) ? recall("language") : LANGUAGES[0];
keep("language", () => (language === LANGUAGES[0] ? "" : language));
const rewriters = []; // of all requests on the page

/** A place for requests; returns the function that shows one. */
export function requestPlace(place, { open = false } = {}) {
  place.append(find("request-template").content.cloneNode(true));
  const [code, button, select] = ["code", "button", "select"].map((name) => place.querySelector(name));
  let request = null;
  place.querySelector("details").open = open;
  select.replaceChildren(...LANGUAGES.map((name) => new Option(name)));
  const rewrite = () => {
    select.value = language;
    if (request) code.textContent = written(language, request);
  };
  rewriters.push(rewrite);
  select.addEventListener("change", () => {
    language = select.value;
    for (const each of rewriters) each();
    changed();
  });
  button.addEventListener("click", () => copyWith(button, code));
  return (shown) => {
    request = shown;
    rewrite();
    place.querySelector(".answer").textContent = request.answer ? `(answered with ${request.answer})` : "";
  };
}

/** Copies an element's text; the button says whether it could. */
export async function copyWith(button, element) {
  const before = button.dataset.text ??= button.textContent;
  button.textContent = (await copy(element)) ? "Copied" : "Select it and copy it by hand";
  setTimeout(() => (button.textContent = before), 2000);
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch { // a page that came over plain HTTP from another machine has no clipboard
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** Calls `then` on an event of each element, and keeps inputs in the address. */
export function listen(elements, event, then) {
  for (const element of elements) {
    if (element.matches('input[type="number"], input[type="range"], input[type="checkbox"]')) keepControl(element);
    element.addEventListener(event, () => {
      lookAt(element.closest("section").id);
      then();
    });
  }
}

/** Fills a switch of classes; it stays where it stands, else where the address says. */
export function fillClasses(select, generator, preferred) {
  const first = select.options.length === 0;
  const fits = (label) => generator.classes.includes(label);
  const asked = first ? Number(recall(select.id) ?? preferred) : Number(select.value);
  select.replaceChildren(...generator.classes.map((label) => new Option(generator.title(label), label)));
  select.closest(".classes").hidden = !generator.conditional;
  if (!generator.conditional) return;
  select.value = [asked, preferred, generator.classes[0]].find(fits);
  keep(select.id, () => (Number(select.value) === preferred ? "" : select.value));
}

/** The label that a class switch stands on. */
export function chosenClass(select, generator) {
  return generator.conditional ? Number(select.value) : ANY;
}

/** Says what a button did elsewhere on the page, with a link there. */
export function sayWhere(line, text, section) {
  const name = find(section).querySelector("h2").textContent;
  const link = make("a", { href: `#${section}` }, `“${name}”`);
  line.replaceChildren(text, " ", link, ".");
}

/** Makes a button save the file that `made()` gives as {content, type, name}, maybe later. */
export function saver(button, made) {
  button.addEventListener("click", async () => {
    try {
      const { content, type, name } = await made();
      const href = URL.createObjectURL(new Blob([content], { type }));
      make("a", { href, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    } catch (error) {
      tell(button.closest("section"), `Not saved: ${error.message}.`);
    }
  });
}
