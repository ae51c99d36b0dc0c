"""How good is the gate itself? False rejections, false blessings, and what the intervals hold.

    python -m benchmarks.gate [MODEL] [--num-fakes N] [--good N] [--whole N] [--spoilt N]
                              [--worlds N]

MODEL is a generator that deserves its blessing (a SavedModel, a folder of versions, or an `.npz` of
images and labels). Without it the eval split stands for a perfect one. It is judged again and again
as it is, on `--num-fakes` fakes that are taken from a pool without replacement, with the classes of
the reference; and made worse on purpose in each way of KINDS, by the rows of the registry and the
thresholds of the Evaluator. A spoilt generator counts as refused at its first failed check.

Rates come with their 95 % intervals (Clopper and Pearson). `--worlds N` tells how often the
intervals of relative FID, and of FID compared with that of another generator, hold the mean of N
draws of fakes and real images.
"""

import argparse
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from scipy import ndimage, stats

from datasets import source
from datasets.data_config import DataConfig, default_data_dir
from datasets.examples import read_prepared
from judge import generation, measure, reference, targets, verdict
from judge.judge_config import JudgeConfig
from judge.registry import METRICS, Metric
from metrics import ink, neighbours, relative

# Asked last, because they take long.
_SLOW = ("outliers", "copies", "copies_blurred", "copies_features")
_SLOWEST = (
    *("class_coverage", "coverage", "recall", "repeats"),
    *("two_sample", "two_sample_binary", "two_sample_sure", "two_sample_binary_sure"),
)


def _effort(metric: Metric) -> int:
    """Ink first, which needs no extractor."""
    groups = ("ink", "outliers", "classes")
    quick = groups.index(metric.group) if metric.group in groups else 3
    return 5 if metric.key in _SLOWEST else 4 if metric.key in _SLOW else quick


def _some(images: np.ndarray, share: float, random, change: Callable) -> np.ndarray:
    """`images` with a share of them changed."""
    chosen = random.random(len(images)) < share
    images = images.copy()
    images[chosen] = change(images[chosen])
    return images


def _square(images, top, left, size, level):
    images = images.copy()
    images[:, top : top + size, left : left + size] = level
    return images


def _line(images, level=0):
    """Cut by a line three pixels wide, at half height."""
    images = images.copy()
    images[:, 13:16] = level
    return images


def _move(images, rows, columns):
    return ndimage.shift(images, (0, rows, columns, 0), order=0)


def _blur(images, sigma):
    return ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0))


def _fog(images, random):
    near = ndimage.grey_dilation(images, size=(1, 7, 7, 1)) > 0
    return np.where((images == 0) & near, random.integers(0, 6, images.shape), images)


