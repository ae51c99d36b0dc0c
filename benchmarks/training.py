"""This trainer beside a naive recipe and two tutorials: same data, same minutes, same judge.

    python -m benchmarks.training [--data-dir DIR] [--minutes 10] [--only ours naive ...]
                                  [--seeds 1] [--out DIR] [--cas-fakes 60000] [--processor-time]
    python -m benchmarks.training --ceiling [--processor-time]

Each trains alone, in a process of its own, on the 50,000 images of the train split. At five marks
on the way it is judged: relative FID of 10,000 fakes to the train split by each pinned extractor
(the table shows the worst), conditional accuracy, and CAS, the accuracy on the real test split of a
classifier trained on fakes only. Minutes are of training: tracing counts, judging
does not. With `--processor-time` they are processor minutes over the number of cores, for a
machine that does other work too; who leaves cores idle gains by it. Prints a table and writes
`training.md`, `training.json` and the curves to `--out`.

Our learning rate falls over the length of a run, so one run of ten minutes does not show what one
of four would reach. `ours` is therefore trained again for 40 % of the minutes too: its marks on the
way to 10 are those of the long run, `ours_short` ends at 4; `ours_shifted` is as long as `ours`
and shows the discriminator shifted images, as the preset `quality` does. Their steps are as many
as the speed so far lets fit, counted again at each mark; the real minutes stand in the table.

`--ceiling` measures instead how much of the time of a training step the convolutions and dense
layers would take alone, and where the rest goes.
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
SHORT = 0.4  # ours_short's share of the minutes
# Ours, and what each changes in the settings of `standard`.
OURS = {"ours": (), "ours_short": (), "ours_shifted": ("augment_share",)}
OTHERS = ("naive", "naive_r1", "tensorflow_tutorial", "keras_example")
NAMES = {
    "ours": "this trainer",
    "ours_short": "this trainer, a shorter run",
    "ours_shifted": "this trainer with the shifts of quality",
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
        self._extractors = load_extractors(None)
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
      of_quality: settings that it has from `quality` instead.
    """

    conditional = True

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        seed: int,
        minutes: float,
        clock: Callable[[], float],
        of_quality: Sequence[str] = (),
    ):
        import tensorflow as tf

        from common.images import to_floats
        from trainer.training_config import preset

        tf.config.experimental.enable_op_determinism()  # as `train` does
        self._data = (to_floats(images.astype(np.float32)), labels)
        self._seed = seed
        self._settings = preset("standard") | {name: preset("quality")[name] for name in of_quality}
        self._left = 60 * minutes  # seconds
        speed, tracing = self._speed(min(10.0, 6.0 * minutes), clock)
        self._new_loop(max(1, round(speed * (self._left - tracing))))
        self.batch_size = self._loop.config.batch_size
        self._chunk = max(1, round(speed / 2))

    def _new_loop(self, steps: int) -> None:
        from trainer.training import LOOPS
        from trainer.training_config import make_config

        config = make_config(**{**self._settings, "steps": steps})
        self._loop = LOOPS[config.model](*self._data, config, 10, self._seed)
        self.generator, self.discriminator = self._loop.generator, self._loop.discriminator

    def _change_length(self, steps: int) -> None:
        """Goes on as a run of `steps` steps would: the learning rate ends with the last."""
        state = {name: variable.numpy() for name, variable in self._loop.state().items()}
        self._new_loop(steps)
        for name, variable in self._loop.state().items():
            variable.assign(state[name])

    def _speed(self, seconds: float, clock: Callable[[], float]) -> tuple[float, float]:
        """Steps a second, and seconds that the first step takes."""
        self._new_loop(1000)
        began = clock()
        self._run(1)
        tracing = clock() - began
        made = self.steps
        began = clock()
        while clock() - began < seconds:
            self._run(8)
        return (self.steps - made) / (clock() - began), tracing

    @property
    def steps(self) -> int:
        return int(self._loop.step.numpy())

    def _run(self, count: int) -> None:
        import tensorflow as tf

        self._loop.run(tf.constant(count, tf.int64))

    def advance(self, seconds: float, clock: Callable[[], float]) -> float:
        began, made = clock(), self.steps
        while (elapsed := clock() - began) < seconds:
            left = self._loop.config.steps - self.steps
            if not left:
                break
            self._run(min(left, self._chunk if self.steps else 1))
        self._left -= elapsed
        # The speed of a shared machine changes. Tracing a loop again costs seconds, which count.
        fit = self.steps + round((self.steps - made) / elapsed * self._left)
        if self._left > 30 and abs(fit / self._loop.config.steps - 1) > 0.03:
            self._change_length(fit)
        self._loop.fit_grey_levels()  # as if it were exported now
        return clock() - began

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
    length = minutes * SHORT if name == "ours_short" else minutes
    clock = processor_clock if processor_time else time.monotonic
    if name in OURS:
        contender = Ours(*train, seed, length, clock, OURS[name])
    else:
        contender = CONTENDERS[name](*train, seed)
    marks, trained = [], 0.0
    for mark in (minutes * (i + 1) / MARKS for i in range(MARKS)):
        if mark > length * 1.001:
            break
        # Our last steps are made whenever they end: the learning rate is 0 with the last of them.
        last = name in OURS and mark > length * 0.999
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

    def at(name: str, mark: float) -> dict[str, float] | None:
        found = [
            m["relative_fid"]
            for result in results
            if result["name"] == name
            for m in result["marks"]
            if abs(m["mark"] - mark) < 1e-6
        ]
        return {eye: float(np.mean([m[eye] for m in found])) for eye in found[0]} if found else None

    lines = []
    lengths = {"ours_short": minutes * SHORT, "ours": minutes, "ours_shifted": minutes}
    for other in ("naive", "naive_r1"):
        theirs = at(other, minutes)
        for name, mark in lengths.items():
            mine = at(name, mark)
            if mine and theirs:
                shares = ", ".join(f"{mine[eye] / theirs[eye]:.2f} ({eye})" for eye in mine)
                lines.append(
                    f"- {NAMES[name]}, {mark:g} min, over {NAMES[other]}, {minutes:g} min: {shares}"
                )
    return "\n".join(lines)


