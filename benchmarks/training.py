"""This trainer beside a naive recipe and two tutorials: same data, same minutes, same judge.

    python -m benchmarks.training [--data-dir DIR] [--minutes 10] [--only ours naive ...]
                                  [--seeds 1] [--out DIR] [--cas-fakes 60000] [--processor-time]
    python -m benchmarks.training --ceiling [--processor-time]
    python -m benchmarks.training --sizes [--processor-time]

Each trains alone, in a process of its own, on the 50,000 images of the train split. At five marks
on the way it is judged: relative FID of 10,000 fakes to the train split by each pinned extractor
(the table shows the worst), conditional accuracy, and CAS, the accuracy on the real test split of a
classifier trained on fakes only. Minutes are of training: tracing counts, judging
does not. With `--processor-time` they are processor minutes over the number of cores, for a
machine that does other work too; who leaves cores idle gains by it. Prints a table and writes
`training.md`, `training.json` and the curves to `--out`.

Our learning rate falls over the length of a run, so our steps are as many as the minutes let fit at
the speed of the first ten seconds; the real minutes stand in the table.

`--ceiling` measures instead how much of the time of a training step the convolutions and dense
layers would take alone, and where the rest goes; `--sizes` what a step costs with larger images.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from datasets.data_config import DataConfig, default_data_dir

NUM_FAKES = 10_000
MARKS = 5
NAMES = {
    "ours": "this trainer",
    "naive": "naive recipe, Adam 2e-4",
    "naive_r1": "naive recipe, Adam 5e-4, lazy R1",
    "tensorflow_tutorial": "TensorFlow's DCGAN tutorial",
    "keras_example": "Keras' conditional GAN example",
}


class Judge:
    """Relative FID by each pinned extractor, conditional accuracy, CAS.

    FID is to the train images, as `mnist-gan run` judges it; CAS is tested on the test split.
    """

    def __init__(self, data: dict[str, np.ndarray], cas_fakes: int):
        from judge.reference import apportion, load_extractors
        from metrics.relative import real_folds

        self.images, self.labels = data["test_images"], data["test_labels"]
        self.cas_fakes = cas_fakes
        self._extractors = load_extractors()
        self._counts = np.bincount(self.labels, minlength=10)
        counts = apportion(self._counts, NUM_FAKES)
        self._folds = {
            name: real_folds(
                extractor.features(data["train_images"]), data["train_labels"], NUM_FAKES, counts
            )
            for name, extractor in self._extractors.all.items()
        }

    def score(self, contender, seed: int) -> dict[str, Any]:
        """What `contender`, as it is now, reaches.

        Returns:
          `relative_fid` (by extractor); `cas` and `accuracy` where it is conditional.
        """
        from common.images import to_uint8
        from judge.generation import ordered_labels
        from judge.reference import apportion
        from metrics.cas import classification_accuracy_score
        from metrics.relative import relative_fid

        labels = ordered_labels(apportion(self._counts, NUM_FAKES), seed)
        fakes = to_uint8(contender.generate(labels, 1000 + seed))
        features, probabilities = self._extractors.see(fakes)
        strata = labels if contender.conditional else np.zeros_like(labels)
        found = {
            "relative_fid": {
                name: relative_fid(features[name], strata, folds).value
                for name, folds in self._folds.items()
            }
        }
        if contender.conditional:
            found["accuracy"] = float(np.mean(probabilities.argmax(1) == labels))
        if contender.conditional and self.cas_fakes:
            labels = ordered_labels(apportion(self._counts, self.cas_fakes), seed)
            fakes = to_uint8(contender.generate(labels, 2000 + seed))
            found["cas"] = classification_accuracy_score(
                fakes, labels, self.images, self.labels, 10, seed=seed
            )
        return found


class Ours:
    """The default of this project, with the settings of `standard`, for a number of minutes.

    Args:
      images, labels: to learn from, as a Contender's.
      seed: of weights, order and latents.
      minutes: how long it is to train.
      clock: seconds.
    """

    conditional = True

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        seed: int,
        minutes: float,
        clock: Callable[[], float],
    ):
        import tensorflow as tf

        from common.images import to_floats

        tf.config.experimental.enable_op_determinism()  # as `train` does
        self._data, self._seed = (to_floats(images.astype(np.float32)), labels), seed
        self._new_loop(1000)
        began = clock()
        self._run(1)
        tracing = clock() - began
        began = clock()
        while clock() - began < min(10.0, 6.0 * minutes):
            self._run(8)
        speed = (self.steps - 1) / (clock() - began)
        self._new_loop(max(1, round(speed * (60 * minutes - tracing))))
        self.batch_size = self._loop.config.batch_size
        self._chunk = max(1, round(speed / 2))

    def _new_loop(self, steps: int) -> None:
        from trainer.training import LOOPS
        from trainer.training_config import make_config, preset

        config = make_config(**{**preset("standard"), "steps": steps})
        self._loop = LOOPS[config.model](*self._data, config, 10, self._seed)
        self.generator, self.discriminator = self._loop.generator, self._loop.discriminator

    @property
    def steps(self) -> int:
        return int(self._loop.step.numpy())

    def _run(self, count: int) -> None:
        import tensorflow as tf

        self._loop.run(tf.constant(count, tf.int64))

    def advance(self, seconds: float, clock: Callable[[], float]) -> float:
        began = clock()
        while (elapsed := clock() - began) < seconds:
            left = self._loop.config.steps - self.steps
            if not left:
                break
            self._run(min(left, self._chunk if self.steps else 1))
        self._loop.fit_grey_levels()  # as if it were exported now
        return elapsed

    def generate(self, labels: np.ndarray, seed: int) -> np.ndarray:
        import tensorflow as tf

        from trainer.latents import draw_latents

        shape = [len(labels), self._loop.config.latent_dim]
        key = tf.constant([seed, 0], tf.int64)
        distribution = self._loop.architecture.latent_distribution
        latents = draw_latents(shape, key, distribution).numpy()
        parts = range(0, len(labels), 500)
        return np.concatenate(
            [self._loop.generate(latents[i : i + 500], labels[i : i + 500]) for i in parts]
        )


def prepare(data_dir: str | None, path: pathlib.Path) -> None:
    """Writes the train and the test split of MNIST as arrays, for the contenders' processes."""
    from datasets import source
    from datasets.examples import read_prepared

    found = source.resolve(DataConfig(dataset="mnist", data_dir=data_dir), path.parent)
    splits = {name: read_prepared(found, name) for name in ("train", "test")}
    arrays = {
        f"{name}_{key}": getattr(split, key)
        for name, split in splits.items()
        for key in ("images", "labels")
    }
    np.savez(path, **arrays)


