"""How good is the gate itself? False rejections, false blessings, and ladders of corruption.

    python -m benchmarks.gate MODEL [--data-dir FOLDER] [--repeats 200] [--only blur ...]
                              [--jobs N] [--json FILE]

MODEL is a generator that deserves its blessing (a SavedModel, or a folder of versions). It is
judged again and again as it is, and made worse on purpose in seven ways, each at several
strengths. Every judgement is of `--num-fakes` fakes that are drawn anew, by the bars and functions
of the Evaluator.

To draw anew is cheap here: a large pool of fakes is generated once, and each judgement takes its
own fakes from it without replacement, with the classes of the reference. Two judgements share some
fakes then; with a pool six times the draw their figures spread about a tenth less than those of
wholly fresh draws (a factor of the root of 1 - 1/6). What spoils pixels is applied to the whole
pool once. Each spoilt judgement takes other fakes; the class that is dropped or collapsed is
another each time.

Two situations are judged. "first": there is no blessed generator, only bars and guards decide.
"again": the generator as it was is the blessed one; both draw from the same latents, as in the
pipeline. Unspoilt, it would be held against itself there, and the difference be 0: instead it is
held against a twin that is as good and draws from other latents, so that pairing can't help. And
it is judged by other real images: as many as the test split has, chosen anew each time from the
test and eval splits, on neither of which it was trained, floor included.

What takes long is measured only where the quicker checks pass: pixels, near copies, coverage
within classes, coverage and recall, the interval against the blessed generator. "missed" counts
what was measured. A strength that is blessed `MISSED` times or more in a situation, after the first
`GIVEN_UP` judgements, is not judged further in it: "again" is then judged as if "first" had passed.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import multiprocessing
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Collection
from typing import ClassVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from scipy import ndimage

from common.images import to_uint8
from datasets import source
from datasets.data_config import DataConfig, default_data_dir
from datasets.examples import Split, read_prepared
from judge import evaluate, generation, measure, reference, verdict
from judge.judge_config import JudgeConfig
from metrics import frechet, labels, memorisation

# A strength of which the gate lets more than 1 % through need not be judged 200 times to know so:
# it is left alone after GIVEN_UP judgements, or later, when MISSED were blessings.
GIVEN_UP = 20
MISSED = 4
OTHERS = 4  # the part of the repeats that is judged by other real images, which takes long


@dataclasses.dataclass
class Pool:
    """Images that a generator can draw, looked at once.

    Attributes:
      images: uint8 [N, 28, 28, 1].
      asked: int64 [N], the classes asked for.
      features: float32 [N, D].
      predicted: int64 [N], what the classifier sees.
      train: uint8 [M, 28, 28, 1], the images that it might have copied.
    """

    images: np.ndarray
    asked: np.ndarray
    features: np.ndarray
    predicted: np.ndarray
    train: np.ndarray

    NAMES: ClassVar = ("images", "asked", "features", "predicted")

    @classmethod
    def of(cls, images: np.ndarray, asked: np.ndarray, train: np.ndarray) -> "Pool":
        """Looks at images."""
        features, probabilities = reference.look(images, *generation.extractors(None))
        return cls(images, asked, features, probabilities.argmax(axis=1), train)

    @functools.cached_property
    def to_train(self) -> np.ndarray:
        """float64 [N], pixel distance to the nearest of `train`; takes as long as all the rest."""
        return memorisation.nearest(
            memorisation.pixel_rows(self.images), memorisation.pixel_rows(self.train)
        )[0]

    def __len__(self) -> int:
        return len(self.asked)

    def join(self, other: "Pool") -> "Pool":
        """One pool of both, `other` behind."""
        arrays = (np.concatenate([getattr(p, n) for p in (self, other)]) for n in self.NAMES)
        joined = Pool(*arrays, self.train)
        joined.to_train = np.concatenate([self.to_train, other.to_train])
        return joined

    def groups(self, rows: np.ndarray) -> list[frechet.FeatureStats]:
        """Moments of the groups that the Evaluator makes of a draw."""
        parts = np.array_split(rows, generation.GROUPS)
        return [frechet.FeatureStats.of(self.features[part]) for part in parts]


@dataclasses.dataclass(frozen=True)
class Corruption:
    """One way to be worse, by pixels or by choice.

    Attributes:
      name: of the way.
      strengths: ascending, with what they are.
      unit: what a strength is.
      spoil: (images, strength, random) -> spoilt images; None where `choose` spoils.
      choose: (rows drawn, pool, strength, random, where extra images begin) -> rows drawn instead.
      extra: images that `choose` takes from, behind those of the pool: "train", "noise" or "".
      seen: whether FID is meant to rise with it (copies of real images do not raise it).
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    spoil: Callable | None = None
    choose: Callable | None = None
    extra: str = ""
    seen: bool = True


