"""How good is the gate itself? False rejections, false blessings, and ladders of corruption.

    python -m benchmarks.gate --data-dir FOLDER [--num-fakes 2000] [--repeats 200] [--json FILE]

Real MNIST images play the generators. The train split is cut in two: one half is what "was trained
on", the other half is the pool that the perfect generator draws from. A worse generator draws from
the same pool and spoils what it draws. Each repetition judges an independent draw against the bars
of a preset and against an independent draw of the perfect generator as the one blessed before.
Nothing is paired here, which is harder on the gate than the pipeline is: there, both draw from the
same latents.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from scipy import ndimage

from components.evaluator import evaluate, generation, measure, reference, verdict
from components.evaluator.config import PRESETS, JudgeConfig
from components.mnist_example_gen import source
from components.mnist_example_gen.config import DataConfig
from metrics import memorisation

LADDER_SIZE = 5_000


@dataclasses.dataclass(frozen=True)
class Corruption:
    """One way to be worse.

    Attributes:
      name: of the way.
      strengths: ascending; the ladder.
      judged: the strength at which false blessings are counted.
      images: (images, labels, strength, random) -> spoilt images; None: `choose` spoils.
      choose: (rows, labels of the pool, strength, random) -> other rows of the pool; None: as is.
      monotone: whether FID is meant to see it (it can't see copies).
    """

    name: str
    strengths: tuple[float, ...]
    judged: float
    images: Callable | None = None
    choose: Callable | None = None
    monotone: bool = True


def _blur(images, labels, strength, random):
    return ndimage.gaussian_filter(images.astype(np.float32), (0, strength, strength, 0))


def _salt(images, labels, strength, random):
    return np.where(random.random(images.shape) < strength, 255, images)


def _contrast(images, labels, strength, random):
    return images * (1.0 - strength)


def _random_images(images, labels, strength, random):
    noise = random.integers(0, 256, images.shape)
    return np.where((random.random(len(images)) < strength)[:, None, None, None], noise, images)


def _drop_class(rows, labels, strength, random):
    """A share `strength` of the threes become other digits."""
    lost = rows[(labels[rows] == 3) & (random.random(len(rows)) < strength)]
    others = np.flatnonzero(labels != 3)
    return np.concatenate([np.setdiff1d(rows, lost), random.choice(others, len(lost))])


def _collapse_class(rows, labels, strength, random):
    """A share `strength` of the threes are one and the same three."""
    threes = (labels[rows] == 3) & (random.random(len(rows)) < strength)
    return np.where(threes, np.flatnonzero(labels == 3)[0], rows)


CORRUPTIONS = (
    Corruption("dropped class (share of its images lost)", (0.25, 0.5, 0.75, 1.0), 1.0,
               choose=_drop_class),
    Corruption("collapsed class (share of its images alike)", (0.25, 0.5, 0.75, 1.0), 1.0,
               choose=_collapse_class),
    Corruption("blur (sigma in pixels)", (0.4, 0.6, 0.8, 1.0), 0.6, images=_blur),
    Corruption("salt noise (share of pixels)", (0.005, 0.01, 0.02, 0.04), 0.01, images=_salt),
    Corruption("contrast (loss)", (0.1, 0.2, 0.3, 0.4), 0.2, images=_contrast),
    Corruption("random images (share)", (0.01, 0.02, 0.05, 0.1), 0.05, images=_random_images),
    Corruption("copies of training images (share)", (0.1, 0.25, 0.5, 1.0), 0.1, monotone=False),
)  # fmt: skip


@dataclasses.dataclass
class Pool:
    """Images that a generator can draw, seen once.

    Attributes:
      labels: int64 [N], the classes that they are meant to be of.
      features, probabilities: float32, of the extractor.
      to_train: float64 [N], pixel distance to the nearest training image.
    """

    labels: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray
    to_train: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray, real: reference.Reference) -> "Pool":
        seen = reference.look(images, *generation.extractors(None))
        to_train, _ = memorisation.nearest(
            memorisation.pixel_rows(images), memorisation.pixel_rows(real.train_images)
        )
        return cls(labels, *seen, to_train)

    def join(self, other: "Pool") -> "Pool":
        names = [field.name for field in dataclasses.fields(Pool)]
        return Pool(*(np.concatenate([getattr(p, n) for p in (self, other)]) for n in names))

    def fakes(self, rows: np.ndarray, asked: np.ndarray) -> generation.Fakes:
        """The draw of these rows, tallied as the Evaluator does."""
        groups = []
        for part in np.array_split(np.arange(len(rows)), generation.GROUPS):
            predicted = self.probabilities[rows[part]].argmax(axis=1)
            groups.append(
                generation.Tally(
                    drawn=len(part),
                    not_finite=0,
                    moments=generation.frechet.FeatureStats.of(self.features[rows[part]]),
                    confusion=generation.labels_lib.confusion(asked[part], predicted, 10),
                )
            )
        sample = generation.Sample(
            seeds=rows,
            asked=asked,
            images=np.zeros((len(rows), 0)),
            features=self.features[rows],
            probabilities=self.probabilities[rows],
        )
        return generation.Fakes(groups, sample)


class Gate:
    """The judge's bars and baseline check on draws from pools."""

    def __init__(self, real: reference.Reference, good: Pool, config: JudgeConfig) -> None:
        self.real, self.good, self.config = real, good, config
        self.counts = reference.apportion(real.class_counts(), real.num_fakes)

    def draw(self, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows with the classes of the reference, in mixed order, none twice."""
        rows = [
            random.choice(np.flatnonzero(labels == c), count, replace=False)
            for c, count in enumerate(self.counts)
        ]
        return random.permutation(np.concatenate(rows))

    def judge(self, pool: Pool, corruption: Corruption | None, random) -> list[str]:
        """The checks that a draw from `pool` misses; [] is a blessing."""
        rows = asked_rows = self.draw(pool.labels[: len(self.good.labels)], random)
        if corruption is not None and corruption.choose is not None:
            rows = corruption.choose(rows, pool.labels, corruption.judged, random)
        elif corruption is not None and corruption.images is None:
            # The training images lie behind the good ones in this pool, class by class alike.
            copied = random.random(len(rows)) < corruption.judged
            behind = self.draw_behind(pool, rows, random)
            rows = np.where(copied, behind, rows)
        fakes = pool.fakes(rows, pool.labels[asked_rows])
        before = self.draw(self.good.labels, random)
        baseline = self.good.fakes(before, self.good.labels[before])
        figures = measure.fid_figures(fakes, self.real, self.config.confidence)
        figures |= measure.variety_figures(fakes, self.real, conditional=True)
        figures |= measure.class_figures(fakes, self.real, conditional=True)[0]
        near = memorisation.memorisation(pool.to_train[rows], self.real.to_train_pixels)
        figures["copies"] = near.suspect_share
        checks = verdict.bars(self.config, figures)
        comparison = measure.compare(fakes, baseline, self.real, self.config.confidence)
        checks.append(verdict.against_baseline(self.config, comparison))
        return [check.name for check in checks if not check.passed]

    def draw_behind(self, pool: Pool, rows: np.ndarray, random) -> np.ndarray:
        """For each row, a training image of its class."""
        start = len(self.good.labels)
        behind = np.empty_like(rows)
        for label in np.unique(pool.labels[rows]):
            of_class = start + np.flatnonzero(pool.labels[start:] == label)
            mine = pool.labels[rows] == label
            behind[mine] = random.choice(of_class, mine.sum())
        return behind


def main() -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=pathlib.Path, help="the original MNIST files")
    parser.add_argument("--preset", choices=[p for p in PRESETS if p != "smoke"],
                        default="standard")  # fmt: skip
    parser.add_argument("--num-fakes", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--json", type=pathlib.Path, help="write the result there too")
    arguments = parser.parse_args()
    config = JudgeConfig(**{**PRESETS[arguments.preset], "num_fakes": arguments.num_fakes})
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data = source.resolve(
            DataConfig(dataset="mnist", data_dir=arguments.data_dir), pathlib.Path(folder)
        )
        train, test = (evaluate.read_split(data, split) for split in ("train", "test"))
    half = len(train.labels) // 2
    random = np.random.default_rng(0)
    real = reference.build(
        reference.Dataset(data.name, data.version, data.fingerprint, 10, data.class_names),
        *generation.extractors(None),
        test,
        reference.RealSplit(train.images[:half], train.labels[:half]),
        config.num_fakes,
    )
    images, labels = train.images[half:], train.labels[half:]
    good = Pool.of(images, labels, real)
    trained_on = Pool(
        real.train_labels,
        real.train_features,
        reference.look(real.train_images, *generation.extractors(None))[1],
        np.zeros(half),
    )
    gate = Gate(real, good, config)
    result: dict = {"preset": arguments.preset, "num_fakes": config.num_fakes, "gate": []}

    def count(name: str, pool: Pool, corruption: Corruption | None) -> None:
        missed = [gate.judge(pool, corruption, random) for _ in range(arguments.repeats)]
        blessed = sum(not names for names in missed)
        by = {
            n: sum(n in names for names in missed) for n in sorted({n for m in missed for n in m})
        }
        result["gate"].append(
            {
                "generator": name,
                "strength": corruption.judged if corruption else None,
                "judged": len(missed),
                "blessed": blessed,
                "missed": by,
            }
        )
        strength = f" at {corruption.judged:g}" if corruption else ""
        print(f"{name}{strength}: blessed {blessed} of {len(missed)}; missed {by}", flush=True)

    count("the perfect generator again", good, None)
    ladders = []
    for corruption in CORRUPTIONS:
        pool = good
        if corruption.images is not None:
            spoilt = corruption.images(images, labels, corruption.judged, random)
            pool = Pool.of(np.clip(np.rint(spoilt), 0, 255).astype(np.uint8), labels, real)
        elif corruption.choose is None:
            pool = good.join(trained_on)
        count(corruption.name, pool, corruption)
        if corruption.monotone:
            ladder = [0.0, *corruption.strengths]
            fids = [_ladder_fid(corruption, s, images, labels, good, real) for s in ladder]
            rises = all(a < b for a, b in itertools.pairwise(fids))
            ladders.append(
                {"corruption": corruption.name, "strengths": ladder, "fid": fids, "rises": rises}
            )
            shown = ", ".join(f"{s:g}: {f:.3g}" for s, f in zip(ladder, fids, strict=True))
            print(f"  ladder of FID, {'rises' if rises else 'DOES NOT RISE'}: {shown}", flush=True)
    result |= {"ladders": ladders, "seconds": round(time.monotonic() - started, 1)}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{result['seconds']} s")


def _ladder_fid(
    corruption: Corruption,
    strength: float,
    images: np.ndarray,
    labels: np.ndarray,
    good: Pool,
    real: reference.Reference,
) -> float:
    """FID of the same images at one strength."""
    random = np.random.default_rng(1)
    rows = np.arange(LADDER_SIZE)
    if corruption.choose is not None:
        seen = good.features[corruption.choose(rows, labels, strength, random)]
    elif strength == 0:
        seen = good.features[rows]
    else:
        spoilt = corruption.images(images[rows], labels[rows], strength, random)
        spoilt = np.clip(np.rint(spoilt), 0, 255).astype(np.uint8)
        seen = reference.look(spoilt, *generation.extractors(None))[0]
    return generation.frechet.frechet_distance_from_features(seen, real.features)


if __name__ == "__main__":
    main()
