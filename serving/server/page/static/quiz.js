// Real or fake? Ten images, five of them of the test split, and what gave the others away. A
// discriminator that was kept plays too.

import { post } from "./api.js";
import { keep, lookAt, recall } from "./address.js";
import { ANY } from "./generator.js";
import { measure, oddities } from "./ink.js";
import { cut, picture } from "./pictures.js";
import { find, listen, make, numbers, otherSeed, seedOf, worker } from "./wiring.js";

const COUNT = 10;
const COLUMNS = 10; // of the sheet of real images (components/evaluator), one row per class
const GAP = 2;

export function quizSection(page) {
  const section = find("quiz");
  const seed = find("quiz-seed");
  const board = find("quiz-board");
  let said = (recall("quiz-said") ?? "").split(""); // "r" or "f" for each image, "" for none
  let isShown = recall("quiz-shown") === "true"; // whether the answers are
  let questions = [];
  let real = { of: null, images: [] }; // of which version: [{label, address, levels}]

  keep("quiz-said", () => (said.some((one) => one && one !== "-") ? numbers(0, COUNT).map((i) => said[i] || "-").join("") : ""));
  keep("quiz-shown", () => (isShown ? "true" : ""));

  const ask = worker(section, page, async (generator) => {
    const of = `${generator.real.model}/${generator.real.version}`;
    if (real.of !== of) {
      if (real.of) [said, isShown] = [[], false]; // other images
      real = { of, images: await realImages(generator) };
    }
    questions = await makeQuestions(generator, real.images, seedOf(seed));
    await letItPlay(generator, questions);
    board.replaceChildren(...questions.map(question));
    find("quiz-score").replaceChildren();
    if (isShown && answered()) answer({ isNew: false });
    else isShown = false;
    update();
  });

  function question({ address }, i) {
    const choice = (value, text) => {
      const radio = make("input", { type: "radio", name: `quiz-${i}`, value, checked: said[i] === value });
      radio.addEventListener("change", () => {
        said[i] = value;
        lookAt(section.id);
        update();
      });
      return make("label", {}, radio, ` ${text}`);
    };
    return make("fieldset", {}, make("legend", {}, `Image ${i + 1}`),
      picture(address, `Image ${i + 1}, real or fake`), choice("r", "real"), choice("f", "fake"),
      make("p", { className: "told" }));
  }
  const answered = () => numbers(0, COUNT).every((i) => said[i] === "r" || said[i] === "f");
  function update() {
    find("quiz-answer").disabled = isShown || !answered();
    const left = numbers(0, COUNT).filter((i) => said[i] !== "r" && said[i] !== "f").length;
    find("quiz-left").textContent = isShown || !left ? "" : `${left} of ${COUNT} are still to be judged.`;
  }

  function answer({ isNew }) {
    isShown = true;
    const { hasInk } = page.generator();
    const known = hasInk ? real.images.map(({ levels }) => measure(levels)).filter(Boolean) : [];
    let right = 0;
    [...board.children].forEach((field, i) => {
      const { isReal, levels, takenForReal } = questions[i];
      const hit = (said[i] === "r") === isReal;
      right += hit;
      field.classList.add(hit ? "good" : "bad");
      for (const radio of field.querySelectorAll("input")) radio.disabled = true;
      const odd = isReal || !hasInk ? [] : oddities(levels, known);
      const why = isReal || !hasInk ? "" : odd.length ? `: ${odd.join("; ")}` : ": nothing that the page measures gives it away";
      const other = takenForReal === undefined ? "" : ` The discriminator says ${takenForReal ? "real" : "fake"}.`;
      field.querySelector(".told").textContent = `${hit ? "Right" : "Wrong"}, it is ${isReal ? "real" : "fake"}${why}.${other}`;
    });
    let score = `${right} of ${COUNT} right. Guessing gives 5.`;
    if (questions[0].takenForReal !== undefined) {
      const its = questions.filter(({ isReal, takenForReal }) => isReal === takenForReal).length;
      score += ` The discriminator that taught this network has ${its}; it took the five that it finds most real.`;
    }
    find("quiz-score").textContent = score;
    update();
    if (isNew) tellAll(right, score);
  }
  /** The average of all who played on this server since it started. */
  async function tellAll(right, score) {
    try {
      const { games, average } = await post("page/quiz", { ...page.generator().real, right });
      const word = games === 1 ? "game" : "games";
      find("quiz-score").textContent = `${score} The average on this server is ${average.toFixed(1)}, over ${games} ${word}.`;
    } catch (error) {
      page.lost(error);
    }
  }

  find("quiz-answer").addEventListener("click", () => {
    lookAt(section.id);
    answer({ isNew: true });
    find("quiz-score").focus();
  });
  const restart = () => {
    [said, isShown] = [[], false];
    ask();
  };
  listen([seed], "input", restart);
  find("quiz-other").addEventListener("click", () => {
    seed.value = otherSeed();
    lookAt(section.id);
    restart();
  });

  return (generator) => {
    section.hidden = !(generator?.real && generator.seeded.length);
    if (!section.hidden) ask();
  };
}

/** The sheet that the version was pushed with, cut into its images. */
async function realImages(generator) {
  const { model, version } = generator.real;
  const image = picture(`page/real.png?${new URLSearchParams({ model, version })}`, "");
  await image.decode();
  const [classes, pitch] = [generator.contract.classes_present, generator.side + GAP];
  const rows = Math.floor((image.naturalHeight - GAP) / pitch);
  return numbers(0, rows * COLUMNS).map((i) => {
    const [x, y] = [i % COLUMNS, Math.floor(i / COLUMNS)].map((place) => GAP + place * pitch);
    const label = rows === classes.length ? classes[Math.floor(i / COLUMNS)] : ANY;
    return { label, ...cut(image, x, y, generator.side) };
  });
}

/** Ten images in an order of the seed's own, half of them real; the classes of both are alike. */
async function makeQuestions(generator, real, seed) {
  const random = randomNumbers(seed);
  const shuffled = (list) => list.map((one) => [random(), one]).sort(([a], [b]) => a - b).map(([, one]) => one);
  const chosen = shuffled(real).slice(0, COUNT / 2);
  const labels = shuffled(real).slice(0, COUNT / 2).map(({ label }) => (generator.conditional ? label : ANY));
  const seeds = labels.map(() => Math.floor(random() * 2 ** 40));
  const { addresses } = await generator.draw(generator.seeded[0], seeds, labels);
  const images = addresses.map((address) => picture(address, ""));
  await Promise.all(images.map((image) => image.decode()));
  // Cut as the real ones are: nothing in a picture's address tells it.
  return shuffled([
    ...chosen.map((one) => ({ isReal: true, ...one })),
    ...images.map((image, i) => ({
      isReal: false, label: generator.label(seeds[i], labels[i]), ...cut(image, 0, 0, generator.side),
    })),
  ]);
}

/** The discriminator's answers, where it was kept: like the player it knows that five are real. */
async function letItPlay(generator, questions) {
  const labels = questions.map(({ label }) => (generator.conditional ? label : ANY));
  // Of a sheet of real images whose rows are no classes it can't be asked, nor of colours by their levels.
  if (!generator.judges || generator.isColour || (generator.conditional && labels.includes(ANY))) return;
  const logits = await generator.realness(questions.map(({ levels }) => levels), labels);
  const order = numbers(0, COUNT).sort((a, b) => logits[b] - logits[a]);
  questions.forEach((one, i) => (one.takenForReal = order.indexOf(i) < COUNT / 2));
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}