def _blur(images, strength, random):
    return ndimage.gaussian_filter(images.astype(np.float32), (0, strength, strength, 0))


def _salt(images, strength, random):
    return np.where(random.random(images.shape, np.float32) < strength, 255, images)


def _contrast(images, strength, random):
    return images * (1.0 - strength)


def _drop_class(rows, pool, strength, random, behind):
    """Who asks for one class gets, a share `strength` of the time, another."""
    asked = pool.asked[rows]
    label = random.integers(asked.max() + 1)
    lost = (asked == label) & (random.random(len(rows)) < strength)
    others = np.setdiff1d(np.flatnonzero(pool.asked[:behind] != label), rows)
    rows = rows.copy()
    rows[lost] = random.choice(others, lost.sum(), replace=False)
    return rows


def _collapse_class(rows, pool, strength, random, behind):
    """A share `strength` of one class is one and the same image."""
    asked = pool.asked[rows]
    label = random.integers(asked.max() + 1)
    alike = (asked == label) & (random.random(len(rows)) < strength)
    return np.where(alike, random.choice(rows[asked == label]), rows)


def _replace(rows, pool, strength, random, behind):
    """A share `strength` of all images is taken from those behind the pool."""
    random_rows = behind + random.choice(len(pool) - behind, len(rows), replace=False)
    return np.where(random.random(len(rows)) < strength, random_rows, rows)


def _replace_in_class(rows, pool, strength, random, behind):
    """The same with images of the class asked for."""
    result = rows.copy()
    swapped = random.random(len(rows)) < strength
    for label in np.unique(pool.asked[rows]):
        mine = swapped & (pool.asked[rows] == label)
        of_class = behind + np.flatnonzero(pool.asked[behind:] == label)
        result[mine] = random.choice(of_class, mine.sum())
    return result


CORRUPTIONS = (
    Corruption("dropped class", "share of it lost", (0.1, 0.2, 0.35, 0.5, 1.0),
               choose=_drop_class),
    Corruption("collapsed class", "share of it alike", (0.1, 0.25, 0.5, 0.75, 1.0),
               choose=_collapse_class),
    Corruption("blur", "sigma, pixels", (0.3, 0.4, 0.5, 0.6, 0.8), spoil=_blur),
    Corruption("salt noise", "share of pixels", (0.002, 0.005, 0.01, 0.02), spoil=_salt),
    Corruption("contrast", "share lost", (0.02, 0.05, 0.1, 0.2), spoil=_contrast),
    Corruption("copies of train images", "share of fakes", (0.02, 0.05, 0.1, 0.25),
               choose=_replace_in_class, extra="train", seen=False),
    Corruption("random images", "share of fakes", (0.005, 0.01, 0.02, 0.05),
               choose=_replace, extra="noise"),
)  # fmt: skip