# Ways to be worse: (images, classes asked for, train images of those classes, random) -> images.
KINDS: dict[str, Callable] = {
    "train images": lambda x, y, t, r: t,
    "train images, grey 3x3 square in the corner": lambda x, y, t, r: _square(t, 1, 1, 3, 128),
    "train images, white pixel in the middle": lambda x, y, t, r: _square(t, 14, 14, 1, 255),
    "train images, blurred": lambda x, y, t, r: _blur(t, 0.4),
    "train images, moved by one pixel": lambda x, y, t, r: _move(t, 0, 1),
    "5 % train images": lambda x, y, t, r: np.where(
        (r.random(len(x)) < 0.05)[:, None, None, None], t, x
    ),
    "white pixel in the middle": lambda x, y, t, r: _square(x, 14, 14, 1, 255),
    "black pixel in the middle": lambda x, y, t, r: _square(x, 14, 14, 1, 0),
    "2x2 mark in the corner": lambda x, y, t, r: _square(x, 1, 1, 2, 255),
    "faint 2x2 mark in a corner": lambda x, y, t, r: _square(x, 25, 25, 2, 40),
    "2 % with a mark in the corner": lambda x, y, t, r: _some(
        x, 0.02, r, lambda i: _square(i, 1, 1, 2, 255)
    ),
    "1 % blank": lambda x, y, t, r: _some(x, 0.01, r, lambda i: i * 0),
    "1 % white": lambda x, y, t, r: _some(x, 0.01, r, lambda i: i * 0 + 255),
    "1 % noise": lambda x, y, t, r: _some(
        x, 0.01, r, lambda i: r.integers(0, 256, i.shape, np.uint8)
    ),
    "1 % inverted": lambda x, y, t, r: _some(x, 0.01, r, lambda i: 255 - i),
    "5 % cut by a black line": lambda x, y, t, r: _some(x, 0.05, r, _line),
    "5 % struck through by a white line": lambda x, y, t, r: _some(
        x, 0.05, r, lambda i: _line(i, 255)
    ),
    "3 % turned by 90 degrees": lambda x, y, t, r: _some(
        x, 0.03, r, lambda i: np.rot90(i, axes=(1, 2))
    ),
    "2.5 % wrong labels": lambda x, y, t, r: _swap(x, 0.025, r),
    "10 % wrong labels": lambda x, y, t, r: _swap(x, 0.1, r),
    "one class collapsed to one image": lambda x, y, t, r: np.where(
        (y == 3)[:, None, None, None], x[y == 3][0], x
    ),
    "one class replaced by another": lambda x, y, t, r: _replace_class(x, y, 4, 9, r),
    "half of the images twice": lambda x, y, t, r: _twice(x, y),
    "blur, sigma 0.4": lambda x, y, t, r: _blur(x, 0.4),
    "salt, 0.2 % of pixels": lambda x, y, t, r: np.where(
        r.random(x.shape, np.float32) < 0.002, 255, x
    ),
    "fog around the strokes": lambda x, y, t, r: _fog(x, r),
    "grey veil of level 2": lambda x, y, t, r: np.maximum(x, 2),
    "contrast less by 3 %": lambda x, y, t, r: x * 0.97,
    "brighter": lambda x, y, t, r: np.minimum(x * 1.15, 255),
    "black and white": lambda x, y, t, r: np.where(x >= 128, 255, 0),
    "sixteen grey levels": lambda x, y, t, r: x // 16 * 17,
    "thicker strokes": lambda x, y, t, r: ndimage.grey_dilation(x, size=(1, 2, 2, 1)),
    "thinner strokes": lambda x, y, t, r: ndimage.grey_erosion(x, size=(1, 2, 2, 1)),
    "moved by one pixel": lambda x, y, t, r: _move(x, 1, 0),
    "turned by 6 degrees": lambda x, y, t, r: ndimage.rotate(
        x, 6, axes=(1, 2), reshape=False, order=1
    ),
    "mirrored": lambda x, y, t, r: x[:, :, ::-1],
    "noise on the ink": lambda x, y, t, r: np.where(x > 0, x + r.normal(0, 12, x.shape), 0),
    "frame of one grey pixel": lambda x, y, t, r: np.pad(
        x[:, 1:-1, 1:-1], [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=20
    ),
}


WORLD_FAKES, WORLD_FOLDS = 2_000, 5
# What the intervals are tried with besides the images as they are.
WORLDS: dict[str, Callable] = {
    "5 % cut by a black line": lambda x, y, t, r: _some(x, 0.05, r, _line),
    "30 % blurred, sigma 0.5": lambda x, y, t, r: _some(
        x, 0.3, r, lambda i: np.rint(_blur(i, 0.5)).astype(np.uint8)
    ),
}


def _swap(images, share, random):
    """A share of images trades places with others."""
    rows = np.flatnonzero(random.random(len(images)) < share * 10 / 9)
    images = images.copy()
    images[rows] = images[np.roll(rows, 1)]
    return images


def _replace_class(images, asked, label, by, random):
    images, (rows,) = images.copy(), np.nonzero(asked == label)
    images[rows] = images[random.choice(np.flatnonzero(asked == by), len(rows))]
    return images


def _twice(images, asked):
    images = images.copy()
    for label in np.unique(asked):
        (rows,) = np.nonzero(asked == label)
        half = len(rows) // 2
        images[rows[half : 2 * half]] = images[rows[:half]]
    return images


class Gate:
    """Draws from a pool, judged by the Evaluator's rows and thresholds."""

    def __init__(self, real: reference.Reference, config: JudgeConfig, pool, extractors) -> None:
        self.real, self.extractors = real, extractors
        self.settings = config.for_data(real.data.dataset).thresholds
        self.images, self.asked = pool
        self.counts = reference.apportion(real.class_counts(), real.num_fakes)

    def draw(self, random) -> np.ndarray:
        """Rows of the pool with the classes of the reference, none twice."""
        rows = [
            random.choice(np.flatnonzero(self.asked == c), count, replace=False)
            for c, count in enumerate(self.counts)
        ]
        return random.permutation(np.concatenate(rows))

    def measured(self, images: np.ndarray, asked: np.ndarray) -> measure.Measured:
        fakes = generation.Fakes.of(np.arange(len(images)), asked, images)
        return measure.Measured(fakes, self.real, self.extractors)

    @functools.cached_property
    def whole(self) -> measure.Measured:
        """The whole pool. What is measured image by image need not be measured for each draw."""
        return self.measured(self.images, self.asked)

    @functools.cached_property
    def nearest(self) -> neighbours.Neighbours:
        """The nearest train images of the whole pool."""
        return neighbours.neighbours(
            self.whole.features,
            self.images,
            self.real.train_features,
            self.real.train_images,
            neighbours.telling_places(self.images, self.real.sample),
        )

    def as_it_is(self, rows: np.ndarray) -> measure.Measured:
        """A draw, with what the pool knows about its images."""
        found = self.measured(self.images[rows], self.asked[rows])
        features, probabilities = self.whole.seen
        found.seen = {k: v[rows] for k, v in features.items()}, probabilities[rows]
        first, few = rows[: reference.SAMPLE], rows[: reference.MEMORY_FAKES]
        found.ink = {name: values[first] for name, values in self.ink.items()}
        found.nearest = neighbours.Neighbours(
            {name: values[few] for name, values in self.nearest.distances.items()},
            self.nearest.trimmed[few],
            self.nearest.closest[few],
        )
        return found

    @functools.cached_property
    def ink(self) -> dict[str, np.ndarray]:
        return ink.statistics(self.images)

    def train_like(self, asked: np.ndarray, random) -> np.ndarray:
        """Train images of the classes asked for, none twice."""
        result = np.empty((len(asked), *self.real.images.shape[1:]), np.uint8)
        for label in np.unique(asked):
            (mine,) = np.nonzero(asked == label)
            (rows,) = np.nonzero(self.real.train_labels == label)
            result[mine] = self.real.train_images[random.choice(rows, len(mine), replace=False)]
        return result

    def judge(self, measured: measure.Measured, *, slow: bool, first: bool) -> list[verdict.Check]:
        """The failed checks.

        Args:
          measured: what is judged.
          slow: whether the slowest rows are asked too.
          first: whether to stop at the first failed check.
        """
        failed = []
        for metric in sorted(METRICS, key=_effort):
            if metric.setting not in self.settings or (metric.key in _SLOWEST and not slow):
                continue
            value = metric.measure(measured)
            if value is None:
                continue
            value = value[0] if isinstance(value, tuple) else value
            real = measured.of_real(metric.key)
            check = verdict.against(metric, self.settings[metric.setting], value, real)
            if not check.passed:
                failed.append(check)
                if first:
                    break
        return failed


def _spoilt(spoil: Callable, *arguments) -> np.ndarray:
    """uint8 images, one of KINDS or WORLDS applied."""
    return np.clip(np.rint(spoil(*arguments)), 0, 255).astype(np.uint8)


def rate(count: int, total: int) -> str:
    """A share with its 95 % interval."""
    interval = stats.binomtest(count, total).proportion_ci(method="exact")
    return f"{count} of {total} ({100 * interval.low:.1f} to {100 * interval.high:.1f} %)"


def coverage(found: np.ndarray) -> str:
    """How often an interval holds the mean of all: rows of (value, low, high)."""
    truth = found[:, 0].mean()
    held = int(np.sum((found[:, 1] <= truth) & (truth <= found[:, 2])))
    deviations = np.mean(found[:, 2] - found[:, 1]) / 2 / found[:, 0].std(ddof=1)
    return f"| {truth:.3g} | {rate(held, len(found))} | {deviations:.2f} |"


def worlds(gate: Gate, count: int) -> dict[str, np.ndarray]:
    """Relative FID, and FID compared with the unspoilt, in `count` worlds.

    In each, WORLD_FAKES fakes and WORLD_FOLDS times as many train images are drawn, with
    replacement: the images at hand are the population.

    Returns:
      what -> float64 [count, 3]: value, low, high.
    """
    real, found = gate.real, {}
    counts = reference.apportion(real.class_counts(), WORLD_FAKES)
    features = {"as it is": gate.whole.features}
    for name, spoil in WORLDS.items():
        images = _spoilt(spoil, gate.images, gate.asked, None, np.random.default_rng(0))
        features[name] = gate.measured(images, gate.asked).features

    def drawn(labels: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [random.choice(np.flatnonzero(labels == c), n) for c, n in enumerate(counts)]
        )

    for number in range(count):
        random = np.random.default_rng(1000 + number)
        train = np.concatenate([drawn(real.train_labels) for _ in range(WORLD_FOLDS)])
        fakes, others = drawn(gate.asked), drawn(gate.asked)
        asked = gate.asked[fakes]
        for name, rows in real.train_features.items():
            of_real = relative.real_folds(
                rows[train], real.train_labels[train], WORLD_FAKES, counts, seed=number
            )
            good = features["as it is"][name]
            for what, seen in features.items():
                value = relative.relative_fid(seen[name][fakes], asked, of_real)
                results = {"relative FID": (value.value, value.low, value.high)}
                for rows_of, chosen in (("same", fakes), ("other", others)):
                    if what != "as it is" or chosen is not fakes:
                        results[f"FID less unspoilt, {rows_of} images"] = (
                            relative.paired_difference(
                                seen[name][fakes], good[chosen], asked, of_real
                            )
                        )
                for title, result in results.items():
                    found.setdefault(f"{what} | {title} | {name}", []).append(result)
    return {what: np.array(results) for what, results in found.items()}


def _pool(model: str | None, data, real: reference.Reference, size: int):
    if model is None:
        split = read_prepared(data, "eval")
        return split.images, split.labels
    target = targets.open_target(pathlib.Path(model), data.class_names)
    if target.images is not None:
        return target.images, target.labels
    asked = generation.ordered_labels(reference.apportion(real.class_counts(), size), 0)
    images = target.draw(generation.first_seed(0) + np.arange(size), asked)
    return generation.Fakes.of(np.arange(size), asked, images).images, asked


def main() -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("model", nargs="?", help="a good generator (default: the eval split)")
    parser.add_argument("--data-dir", default=default_data_dir("mnist"),
                        help="the original MNIST files")  # fmt: skip
    parser.add_argument("--cache-dir", help="where the judge's reference is kept")
    parser.add_argument("--num-fakes", type=int, default=10_000)
    parser.add_argument("--pool", type=int, default=30_000, help="fakes to draw from")
    parser.add_argument("--good", type=int, default=80, help="judgements of the good generator")
    parser.add_argument("--whole", type=int, default=3, help="of it, with the slowest metrics too")
    parser.add_argument("--spoilt", type=int, default=2, help="judgements of each spoilt one")
    parser.add_argument("--worlds", type=int, default=0, help="draws to try the intervals with")
    options = parser.parse_args()
    config = JudgeConfig(num_fakes=options.num_fakes)
    with tempfile.TemporaryDirectory() as scratch:
        data = source.resolve(
            DataConfig(dataset="mnist", data_dir=options.data_dir), pathlib.Path(scratch)
        )
        extractors = reference.load_extractors()
        real = reference.load(
            data,
            lambda split: read_prepared(data, split),
            extractors,
            options.num_fakes,
            options.cache_dir,
        )
        pool = _pool(options.model, data, real, options.pool)
    gate = Gate(real, config, pool, extractors)
    print("| generator | refused | by |\n| --- | --- | --- |", flush=True)
    for title, slow, count in (
        ("as it is, without the slowest metrics", False, options.good),
        ("as it is, all metrics", True, options.whole),
    ):
        refused, causes = 0, {}
        for number in range(count):
            measured = gate.as_it_is(gate.draw(np.random.default_rng(number)))
            failed = gate.judge(measured, slow=slow, first=False)
            refused += bool(failed)
            for check in failed:
                causes[check.name] = causes.get(check.name, 0) + 1
        if count:
            print(f"| {title} | {rate(refused, count)} | {_told(causes)} |", flush=True)
    blessed = 0
    for name, spoil in KINDS.items() if options.spoilt else ():
        count, causes = 0, {}
        for number in range(options.spoilt):
            random = np.random.default_rng(10_000 + number)
            rows = gate.draw(random)
            images, asked = gate.images[rows], gate.asked[rows]
            spoilt = _spoilt(spoil, images, asked, gate.train_like(asked, random), random)
            failed = gate.judge(gate.measured(spoilt, asked), slow=True, first=True)
            count += bool(failed)
            for check in failed:
                causes[check.name] = causes.get(check.name, 0) + 1
        blessed += options.spoilt - count
        print(f"| {name} | {count} of {options.spoilt} | {_told(causes)} |", flush=True)
    if options.spoilt:
        print(f"\nblessed though spoilt: {rate(blessed, len(KINDS) * options.spoilt)}")
    if options.worlds:
        print("\n| fakes | what | extractor | mean | held by the interval | half its width, sd |")
        print("| --- | --- | --- | ---: | --- | ---: |")
        for what, found in worlds(gate, options.worlds).items():
            print(f"| {what} {coverage(found)}", flush=True)
    print(f"\n{time.process_time():.0f} CPU s")


def _told(causes: dict[str, int]) -> str:
    ordered = sorted(causes.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ordered)


if __name__ == "__main__":
    main()