def processor_clock() -> float:
    """Seconds that all cores would have taken, fully used, for what this process did so far."""
    return time.process_time() / os.cpu_count()


def contend(
    name: str,
    seed: int,
    minutes: float,
    data_path: pathlib.Path,
    cas_fakes: int,
    processor_time: bool,
) -> dict:
    """Trains one contender and judges it at each mark; runs in a process of its own.

    Returns:
      `name`, `seed`, sizes of both networks, `images_per_second` and `marks`: a list of `mark` and
      `minutes` (meant and real), `steps`, and what `Judge.score` gives.
    """
    from benchmarks.contenders import CONTENDERS

    with np.load(data_path) as archive:
        data = dict(archive)
    judge = Judge(data, cas_fakes)
    train = data["train_images"], data["train_labels"]
    clock = processor_clock if processor_time else time.monotonic
    is_ours = name == "ours"
    contender = Ours(*train, seed, minutes, clock) if is_ours else CONTENDERS[name](*train, seed)
    marks, trained = [], 0.0
    for mark in (minutes * (i + 1) / MARKS for i in range(MARKS)):
        # Our last steps are made whenever they end: the learning rate is 0 with the last of them.
        last = is_ours and mark > minutes * 0.999
        trained += contender.advance(1e9 if last else 60 * mark - trained, clock)
        score = judge.score(contender, seed)
        marks.append({"mark": mark, "minutes": trained / 60, "steps": contender.steps, **score})
        print(f"{NAMES[name]}, seed {seed}: {_words(marks[-1])}", flush=True)
    return {
        "name": name,
        "seed": seed,
        "generator_parameters": contender.generator.count_params(),
        "discriminator_parameters": contender.discriminator.count_params(),
        "images_per_second": contender.steps * contender.batch_size / trained,
        "marks": marks,
    }


def worst(mark: dict) -> float:
    """Relative FID by the extractor on which it is largest."""
    return max(mark["relative_fid"].values())


def _words(mark: dict) -> str:
    by = ", ".join(f"{name} {value:.3g}" for name, value in mark["relative_fid"].items())
    parts = [f"{mark['minutes']:.2f} min", f"relative FID {worst(mark):.4g} ({by})"]
    parts += [f"{key} {mark[key]:.2%}" for key in ("accuracy", "cas") if key in mark]
    return ", ".join(parts)


