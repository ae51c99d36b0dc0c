// Ten of each class on one picture, as `mnist-gan generate` draws it.

import { ANY } from "./generator.js";
import { sheet, svgSheet } from "./pictures.js";
import { find, listen, numbers, otherSeed, requestPlace, saver, seedOf, worker } from "./wiring.js";

export function sheetSection(page) {
  const section = find("sheet");
  const seed = find("sheet-seed");
  const canvas = find("sheet-picture");
  const showRequest = requestPlace(section.querySelector(".request-place"));
  let drawn = { addresses: [], titles: [] };

  const draw = worker(section, page, async (generator) => {
    const rows = generator.conditional ? generator.classes : Array(10).fill(ANY);
    const labels = rows.flatMap((label) => Array(10).fill(label));
    const seeds = numbers(seedOf(seed), labels.length);
    const { addresses, request } = await generator.draw(generator.seeded[0], seeds, labels);
    drawn = { addresses, titles: labels.map((label, i) => `${generator.title(label)}, seed ${seeds[i]}`) };
    await sheet(canvas, addresses, 10, 2, 4);
    canvas.setAttribute("aria-label", `${title(generator)}, seeds ${seeds[0]} to ${seeds.at(-1)}`);
    const name = `sheet-seed-${seeds[0]}.png`;
    Object.assign(find("sheet-save"), { href: canvas.toDataURL(), download: name });
    showRequest(request);
  });
  const title = (generator) => (generator.conditional ? "Ten of each class" : "A hundred images");
  listen([seed], "input", draw);
  find("sheet-other").addEventListener("click", () => ((seed.value = otherSeed()), draw()));
  saver(find("sheet-svg"), () => ({
    content: svgSheet(drawn.addresses, drawn.titles, 10),
    type: "image/svg+xml",
    name: `sheet-seed-${seed.value}.svg`,
  }));

  return (generator) => {
    section.hidden = !generator?.seeded.length;
    if (section.hidden) return;
    find("sheet-title").textContent = title(generator);
    draw();
  };
}
