// Line charts in SVG, drawn anew whenever there is more to show.

const [WIDTH, HEIGHT] = [320, 180];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 8, 10, 24];
const NAMES = ["first", "second"]; // of the lines' styles

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * A figure of at most two lines over the steps.
 *
 * `lines` are [{name, points: [[step, value], ...]}]; `last` the step at the right edge. Its caption
 * tells each line's newest value, so that nothing is told by colour alone.
 */
export function chart(title, lines, last) {
  const all = lines.flatMap(({ points }) => points.map(([, value]) => value));
  let [low, high] = [Math.min(...all), Math.max(...all)];
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  const x = (step) => LEFT + (step / last) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}, over the steps` },
    svg("text", { x: LEFT - 4, y: TOP + 8, "text-anchor": "end" }, short(high)),
    svg("text", { x: LEFT - 4, y: HEIGHT - BOTTOM, "text-anchor": "end" }, short(low)),
    svg("text", { x: LEFT, y: HEIGHT - 8 }, "step 0"),
    svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 8, "text-anchor": "end" }, last.toLocaleString("en")),
    ...lines.map(({ points }, i) => svg("path", {
      class: NAMES[i],
      d: points.map(([step, value], j) => `${j ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("") +
        (points.length === 1 ? "h3" : ""),
    })),
  );
  const figure = document.createElement("figure");
  const [heading, caption] = ["h3", "figcaption"].map((name) => document.createElement(name));
  heading.textContent = title;
  lines.forEach(({ name, points }, i) => {
    const mark = Object.assign(document.createElement("span"), { className: NAMES[i], textContent: i ? "╌ " : "━ " });
    caption.append(i ? ", " : "", mark, `${name} ${short(points.at(-1)[1])}`);
  });
  figure.append(heading, drawing, caption);
  return figure;
}

const short = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3));
