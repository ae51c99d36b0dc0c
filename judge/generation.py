"""The fakes under judgement: which are drawn, and what came of it."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from common.contract import GeneratorContract
from common.images import to_uint8

BLOCK = 250  # images that are drawn at a time


@dataclasses.dataclass(frozen=True)
class Task:
    """What every worker must know; small enough to travel with the function.

    Attributes:
      models: role ("model", "baseline") to SavedModel folder.
      labels: int64 [n], the class asked for, in order.
      first_seed: image i is drawn from seed first_seed + i.
      image_shape: of the data.
    """

    models: dict[str, str]
    labels: np.ndarray
    first_seed: int
    image_shape: tuple[int, ...]

    @property
    def num_blocks(self) -> int:
        return -(-len(self.labels) // BLOCK)

    def block(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Seeds and classes asked for of one block."""
        rows = np.arange(number * BLOCK, min((number + 1) * BLOCK, len(self.labels)))
        return self.first_seed + rows, self.labels[rows]


@dataclasses.dataclass
class Fakes:
    """Images of one generator, in the order of their seeds.

    Attributes:
      drawn: how many images the generator gave.
      not_finite: of these, images with NaN or infinity; they are left out of the arrays.
      seeds: int64 [N].
      asked: int64 [N], the class asked for.
      images: uint8 [N, height, width, channels].
      problems: why images are missing, each said once.
    """

    drawn: int
    not_finite: int
    seeds: np.ndarray
    asked: np.ndarray
    images: np.ndarray
    problems: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        seeds: np.ndarray,
        asked: np.ndarray,
        images: np.ndarray,
        problems: tuple[str, ...] = (),
    ) -> "Fakes":
        """From images: floats in [-1, 1] as a generator gives them, or uint8."""
        drawn = len(images)
        seeds, asked = seeds[:drawn], asked[:drawn]
        if images.dtype != np.uint8:
            finite = np.isfinite(images).all(axis=(1, 2, 3))
            seeds, asked, images = seeds[finite], asked[finite], to_uint8(images[finite])
        return cls(drawn, drawn - len(images), seeds, asked, images, problems)

    @classmethod
    def joined(cls, parts: Sequence["Fakes"]) -> "Fakes":
        """All of `parts`, at least one, in their order."""
        return cls(
            sum(part.drawn for part in parts),
            sum(part.not_finite for part in parts),
            np.concatenate([part.seeds for part in parts]),
            np.concatenate([part.asked for part in parts]),
            np.concatenate([part.images for part in parts]),
            tuple(dict.fromkeys(problem for part in parts for problem in part.problems)),
        )


def contract_problems(
    contract: GeneratorContract, image_shape: tuple[int, ...], labels: np.ndarray
) -> list[str]:
    """In what the generator's contract does not fit the data that it is judged on."""
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


def ordered_labels(counts: np.ndarray, seed: int) -> np.ndarray:
    """int64 [sum(counts)], class c counts[c] times, mixed, so that every block has all classes."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def first_seed(seed: int) -> int:
    """Where the judge's seeds begin: far from the small numbers that people and tests use."""
    return int.from_bytes(hashlib.sha256(f"judge {seed}".encode()).digest()[:5], "big") << 16
