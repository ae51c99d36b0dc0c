"""Draws the fakes and tallies them, one Beam pass over the seeds.

The seeds are cut into blocks, always the same blocks whatever the sharding; a worker loads the
exported generator and the extractor once, draws a block, and passes on its tally and, of the first
blocks only, the images. Tallies merge along a fixed binary tree, so floating point adds up in the
same order on one worker or a hundred, and memory does not grow with the number of fakes.
"""

import dataclasses
import functools
import hashlib
import logging
import pickle
import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from tfx.dsl.io import fileio

from components.evaluator import reference
from metrics import features as features_lib
from metrics import frechet
from metrics import labels as labels_lib
from serving import local
from serving.contract import ContractError, GeneratorContract, to_uint8

BLOCK = 250  # images that are drawn at a time
GROUPS = 40  # disjoint parts of the fakes, from whose halves FID's interval is made
# Fakes whose images and features are kept, for what moments can't tell.
SAMPLE = reference.MANIFOLD_SAMPLE

_progress = logging.getLogger("mnist_gan.progress")


@dataclasses.dataclass(frozen=True)
class Task:
    """What every worker must know; small enough to travel with the function.

    Attributes:
      models: role ("model", "baseline") to SavedModel folder.
      extractor: file of another extractor, None for the pinned one.
      labels: int64 [n], the class asked for, in order.
      first_seed: image i is drawn from seed first_seed + i.
      image_shape, num_classes: of the data.
    """

    models: dict[str, str]
    extractor: str | None
    labels: np.ndarray
    first_seed: int
    image_shape: tuple[int, ...]
    num_classes: int

    @property
    def block(self) -> int:
        """Images in a block."""
        return block_size(len(self.labels))

    @property
    def num_blocks(self) -> int:
        return -(-len(self.labels) // self.block)


@dataclasses.dataclass
class Tally:
    """What is counted about some fakes.

    Attributes:
      drawn: images that the generator gave.
      not_finite: of these, images with NaN or infinity; they are left out of all that follows.
      moments: of the features.
      confusion: int64 [C, C], how often class i was asked for and class j seen by the classifier;
        C is the larger of the numbers of classes of the data and of the classifier.
      problems: why images are missing, each said once.
    """

    drawn: int
    not_finite: int
    moments: frechet.FeatureStats
    confusion: np.ndarray
    problems: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """Images that everything was measured on."""
        return self.drawn - self.not_finite


@dataclasses.dataclass
class Sample:
    """The first fakes themselves (finite ones), in the order of their seeds.

    Attributes:
      seeds: int64 [N].
      asked: int64 [N], the class asked for.
      images: uint8 [N, height, width, channels].
      features: float32 [N, D].
      probabilities: float32 [N, C] of the classifier.
    """

    seeds: np.ndarray
    asked: np.ndarray
    images: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray

    def classes(self, conditional: bool) -> np.ndarray:
        """int64 [N]: the class asked for, or the one seen where the generator takes no wishes."""
        return self.asked if conditional else self.probabilities.argmax(axis=1)


@dataclasses.dataclass
class Fakes:
    """All that is known about the fakes of one generator.

    Attributes:
      groups: tallies of disjoint groups of fakes, each a fair sample of the whole.
      sample: the first of them.
    """

    groups: list[Tally]
    sample: Sample

    @functools.cached_property
    def total(self) -> Tally:
        """The tally of all groups together."""
        return merge_all(self.groups)


def block_size(count: int) -> int:
    """Images in a block of `count`: small draws too must give the interval its groups."""
    return max(1, min(BLOCK, -(-count // GROUPS)))


def merge(left: Tally, right: Tally) -> Tally:
    """The tally of both; neither is changed."""
    return Tally(
        drawn=left.drawn + right.drawn,
        not_finite=left.not_finite + right.not_finite,
        moments=frechet.FeatureStats.combined([left.moments, right.moments]),
        confusion=left.confusion + right.confusion,
        problems=tuple(dict.fromkeys(left.problems + right.problems)),
    )


def merge_all(tallies: Iterable[Tally]) -> Tally:
    """The tally of all of them, merged from left to right; at least one."""
    return functools.reduce(merge, tallies)


@functools.lru_cache(maxsize=2)
def extractors(spec: str | None):
    """The extractor of features, and the classifier of digits (the same where it knows classes)."""
    extractor = features_lib.load_extractor(spec)
    classifier = extractor if extractor.num_classes else features_lib.load_extractor()
    return extractor, classifier


def tally(
    seeds: np.ndarray,
    asked: np.ndarray,
    images: np.ndarray,
    num_classes: int,
    extractor: str | None,
) -> tuple[Tally, Sample]:
    """Counts one block of images.

    Args:
      seeds: int64 [N].
      asked: int64 [N], the classes asked for.
      images: float [N, height, width, channels] in [-1, 1] as a generator gives them, or uint8.
      num_classes: of the data.
      extractor: file of another extractor, None for the pinned one.

    Returns:
      the tally, and all of the block as a sample.
    """
    drawn = len(images)
    if images.dtype != np.uint8:
        finite = np.isfinite(images).all(axis=(1, 2, 3))
        seeds, asked, images = seeds[finite], asked[finite], to_uint8(images[finite])
    features, probabilities = reference.look(images, *extractors(extractor))
    counted = Tally(
        drawn=drawn,
        not_finite=drawn - len(images),
        moments=frechet.FeatureStats.of(features),
        confusion=labels_lib.confusion(
            asked, probabilities.argmax(axis=1), max(num_classes, probabilities.shape[1])
        ),
    )
    return counted, Sample(seeds, asked, images, features, probabilities)


def contract_problems(
    contract: GeneratorContract, image_shape: tuple[int, ...], labels: np.ndarray
) -> list[str]:
    """In what the generator's promises do not fit the data that it is judged on."""
    problems = []
    if tuple(contract.image_shape) != tuple(image_shape):
        problems.append(
            f"it draws images of shape {list(contract.image_shape)}, "
            f"the data has {list(image_shape)}"
        )
    if tuple(contract.value_range) != (-1.0, 1.0):
        problems.append(f"its pixels are in {list(contract.value_range)}, not in [-1, 1]")
    if unseen := sorted({*map(int, labels)} - {*contract.classes_present}):
        problems.append(f"it never saw class {', '.join(map(str, unseen))} of the reference")
    return problems


class _DrawBlocks(beam.DoFn):
    """(role, blocks) -> the tally of each block, and the images of the first blocks."""

    SAMPLE_TAG = "sample"

    def __init__(self, task: Task) -> None:
        self._task = task

    def setup(self) -> None:
        # Loaded at first use and not here: a model that can't be loaded is a verdict, not a crash.
        self._generators: dict[str, local.Generator] = {}

    def process(self, element: tuple[str, list[int]]) -> Iterator[Any]:
        role, blocks = element
        task = self._task
        for block in blocks:
            rows = np.arange(block * task.block, min((block + 1) * task.block, len(task.labels)))
            seeds, asked = task.first_seed + rows, task.labels[rows]
            started = time.monotonic()
            images, problems = self._draw(role, seeds, asked)
            counted, sample = tally(
                seeds[: len(images)],
                asked[: len(images)],
                images,
                task.num_classes,
                task.extractor,
            )
            counted.problems = problems
            seconds = max(time.monotonic() - started, 1e-9)
            _progress.info(
                "judge: block %d of %s",
                block,
                role,
                extra={
                    "progress": {
                        "stage": f"judge {role}",
                        "step": min((block + 1) * task.block, len(task.labels)),
                        "total": len(task.labels),
                        "rate": len(rows) / seconds,
                        "unit": "images/s",
                        "metrics": {},
                    }
                },
            )
            yield (role, block % GROUPS), (block // GROUPS, counted)
            if rows[0] < SAMPLE:
                yield beam.pvalue.TaggedOutput(self.SAMPLE_TAG, (role, (block, sample)))

    def _draw(
        self, role: str, seeds: np.ndarray, asked: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        none = np.zeros((0, *self._task.image_shape), np.float32)
        try:
            generator = self._generators.get(role)
            if generator is None:
                generator = local.Generator(self._task.models[role])
                self._generators[role] = generator
            problems = contract_problems(
                generator.contract, self._task.image_shape, self._task.labels
            )
            if problems:
                return none, tuple(problems)
            return generator.draw(seeds, generator.contract.askable(asked)), ()
        except (ContractError, local.GeneratorError) as error:
            return none, (str(error),)


class _MergeInOrder(beam.CombineFn):
    """Merges (position, Tally) along one fixed binary tree, in whatever order they come.

    The accumulator holds whole subtrees by (level, index); two that are siblings become their
    parent. Of n leaves, at most about log n subtrees are waiting at a time in each bundle.
    """

    def create_accumulator(self) -> dict:
        return {}

    def add_input(self, accumulator: dict, element: tuple[int, Tally]) -> dict:
        position, counted = element
        return self._add(accumulator, (0, position), counted)

    def merge_accumulators(self, accumulators) -> dict:
        merged: dict = {}
        for accumulator in accumulators:
            for node, counted in accumulator.items():
                self._add(merged, node, counted)
        return merged

    def extract_output(self, accumulator: dict) -> Tally:
        # Left to right: a subtree's first leaf is index * 2**level.
        ordered = sorted(accumulator.items(), key=lambda item: item[0][1] << item[0][0])
        return merge_all(counted for _, counted in ordered)

    @staticmethod
    def _add(nodes: dict, node: tuple[int, int], counted: Tally) -> dict:
        level, index = node
        while (level, index ^ 1) in nodes:
            sibling = nodes.pop((level, index ^ 1))
            counted = merge(sibling, counted) if index & 1 else merge(counted, sibling)
            level, index = level + 1, index >> 1
        nodes[level, index] = counted
        return nodes


def run(pipeline: beam.Pipeline, task: Task, path: str, shards: int | None = None) -> None:
    """Draws and tallies the fakes of every model in `task` and writes them to the file `path`.

    Args:
      pipeline: an empty Beam pipeline; it is run here.
      task: what to draw.
      path: for `read`; workers must be able to write it.
      shards: elements that the work is cut into for each model; None: one for each block. The
        result is the same, bit for bit.
    """
    shards = min(shards or task.num_blocks, task.num_blocks)
    work = [
        (role, list(range(shard, task.num_blocks, shards)))
        for role in task.models
        for shard in range(shards)
    ]
    with pipeline as p:
        drawn = (
            p
            | "Seeds" >> beam.Create(work, reshuffle=True)
            | "Draw"
            >> beam.ParDo(_DrawBlocks(task)).with_outputs(_DrawBlocks.SAMPLE_TAG, main="tallies")
        )
        tallies = drawn.tallies | "Merge" >> beam.CombinePerKey(_MergeInOrder())
        sample = drawn[_DrawBlocks.SAMPLE_TAG]
        (
            p
            | "Once" >> beam.Create([path])
            | "Write" >> beam.Map(_write, beam.pvalue.AsList(tallies), beam.pvalue.AsList(sample))
        )


def read(path: str) -> dict[str, Fakes]:
    """What `run` wrote: role to Fakes."""
    with fileio.open(path, "rb") as file:
        return pickle.load(file)


def _write(path: str, tallies: list, samples: list) -> None:
    roles = sorted({role for (role, _), _ in tallies})
    result = {}
    for role in roles:
        groups = sorted((group, counted) for (r, group), counted in tallies if r == role)
        blocks = sorted(
            ((block, part) for r, (block, part) in samples if r == role), key=lambda b: b[0]
        )
        result[role] = collect([counted for _, counted in groups], [part for _, part in blocks])
    with fileio.open(path, "wb") as file:
        pickle.dump(result, file)


def collect(groups: list[Tally], parts: list[Sample]) -> Fakes:
    """Fakes from tallies of groups and parts of the sample, both in order."""
    names = [field.name for field in dataclasses.fields(Sample)]
    return Fakes(
        groups,
        Sample(*(np.concatenate([getattr(p, name) for p in parts])[:SAMPLE] for name in names)),
    )


def ordered_labels(counts: np.ndarray, seed: int) -> np.ndarray:
    """int64 [sum(counts)], class c counts[c] times, mixed, so that every block has all classes."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def first_seed(seed: int) -> int:
    """Where the judge's seeds begin: far from the small numbers that people and tests use."""
    return int.from_bytes(hashlib.sha256(f"judge {seed}".encode()).digest()[:5], "big") << 16
