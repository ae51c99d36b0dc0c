"use strict";
document.documentElement.classList.add("js");

// A node of the graph opens the panel with its properties, and says which one is open.
function openPanel(hash) {
  const panel = hash.startsWith("#node-") && document.getElementById(hash.slice(1));
  if (!panel) return false;
  for (const other of panel.parentElement.querySelectorAll("details[open]")) {
    if (other !== panel) other.open = false;
  }
  panel.open = true;
  for (const node of document.querySelectorAll("svg.graph .node")) {
    if (node.getAttribute("href") === hash) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
  panel.querySelector("summary").focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
  return true;
}
document.addEventListener("click", (event) => {
  const node = event.target.closest("svg.graph .node");
  if (node && openPanel(node.getAttribute("href"))) event.preventDefault();
});
openPanel(location.hash);

// The same latents through time: one image at a time, under a slider.
for (const player of document.querySelectorAll(".player")) {
  const frames = document.getElementById(player.dataset.frames);
  const images = [...frames.children];
  const slider = player.querySelector("input");
  const button = player.querySelector("button");
  let timer = null;
  function show(index) {
    images.forEach((image, i) => image.classList.toggle("shown", i === index));
    slider.value = index;
    slider.setAttribute("aria-valuetext", images[index].textContent.trim());
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  button.addEventListener("click", () => {
    if (timer) { stop(); return; }
    button.textContent = "Stop";
    let index = Number(slider.value) === images.length - 1 ? 0 : Number(slider.value);
    show(index);
    timer = setInterval(() => {
      index += 1;
      show(index);
      if (index === images.length - 1) stop();
    }, 400);
  });
  frames.classList.add("playing");
  show(images.length - 1);
}

// Lines are read with a cross-hair, by pointer, finger or arrow keys.
for (const chart of document.querySelectorAll("svg[data-readings]")) {
  const { ends, places } = JSON.parse(chart.dataset.readings);
  const hair = document.createElementNS("http://www.w3.org/2000/svg", "line");
  hair.setAttribute("class", "hair");
  const reading = document.createElement("p");
  reading.className = "caption reading";
  reading.setAttribute("role", "status");
  if (!document.querySelector(".reading")) {  // once is enough
    reading.textContent = "Point at a chart of lines, or use its arrow keys, to read values.";
  }
  let at = places.length - 1;
  function show(index) {
    at = Math.min(Math.max(index, 0), places.length - 1);
    const [x, text] = places[at];
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: ends[0], y2: ends[1] })) {
      hair.setAttribute(name, value);
    }
    chart.append(hair);
    reading.textContent = text;
  }
  chart.addEventListener("pointermove", (event) => {
    const frame = chart.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width * chart.viewBox.baseVal.width;
    const far = places.map((place) => Math.abs(place[0] - x));
    show(far.indexOf(Math.min(...far)));
  });
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -places.length, End: places.length }[event.key];
    if (step) { show(at + step); event.preventDefault(); }
  });
  chart.tabIndex = 0;
  chart.closest("figure").append(reading);
}

// Commands can be copied.
for (const block of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block.querySelector("code"));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  const frame = document.createElement("div");
  frame.className = "command";
  block.replaceWith(frame);
  frame.append(block, button);
  if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;  // arrow keys scroll it
}

// Paper can't be opened: all is printed open but the graph's panels and what only repeats them.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")].filter(
    (details) => !details.closest(".panels") && details.dataset.paper !== "closed");
  for (const details of opened) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
