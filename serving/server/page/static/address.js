// The state of the page in its address, so that a link or a reload brings it back:
// #between?from-seed=3&way=40 is the section that was used last, and what differs from the start.

const WAIT = 200; // milliseconds; browsers refuse pages that change their address too often
const [first, text] = location.hash.slice(1).split("?");
const known = new URLSearchParams(text);
const readers = new Map();
let view = first;
let timer;

/** What the address said of `key` when the page was opened; null where nothing. */
export const recall = (key) => known.get(key);

/** The section that the address named, or that was used last. */
export const viewed = () => view;

export function lookAt(section) {
  view = section;
  changed();
}

/** From now on the address holds `key`: `read()` gives its text, "" for what it is at the start. */
export function keep(key, read) {
  readers.set(key, read);
}

/** Brings an input back to what the address says of its id, and keeps it there. */
export function keepControl(control) {
  const property = control.type === "checkbox" ? "checked" : "value";
  const start = String(control[property]);
  const said = recall(control.id);
  if (said !== null) control[property] = property === "checked" ? said === "true" : said;
  keep(control.id, () => (String(control[property]) === start ? "" : String(control[property])));
}

/** Says that something may have changed. */
export function changed() {
  clearTimeout(timer);
  timer = setTimeout(() => history.replaceState(null, "", address()), WAIT);
}

/** The address of the page as it is now. */
export function address() {
  const state = new URLSearchParams();
  for (const [key, read] of readers) {
    const value = read();
    if (value) state.set(key, value);
  }
  const query = state.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  const url = new URL(location.href);
  url.hash = view + (query && `?${query}`);
  return url.href;
}

const SCALE = 1000; // a latent's numbers are kept to the third decimal

/** A latent as text for an address: two bytes each number, in base64 without `+/=`. */
export function encodeLatent(latent) {
  const bytes = latent.map((value) => Math.round(value * SCALE)).flatMap((n) => [n & 255, (n >> 8) & 255]);
  return btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (c) => ({ "+": "-", "/": "_" })[c] ?? "");
}

/** The inverse of `encodeLatent`; null for what is none of `length` numbers. */
export function decodeLatent(text, length) {
  try {
    const bytes = atob(text.replace(/[-_]/g, (c) => (c === "-" ? "+" : "/")));
    if (bytes.length !== 2 * length) return null;
    return Array.from({ length }, (_, i) =>
      ((bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8)) << 16 >> 16) / SCALE);
  } catch {
    return null;
  }
}

// A link that is pasted into a tab of this page.
addEventListener("hashchange", () => location.reload());
