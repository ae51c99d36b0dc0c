// Pictures of chosen classes and seeds.

import { keep, recall } from "./address.js";
import { ANY } from "./generator.js";
import { picture, svgSheet } from "./pictures.js";
import {
  find, listen, make, numbers, otherSeed, requestPlace, saver, sayWhere, seedOf, worker,
} from "./wiring.js";

/** Wires the section; `toBetween(end, point)` and `toChange(point)` hand a picture on. */
export function drawSection(page, { toBetween, toChange }) {
  const section = find("draw");
  const [seed, count, signature] = [find("draw-seed"), find("draw-count"), find("draw-signature")];
  const chips = section.querySelector(".chips");
  const showRequest = requestPlace(find("draw-request"), { open: true });
  const showPickedRequest = requestPlace(find("picked").querySelector(".request-place"));
  let picked = fromText(recall("picked"));
  let drawn = { addresses: [], titles: [] };

  const chosen = () => [...chips.querySelectorAll("input:checked")].map((box) => Number(box.value));
  const draw = worker(section, page, async (generator) => {
    const labels = generator.conditional ? chosen() : [ANY];
    const seeds = numbers(seedOf(seed), Number(count.value));
    find("draw-save").hidden = !labels.length;
    if (!labels.length) {
      find("drawn").replaceChildren("Choose a class.");
      return pick(null);
    }
    const pairs = labels.flatMap((label) => seeds.map((one) => ({ label, seed: one })));
    const { addresses, request } = await generator.draw(
      signature.value, pairs.map((pair) => pair.seed), pairs.map((pair) => pair.label),
    );
    showRequest(request);
    drawn = { addresses, titles: pairs.map((pair) => title(generator, pair)) };
    const tiles = pairs.map((pair, i) => tile(pair, addresses[i], drawn.titles[i]));
    find("drawn").replaceChildren(
      ...labels.map((label, i) => {
        const heading = generator.conditional ? [make("h3", {}, generator.title(label))] : [];
        const some = tiles.slice(i * seeds.length, (i + 1) * seeds.length);
        return make("div", { className: "tiles" }, ...heading, ...some);
      }),
    );
    const same = pairs.findIndex((p) => picked && p.seed === picked.seed && p.label === picked.label);
    const index = Math.max(0, same);
    tiles[index].querySelector("input").checked = true;
    pick(pairs[index]);
  });
  const title = (generator, pair) => `${generator.title(pair.label)}, seed ${pair.seed}`;

  function tile(pair, address, name) {
    const radio = make("input", { type: "radio", name: "tile" });
    radio.addEventListener("change", () => pick(pair));
    return make("label", { className: "tile" }, radio, picture(address, name));
  }

  /** Shows one picture by itself, by a request of its own. */
  const pick = (pair) => {
    if (pair?.seed !== picked?.seed || pair?.label !== picked?.label) find("picked-said").textContent = "";
    picked = pair;
    find("picked").hidden = !pair;
    if (pair) drawPicked();
  };
  const drawPicked = worker(section, page, async (generator) => {
    if (!picked) return;
    const { label, seed: one } = picked;
    const { addresses, request } = await generator.draw(signature.value, [one], [label]);
    const shown = generator.label(one, label);
    const image = find("picked").querySelector("img");
    [image.src, image.alt] = [addresses[0], title(generator, { label: shown, seed: one })];
    find("picked").querySelector("figcaption").textContent = image.alt;
    const name = `seed-${one}${shown === ANY ? "" : `-class-${shown}`}.png`;
    Object.assign(find("picked-save"), { href: addresses[0], download: name });
    const png = signature.value === "generate_png" && `seed-${one}.png`;
    showPickedRequest({ ...request, png });
  });
  keep("picked", () => {
    if (!picked) return "";
    const first = find("drawn").querySelector("input");
    // Before anything is drawn, what the address said stays in it: a reload loses nothing.
    const kept = drawn.titles.length ? first && !first.checked : recall("picked");
    return kept ? `${picked.label}.${picked.seed}` : "";
  });

  function fillChips(generator) {
    const labels = [...generator.classes, ANY];
    const titles = labels.map((label) => generator.title(label));
    // Left alone where they are right: a version that is pushed must not take the focus away.
    const wanted = JSON.stringify([labels, titles]);
    if (chips.dataset.holds === wanted) return;
    const preferred = String(labels[Math.min(7, labels.length - 2)]);
    const asked = (chips.dataset.holds ? null : recall("draw-classes")) ?? preferred;
    chips.dataset.holds = wanted;
    chips.replaceChildren(
      ...labels.map((label, i) => {
        const checked = asked.split(",").includes(String(label));
        return make("label", {}, make("input", { type: "checkbox", value: label, checked }), titles[i]);
      }),
    );
    for (const box of chips.querySelectorAll("input")) box.addEventListener("change", draw);
    keep("draw-classes", () => {
      const now = chosen().join() || "none";
      return now === preferred ? "" : now;
    });
  }

  const point = () => ({ ...picked, label: page.generator().label(picked.seed, picked.label) });
  const name = () => find("picked").querySelector("figcaption").textContent;
  for (const [id, end, word] of [["picked-from", "from", "start"], ["picked-to", "to", "end"]]) {
    find(id).addEventListener("click", () => {
      toBetween(end, point());
      sayWhere(find("picked-said"), `${name()} is now the ${word} of the walk in`, "between");
    });
  }
  find("picked-directions").addEventListener("click", () => {
    toChange(point());
    sayWhere(find("picked-said"), `${name()} is now what the sliders change in`, "directions");
  });
  saver(find("draw-save"), () => ({
    content: svgSheet(drawn.addresses, drawn.titles, Number(count.value), page.generator().side),
    type: "image/svg+xml",
    name: `seeds-${seed.value}.svg`,
  }));

  listen([seed, count, signature], "input", draw);
  find("draw-other").addEventListener("click", () => ((seed.value = otherSeed()), draw()));

  return (generator) => {
    section.hidden = !generator?.seeded.length;
    if (section.hidden) return;
    for (const id of ["picked-from", "picked-to", "picked-directions"]) {
      find(id).hidden = !generator.decodes;
    }
    fillChips(generator);
    find("draw-classes").hidden = !generator.conditional;
    const asked = signature.value || recall("draw-signature");
    signature.replaceChildren(...generator.seeded.map((one) => new Option(one)));
    if (generator.seeded.includes(asked)) signature.value = asked;
    keep("draw-signature", () => (signature.value === generator.seeded[0] ? "" : signature.value));
    draw();
  };
}

function fromText(text) {
  const found = text?.match(/^(-?\d+)\.(\d+)$/);
  return found ? { label: Number(found[1]), seed: Number(found[2]) } : null;
}
