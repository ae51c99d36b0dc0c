// TF Serving's REST API, as far as the page needs it. Nothing here knows about pictures.

const SHORT = 5_000; // milliseconds
const LONG = 60_000;

/** The server refused (`status` is HTTP's), or did not answer at all (`status` is 0). */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function call(path, timeout, options = {}) {
  let response, text;
  try {
    // Relative to the page, so that it works behind a proxy's prefix too.
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(timeout) });
    text = await response.text();
  } catch {
    throw new ServerError("the server does not answer", 0);
  }
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new ServerError(`${path} answered with something else than JSON`, response.status || 0);
  }
  if (!response.ok) throw new ServerError(document.error ?? response.statusText, response.status);
  return { document, bytes: text.length };
}

/** GET: the JSON of the answer. */
export async function get(path) {
  return (await call(path, SHORT)).document;
}

/** The path of a model's newest version, of one version, or of the version under a label. */
export function modelPath(model, { version, label } = {}) {
  const path = `v1/models/${encodeURIComponent(model)}`;
  if (version) return `${path}/versions/${version}`;
  return label ? `${path}/labels/${encodeURIComponent(label)}` : path;
}

/**
 * Runs a signature with its inputs by name.
 *
 * Returns the outputs (an array where the signature has one output) and, as `request`, what was
 * asked (as requests.js takes it) with `answer` for people.
 */
export async function predict(path, signature, inputs) {
  const body = { signature_name: signature, inputs };
  const began = performance.now();
  const options = {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  };
  const { document, bytes } = await call(`${path}:predict`, LONG, options);
  const milliseconds = performance.now() - began;
  const answer = `${size(bytes)} in ${Math.max(1, Math.round(milliseconds))} ms`;
  return { outputs: document.outputs, request: { path: `${path}:predict`, body, answer } };
}

/** POST of JSON: the JSON of the answer. */
export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await call(path, SHORT, { method: "POST", body: JSON.stringify(body), headers })).document;
}

function size(bytes) {
  return bytes < 10_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${Math.round(bytes / 1000)} kB`;
}