class Gate:
    """The judge's checks on draws from pools; what decides is `measure` and `verdict`."""

    def __init__(self, real: reference.Reference, config: JudgeConfig) -> None:
        self.real = real
        self.config = config.for_data(real.data.dataset)
        self.counts = reference.apportion(real.class_counts(), real.num_fakes)
        self.moments = frechet.FeatureStats.of(real.features)

    def draw(self, asked: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows with the classes of the reference, in mixed order, none twice."""
        rows = [
            random.choice(np.flatnonzero(asked == c), count, replace=False)
            for c, count in enumerate(self.counts)
        ]
        return random.permutation(np.concatenate(rows))

    def first(
        self, pool: Pool, rows: np.ndarray, asked: np.ndarray, *, quick: bool = False
    ) -> tuple[list[str], dict]:
        """Judges a draw by bars alone; `quick` leaves out what takes long.

        Returns:
          the checks that it misses, and its figures.
        """
        real = self.real
        fakes = _fakes(pool, rows, asked, real.data.num_classes)
        counts = fakes.total.confusion

        def copies() -> dict:
            near = pool.to_train[rows][: reference.MEMORY_SAMPLE]
            found = memorisation.memorisation(near, real.to_train_pixels)
            return {"copies": found.suspect_share}

        def class_coverage() -> dict:
            found = reference.class_coverage(real.features, real.labels, pool.features[rows], asked)
            return {"class_coverage": min(found.values())}

        figures = {
            "fid_ratio": frechet.frechet_distance_between(fakes.total.moments, self.moments)
            / real.floor,
            "class_share": labels.class_balance(
                counts.sum(axis=0), labels.label_histogram(real.predicted, real.data.num_classes)
            ).smallest_ratio,
            "accuracy": labels.asked_accuracy(counts).accuracy,
            "reference_accuracy": real.accuracy,
        }
        # What is not measured yet is what real images have, which misses no bar.
        assumed = {"copies": 0.0}
        for name, value in real.real_figures.items():
            assumed |= {name: value, f"real_{name}": value}
        measurements = [
            lambda: {},
            lambda: measure.pixel_figures(fakes, real, conditional=False),
            copies,
            class_coverage,
            lambda: measure.variety_figures(fakes, real, conditional=True),
        ]
        for measured in measurements[:1] if quick else measurements:
            figures |= measured()
            checks = verdict.bars(self.config, {**assumed, **figures})
            missed = [check.name for check in checks if not check.passed]
            if missed:
                break
        return missed, figures

    def against(
        self, pool: Pool, rows: np.ndarray, blessed: Pool, blessed_rows: np.ndarray
    ) -> list[str]:
        """["regression"] if a draw is credibly worse than one of the blessed generator, else []."""
        fakes, baseline = (
            generation.Fakes([generation.Tally(g.n, 0, g, np.zeros((1, 1))) for g in groups], None)
            for groups in (pool.groups(rows), blessed.groups(blessed_rows))
        )
        comparison = measure.compare(fakes, baseline, self.real, self.config.confidence)
        check = verdict.against_baseline(self.config, comparison)
        return [] if check.passed else [check.name]


def _fakes(pool: Pool, rows: np.ndarray, asked: np.ndarray, num_classes: int) -> generation.Fakes:
    """A draw as the Evaluator knows it, in one group."""
    sample = generation.Sample(
        seeds=rows,
        asked=asked,
        images=pool.images[rows],
        features=pool.features[rows],
        probabilities=np.zeros((len(rows), 0)),
    )
    whole = generation.Tally(
        drawn=len(rows),
        not_finite=0,
        moments=frechet.FeatureStats.of(sample.features),
        confusion=labels.confusion(asked, pool.predicted[rows], num_classes),
    )
    return generation.Fakes([whole], sample)


class OtherReals:
    """References of other real images: halves of the test and eval splits together."""

    def __init__(self, real: reference.Reference, split: Split) -> None:
        self.real = real
        seen = Pool.of(split.images, split.labels, real.train_images)
        mine = Pool.of(real.images, real.labels, real.train_images)
        self.all = mine.join(seen)

    def choose(self, random: np.random.Generator) -> reference.Reference:
        """One of them, with its own floor."""
        counts = self.real.class_counts()
        rows = np.concatenate(
            [
                random.choice(np.flatnonzero(self.all.asked == c), count, replace=False)
                for c, count in enumerate(counts)
            ]
        )
        real, split = self.real, Split(self.all.images[rows], self.all.asked[rows])
        return dataclasses.replace(
            real,
            images=split.images,
            labels=split.labels,
            features=self.all.features[rows],
            predicted=self.all.predicted[rows],
            to_train_pixels=self.all.to_train[random.permutation(rows)[: reference.MEMORY_SAMPLE]],
            **reference.against_real(
                split,
                self.all.features[rows],
                Split(real.train_images, real.train_labels),
                real.train_features,
                real.num_fakes,
                real.data.num_classes,
            ),
        )


@dataclasses.dataclass
class Count:
    """What became of one generator.

    Attributes:
      name, unit, strength: of the corruption; strength 0 is the generator as it is.
      judged: situation to how often it was judged.
      blessed: situation to how often it was blessed.
      missed: check to how often it was missed.
      figures: those of every judgement.
    """

    name: str
    unit: str = ""
    strength: float = 0.0
    judged: dict[str, int] = dataclasses.field(default_factory=dict)
    blessed: dict[str, int] = dataclasses.field(default_factory=dict)
    missed: dict[str, int] = dataclasses.field(default_factory=dict)
    figures: list[dict] = dataclasses.field(default_factory=list)

    @property
    def fid(self) -> float:
        """Mean FID over the floor."""
        return float(np.mean([figures["fid_ratio"] for figures in self.figures]))

    def given_up(self, situation: str) -> bool:
        """Whether it is plain that the gate lets it through too often."""
        return self.judged.get(situation, 0) >= GIVEN_UP and self.blessed[situation] >= MISSED

    def add(self, outcome: dict[str, list[str]], figures: dict) -> None:
        """Counts one judgement: situation to the checks that were missed."""
        self.figures.append(figures)
        for situation, missed in outcome.items():
            self.judged[situation] = self.judged.get(situation, 0) + 1
            self.blessed[situation] = self.blessed.get(situation, 0) + (not missed)
        for name in {name for missed in outcome.values() for name in missed}:
            self.missed[name] = self.missed.get(name, 0) + 1

    def line(self) -> str:
        """A line of the README's table."""
        judged = len(self.figures)
        what = f"{self.name}, {self.unit}" if self.unit else self.name
        blessed = [f"{times} of {self.judged[name]}" for name, times in self.blessed.items()]
        missed = sorted(self.missed.items(), key=lambda item: -item[1])
        said = [name if n == judged else f"{name} ({n})" for name, n in missed]
        blessed += [""] * (2 - len(blessed))
        cells = [what, f"{self.strength:g}", f"{self.fid:.2f}", *blessed, ", ".join(said)]
        return f"| {' | '.join(cells)} |"


@dataclasses.dataclass(frozen=True)
class Bench:
    """What a worker needs: the reference is in the cache, the pool of fakes in a file.

    Attributes:
      folder: where cache and pool lie.
      data: the data set, prepared.
      config: the bars.
      repeats: judgements of each generator.
    """

    folder: pathlib.Path
    data: source.DataSource
    config: JudgeConfig
    repeats: int

    @functools.cached_property
    def gate(self) -> Gate:
        data = self.data
        real = reference.load(
            reference.Dataset(
                data.name, data.version, data.fingerprint, data.num_classes, data.class_names
            ),
            lambda split: read_prepared(data, split),
            *generation.extractors(None),
            self.config.num_fakes,
            str(self.folder),
        )
        return Gate(real, self.config)

    @functools.cached_property
    def good(self) -> Pool:
        with np.load(self.folder / "pool.npz") as arrays:
            pool = Pool(*(arrays[n] for n in Pool.NAMES), self.gate.real.train_images)
            pool.to_train = arrays["to_train"]
        return pool

    def draw_pool(self, model: str, size: int) -> None:
        """Draws the fakes and looks at them."""
        real = self.gate.real
        generator = evaluate.open_target(pathlib.Path(model), self.data.class_names)
        asked = generation.ordered_labels(reference.apportion(real.class_counts(), size), 0)
        images = to_uint8(generator.draw(generation.first_seed(0) + np.arange(size), asked))
        pool = Pool.of(images, asked, real.train_images)
        arrays = {name: getattr(pool, name) for name in (*Pool.NAMES, "to_train")}
        np.savez(self.folder / "pool.npz", **arrays)

    def as_it_is(self) -> Count:
        """The generator as it is, alone and against its twin."""
        gate, good, random = self.gate, self.good, np.random.default_rng(1)
        count = Count("as it is")
        for _ in range(self.repeats):
            rows = gate.draw(good.asked, random)
            missed, figures = gate.first(good, rows, good.asked[rows])
            twin = gate.draw(good.asked, random)
            again = missed + gate.against(good, rows, good, twin)
            count.add({"first": missed, "again": again}, figures)
        return count

    def by_others(self) -> Count:
        """The generator as it is, by other real images each time."""
        good, random = self.good, np.random.default_rng(1)
        others = OtherReals(self.gate.real, read_prepared(self.data, "eval"))
        count = Count("as it is, by other real images")
        for _ in range(-(-self.repeats // OTHERS)):
            gate = Gate(others.choose(random), self.config)
            rows = gate.draw(good.asked, random)
            missed, figures = gate.first(good, rows, good.asked[rows])
            count.add({"first": missed}, figures)
        return count

    def made_worse(self, number: int, strength: float) -> Count:
        """The generator made worse in the way CORRUPTIONS[number]."""
        gate, good, random = self.gate, self.good, np.random.default_rng(2)
        corruption, train = CORRUPTIONS[number], gate.real.train_images
        count, pool = Count(corruption.name, corruption.unit, strength), good
        if corruption.spoil is not None:
            spoilt = [
                np.clip(np.rint(corruption.spoil(part, strength, random)), 0, 255).astype(np.uint8)
                for part in np.array_split(good.images, 10)
            ]
            pool = Pool.of(np.concatenate(spoilt), good.asked, train)
        elif corruption.extra == "noise":
            noise = random.integers(0, 256, (gate.real.num_fakes, *train.shape[1:]), np.uint8)
            pool = good.join(Pool.of(noise, good.asked[: len(noise)], train))
        elif corruption.extra == "train":
            copies = Pool.of(train, gate.real.train_labels, train)
            copies.to_train = np.zeros(len(train))
            pool = good.join(copies)
        for _ in range(self.repeats):
            rows = drawn = gate.draw(good.asked, random)
            if corruption.choose is not None:
                rows = corruption.choose(drawn, pool, strength, random, len(good))
            quick = count.given_up("first")
            missed, figures = gate.first(pool, rows, good.asked[drawn], quick=quick)
            outcome = {} if quick else {"first": missed}
            outcome["again"] = missed or gate.against(pool, rows, good, drawn)
            count.add(outcome, figures)
            if count.given_up("again"):
                break
        return count


_worker: Bench | None = None


def _start(bench: Bench) -> None:
    """Begins a worker process: what it loads is kept from one task to the next."""
    global _worker
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    _worker = bench


def _run(name: str, *arguments) -> Count:
    return getattr(_worker, name)(*arguments)


def main() -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("model", help="SavedModel or folder of versions of a good generator")
    parser.add_argument("--data-dir", default=default_data_dir("mnist"),
                        help="the original MNIST files")  # fmt: skip
    parser.add_argument("--strictness", choices=["standard", "quality"], default="standard")
    parser.add_argument("--num-fakes", type=int, default=10_000)
    parser.add_argument("--pool", type=int, default=60_000, help="fakes to draw from")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=[c.name for c in CORRUPTIONS], metavar="NAME",
                        help="these corruptions, and not the generator as it is")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", type=pathlib.Path, help="write figures of every judgement there")
    options = parser.parse_args()
    started = time.monotonic()
    config = JudgeConfig(strictness=options.strictness, num_fakes=options.num_fakes)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        data = source.resolve(DataConfig(dataset="mnist", data_dir=options.data_dir), folder)
        bench = Bench(folder, data, config, options.repeats)
        bench.draw_pool(options.model, options.pool)
        print(f"{options.pool:,} fakes after {time.monotonic() - started:.0f} s\n", flush=True)
        # A copy, without what this process has loaded.
        counts = _judge_all(dataclasses.replace(bench), options.jobs, options.only)
    ladders = {}
    for corruption in CORRUPTIONS:
        rungs = [c.fid for c in counts if c.name in ("as it is", corruption.name)]
        if len(rungs) > 1:
            ladders[corruption.name] = all(a < b for a, b in itertools.pairwise(rungs))
    seconds = time.monotonic() - started
    for rises, words in ((True, "rises"), (False, "does not rise")):
        names = [name for name, found in ladders.items() if found == rises]
        print(f"\nFID {words} with the strength of: {', '.join(names) or '-'}")
    print(f"{seconds:.0f} s")
    if options.json:
        document = {
            "model": options.model,
            "bars": bench.gate.config.model_dump(),
            "pool": options.pool,
            "rows": [{**dataclasses.asdict(count), "fid_ratio": count.fid} for count in counts],
            "fid_rises": ladders,
            "seconds": seconds,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def _judge_all(bench: Bench, jobs: int, only: Collection[str] | None = None) -> list[Count]:
    """Every generator, `jobs` at a time; prints each as it is there, in order."""
    # Most of the work uses one core: two processes with a thread each beat one with two.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    tasks: list[tuple] = [] if only else [("as_it_is",), ("by_others",)]
    tasks += [
        ("made_worse", number, strength)
        for number, corruption in enumerate(CORRUPTIONS)
        for strength in corruption.strengths
        if only is None or corruption.name in only
    ]
    counts = []
    with concurrent.futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _start, (bench,)
    ) as workers:
        for index, future in enumerate([workers.submit(_run, *task) for task in tasks]):
            if index == 0 or (index == 2 and not only):
                columns = ["generator", "strength", "FID over floor", "blessed, first"]
                columns += ["blessed, again", "missed"]
                print(f"| {' | '.join(columns)} |\n| --- | ---: | ---: | --- | --- | --- |")
            counts.append(future.result())
            print(counts[-1].line(), flush=True)
    return counts


if __name__ == "__main__":
    main()