def table(results: Sequence[dict]) -> str:
    """One row per contender, one column per mark: means over seeds with their range."""
    names = list(dict.fromkeys(result["name"] for result in results))
    marks = sorted({mark["mark"] for result in results for mark in result["marks"]})
    head = [f"{mark:g} min" for mark in marks]
    lines = [
        f"| | parameters G, D | images/s | {' | '.join(head)} |",
        "| --- | --- | ---: |" + " --- |" * len(marks),
    ]
    for name in names:
        runs = [result for result in results if result["name"] == name]
        sizes = [f"{runs[0][f'{side}_parameters']:,}" for side in ("generator", "discriminator")]
        speed = np.mean([run["images_per_second"] for run in runs])
        cells = []
        for mark in marks:
            found = [m for run in runs for m in run["marks"] if m["mark"] == mark]
            cells.append(_cell(found))
        lines.append(f"| {NAMES[name]} | {', '.join(sizes)} | {speed:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: list[dict]) -> str:
    if not found:
        return ""
    values = [worst(mark) for mark in found]
    text = f"{np.mean(values):.3g}"
    if len(values) > 1:
        text += f" ({min(values):.3g} to {max(values):.3g})"
    for key, word in (("accuracy", "accuracy"), ("cas", "CAS")):
        if all(key in mark for mark in found):
            text += f", {word} {np.mean([mark[key] for mark in found]):.2%}"
    real = np.mean([mark["minutes"] for mark in found])
    return text if abs(real / found[0]["mark"] - 1) < 0.02 else f"{text} (at {real:.2f} min)"


def verdict(results: Sequence[dict], minutes: float) -> str:
    """How this trainer stands against each naive recipe, by every extractor, in sentences."""

    def at_the_end(name: str) -> dict[str, float]:
        found = [
            result["marks"][-1]["relative_fid"] for result in results if result["name"] == name
        ]
        return {eye: float(np.mean([f[eye] for f in found])) for eye in (found or [{}])[0]}

    ours, lines = at_the_end("ours"), []
    for other in ("naive", "naive_r1"):
        theirs = at_the_end(other)
        if ours and theirs:
            shares = ", ".join(f"{ours[eye] / theirs[eye]:.2f} ({eye})" for eye in ours)
            lines.append(f"- {NAMES['ours']} over {NAMES[other]}, {minutes:g} min: {shares}")
    return "\n".join(lines)


def draw(results: Sequence[dict], path: pathlib.Path) -> None:
    """The curves: relative FID over minutes of training, means over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(result["name"] for result in results):
        runs = [result["marks"] for result in results if result["name"] == name]
        minutes = np.mean([[mark["minutes"] for mark in marks] for marks in runs], axis=0)
        values = np.mean([[worst(mark) for mark in marks] for marks in runs], axis=0)
        axes.plot(minutes, values, marker="o", markersize=4, label=NAMES[name])
    axes.axhline(1.0, color="grey", linestyle="--", linewidth=1, label="as good as real images")
    axes.set(xlabel="minutes of training", ylabel="relative FID, worst extractor", yscale="log")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data-dir",
        default=default_data_dir("mnist"),
        help="folder of the four original MNIST files",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, each")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=[*NAMES])
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/benchmarks"))
    parser.add_argument("--cas-fakes", type=int, default=60_000, help="0 leaves CAS out")
    parser.add_argument("--ceiling", action="store_true", help="how near the machine's ceiling")
    parser.add_argument("--sizes", action="store_true", help="what a step costs with larger images")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="count it, over the number of cores, instead of the clock's: the machine is not quiet",
    )
    options = parser.parse_args()
    if options.minutes <= 0 or options.seeds < 1:
        parser.error("--minutes must be above 0 and --seeds at least 1")
    if options.ceiling or options.sizes:
        from benchmarks import ceiling

        measure = ceiling.sizes if options.sizes else ceiling.main
        measure(processor_time=options.processor_time)
        return

    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    spawn = multiprocessing.get_context("spawn")

    def alone(function, *arguments):
        """In a fresh process: nothing of what came before is left in memory or in TensorFlow."""
        with spawn.Pool(1) as pool:
            return pool.apply(function, arguments)

    with tempfile.TemporaryDirectory() as scratch:
        data_path = pathlib.Path(scratch, "mnist.npz")
        alone(prepare, options.data_dir, data_path)
        for seed in range(options.seeds):
            for name in options.only:
                minutes, cas_fakes = options.minutes, options.cas_fakes
                arguments = name, seed, minutes, data_path, cas_fakes, options.processor_time
                results.append(alone(contend, *arguments))
                text = json.dumps(results, indent=2) + "\n"
                (options.out / "training.json").write_text(text)
    draw(results, options.out / "training.png")
    text = "\n\n".join(filter(None, [table(results), verdict(results, options.minutes)])) + "\n"
    (options.out / "training.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
