// Charts in SVG, drawn again whenever there is more to show.

const [WIDTH, HEIGHT] = [320, 180];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 8, 10, 24];
const NAMES = ["first", "second"]; // of the lines' styles
const WIDE = 20; // times the lowest value: from there on a scale is logarithmic

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * A figure of at most two lines over the steps.
 *
 * `lines` are [{name, points: [[step, value], ...], interval: [[step, low, high], ...] or none}];
 * `last` the step at the right edge. Its caption tells each line's newest value, so that nothing is
 * told by colour alone.
 */
export function chart(title, lines, last) {
  const all = lines.flatMap(({ points, interval = [] }) => [...points.map(([, value]) => value), ...interval.flatMap(([, ...ends]) => ends)]);
  let [low, high] = [Math.min(...all), Math.max(...all)];
  const isWide = low > 0 && high > WIDE * low;
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  const scale = isWide ? Math.log : (value) => value;
  const x = (step) => (LEFT + (step / last) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (value) => (TOP + ((scale(high) - scale(value)) / (scale(high) - scale(low))) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const path = (points) => points.map(([step, value], i) => `${i ? "L" : "M"}${x(step)} ${y(value)}`).join("");
  const band = (interval) => `${path([...interval.map(([step, , top]) => [step, top]), ...interval.toReversed()])}Z`;
  const drawing = frame(`${title}, over the steps`, short(high), short(low), "step 0", last.toLocaleString("en"),
    ...lines.filter(({ interval }) => interval?.length > 1).map(({ interval }) => svg("path", { class: "band", d: band(interval) })),
    ...lines.map(({ points }, i) => svg("path", { class: NAMES[i], d: path(points) + (points.length === 1 ? "h3" : "") })),
  );
  const newest = ({ points, interval }) => {
    const ends = interval?.at(-1)?.slice(1).map(short).join(" to ");
    return short(points.at(-1)[1]) + (ends ? ` (95 % interval ${ends})` : "");
  };
  const words = lines.map((line) => `${line.name} ${newest(line)}`);
  if (isWide) words[words.length - 1] += "; logarithmic scale";
  return figure(title, drawing, words);
}

/** A figure of two histograms: counts in parts of equal width, each of all images of its kind. */
export function histograms(title, kinds, [left, right]) {
  const shares = kinds.map(({ counts }) => {
    const total = counts.reduce((sum, count) => sum + count, 0);
    return counts.map((count) => count / (total || 1));
  });
  const most = Math.max(...shares.flat());
  const top = [0.1, 0.2, 0.5, 1].find((limit) => limit >= most);
  const bottom = HEIGHT - BOTTOM;
  const outline = (share) => {
    const wide = (WIDTH - LEFT - RIGHT) / share.length;
    return `M${LEFT} ${bottom}` + share.map((one) => `V${(bottom - (one / top) * (bottom - TOP)).toFixed(1)}h${wide}`).join("") + `V${bottom}`;
  };
  const drawing = frame(title, `${top * 100} %`, "0", left, right,
    ...shares.map((share, i) => svg("path", { class: `${NAMES[i]} area`, d: outline(share) })));
  return figure(title, drawing, kinds.map(({ name }) => name));
}

function frame(label, high, low, left, right, ...content) {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    svg("text", { x: LEFT - 4, y: TOP + 8, "text-anchor": "end" }, high),
    svg("text", { x: LEFT - 4, y: HEIGHT - BOTTOM, "text-anchor": "end" }, low),
    svg("text", { x: LEFT, y: HEIGHT - 8 }, left),
    svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 8, "text-anchor": "end" }, right),
    ...content,
  );
}

function figure(title, drawing, words) {
  const element = document.createElement("figure");
  const [heading, caption] = ["h3", "figcaption"].map((name) => document.createElement(name));
  heading.textContent = title;
  words.forEach((text, i) => {
    const mark = Object.assign(document.createElement("span"), { className: NAMES[i], textContent: i ? "╌ " : "━ " });
    caption.append(i ? ", " : "", mark, text);
  });
  element.append(heading, drawing, caption);
  return element;
}

/** A bar of a time line: where a node began and how long it took, as shares of the whole. */
export function bar(begin, share, state) {
  const width = Math.max(share * 100, 0.7);
  return svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", class: "bar", "aria-hidden": "true" },
    svg("rect", { x: Math.min(begin * 100, 100 - width), width, height: 8, class: state }));
}

const short = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3));
