// One request to the REST API, as people send it: from a shell, from Python, from JavaScript.

/** The languages that `written` knows, in the order in which they are offered. */
export const LANGUAGES = ["curl", "Python", "JavaScript"];

/**
 * The text that sends a request.
 *
 * `path` is relative to the page; `body` an object of numbers, text and lists, undefined for a GET;
 * `png` the name of the file that the first image should go to, where `image_bytes` are asked for.
 */
export function written(language, { path, body, png }) {
  const url = new URL(path, document.baseURI).href;
  const text = body && JSON.stringify(body);
  return { curl, Python: python, JavaScript: javascript }[language](url, text, png);
}

function curl(url, text, png) {
  const save = png
    ? ` \\\n  | grep -o '"b64": *"[^"]*"' | head -1 | cut -d'"' -f4 | base64 -d > ${png}` : "";
  return (text ? `curl -d ${quote(text)} \\\n  ${quote(url)}` : `curl ${quote(url)}`) + save;
}

function quote(text) {
  return /^[\w./:%-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// What JSON holds here (numbers, text, lists, objects) is written alike in all three.
function python(url, text, png) {
  const lines = [`import ${png ? "base64, " : ""}json, urllib.request`, ""];
  if (text) lines.push(`body = ${text}`);
  const data = text ? ", json.dumps(body).encode()" : "";
  lines.push(`with urllib.request.urlopen(${JSON.stringify(url)}${data}) as response:`);
  lines.push(`    answer = json.load(response)${text ? '["outputs"]' : ""}`);
  lines.push(png
    ? `open(${JSON.stringify(png)}, "wb").write(base64.b64decode(answer[0]["b64"]))`
    : text ? "print(len(answer))" : "print(answer)");
  return lines.join("\n");
}

function javascript(url, text, png) {
  const lines = text ? [`const body = ${text};`] : [];
  const options = text ? ', { method: "POST", body: JSON.stringify(body) }' : "";
  lines.push(`const response = await fetch(${JSON.stringify(url)}${options});`);
  lines.push(text ? "const { outputs } = await response.json();" : "console.log(await response.json());");
  if (png) lines.push('const address = "data:image/png;base64," + outputs[0].b64; // for <img>');
  else if (text) lines.push("console.log(outputs.length);");
  return lines.join("\n");
}