def draw(results: Sequence[dict], out: pathlib.Path) -> None:
    """The curves: `training.png` (relative FID) and `training_cas.png`."""
    from judge import plots

    for file, label, value in (
        ("training.png", "relative FID, worst extractor", worst),
        ("training_cas.png", "CAS: real test images read, %", lambda mark: 100 * mark["cas"]),
    ):
        is_fid = value is worst
        series = {}
        for name in dict.fromkeys(result["name"] for result in results):
            runs = [result["marks"] for result in results if result["name"] == name]
            points = [
                (np.mean([m["minutes"] for m in marks]), np.mean([value(m) for m in marks]))
                for marks in zip(*runs, strict=True)
                if is_fid or all("cas" in m for m in marks)
            ]
            if points:
                series[NAMES[name]] = tuple(zip(*points, strict=True))
        if series:
            plots.lines(
                out / file,
                series,
                xlabel="minutes of training",
                ylabel=label,
                log=is_fid,
                levels={"as good as real images": 1.0} if is_fid else None,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data-dir",
        default=default_data_dir("mnist"),
        help="folder of the four original MNIST files",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, each")
    parser.add_argument("--only", nargs="+", choices=(*OURS, *OTHERS), default=(*OURS, *OTHERS))
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/benchmarks"))
    parser.add_argument("--cas-fakes", type=int, default=60_000, help="0 leaves CAS out")
    parser.add_argument("--ceiling", action="store_true", help="how near the machine's ceiling")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="count it, over the number of cores, instead of the clock's: the machine is not quiet",
    )
    options = parser.parse_args()
    if options.minutes <= 0 or options.seeds < 1:
        parser.error("--minutes must be above 0 and --seeds at least 1")
    if options.ceiling:
        from benchmarks import ceiling

        ceiling.main(processor_time=options.processor_time)
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
    draw(results, options.out)
    text = "\n\n".join(filter(None, [table(results), verdict(results, options.minutes)])) + "\n"
    (options.out / "training.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
