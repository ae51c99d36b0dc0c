"""Tallies fakes block by block, so that memory does not grow with their number.

The seeds are cut into blocks, always the same blocks. Of each block a tally is kept, and of the
first blocks the images.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable

import numpy as np

from common.contract import GeneratorContract
from common.images import to_uint8
from judge import reference
from metrics import features as features_lib
from metrics import frechet
from metrics import labels as labels_lib

BLOCK = 250  # images that are drawn at a time
GROUPS = 40  # disjoint parts of the fakes, from whose halves FID's interval is made
# Fakes whose images and features are kept, for what moments can't tell.
SAMPLE = reference.MANIFOLD_SAMPLE


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
