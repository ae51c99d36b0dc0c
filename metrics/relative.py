"""Relative FID: how far fakes are from the training images, over how far real images are.

    relative FID = FID(fakes, train) / FID(train, other train)

All three are of the same number of images with the same classes, so that FID's bias, which depends
on that number, is in numerator and denominator alike. 1 is as good as more training images. The
numerator is the mean over disjoint folds of the train split, the denominator the mean over all
pairs of such folds.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from metrics import checks
from metrics.frechet import FeatureStats, frechet_distance_between

# A fold has at most a quarter of the train images, so that there are three pairs or more.
LARGEST_FOLD = 4
MOST_FOLDS = 10
PAIRS = 30  # about how many pairs of folds are measured, of several partitions where one has fewer


@dataclasses.dataclass(frozen=True)
class Folds:
    """Disjoint, class-matched folds of the real images, and how far they are from each other.

    Attributes:
      stats: of the folds of one partition, at least two.
      size: images in a fold.
      parts: in how many parts of `size` the fakes are cut.
      pairs: FID of each pair of folds, over several partitions.
    """

    stats: tuple[FeatureStats, ...]
    size: int
    parts: int
    pairs: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays, for a cache; `of_arrays` is the inverse."""
        return {
            "counts": np.array([stats.n for stats in self.stats]),
            "means": np.stack([stats.mean for stats in self.stats]),
            "covs": np.stack([stats.cov for stats in self.stats]),
            "numbers": np.array([self.size, self.parts]),
            "pairs": self.pairs,
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Folds":
        size, parts = arrays["numbers"].tolist()
        return cls(
            tuple(
                FeatureStats(int(n), mean, cov)
                for n, mean, cov in zip(
                    arrays["counts"], arrays["means"], arrays["covs"], strict=True
                )
            ),
            size,
            parts,
            arrays["pairs"],
        )

    @property
    def fid(self) -> float:
        """FID_real: the mean over the pairs."""
        return float(self.pairs.mean())

    @property
    def partitions(self) -> int:
        """Over how many partitions the pairs are."""
        return 2 * len(self.pairs) // (len(self.stats) * (len(self.stats) - 1))

    @property
    def spread(self) -> float:
        """Standard deviation over the pairs."""
        return float(self.pairs.std(ddof=1)) if len(self.pairs) > 1 else float("nan")


@dataclasses.dataclass(frozen=True)
class RelativeFid:
    """`relative_fid`'s result.

    Attributes:
      value: the relative FID.
      low, high: its interval.
      fid: the numerator.
      fid_real: the denominator.
    """

    value: float
    low: float
    high: float
    fid: float
    fid_real: float


def deal(labels: np.ndarray, parts: int) -> list[np.ndarray]:
    """Cuts rows into parts of equal size with the same classes in each, as far as they divide.

    Returns:
      int64 row numbers of each part; all parts have len(labels) // parts rows.
    """
    order = np.argsort(labels, kind="stable")
    return [order[part::parts][: len(labels) // parts] for part in range(parts)]


def fold_rows(labels: np.ndarray, counts: np.ndarray, seed: int) -> list[np.ndarray]:
    """At most MOST_FOLDS disjoint folds of rows with `counts[c]` rows of class c in each.

    A class with fewer than two folds' worth of rows is cut in two halves.

    Args:
      labels: int64 [N].
      counts: how many of each class a fold has.
      seed: of the partition.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    members = [order[labels[order] == label] for label in range(len(counts))]
    found = [len(rows) // count for rows, count in zip(members, counts, strict=True) if count]
    folds = min(MOST_FOLDS, max(2, min(found)))
    sizes = [min(int(c), len(rows) // folds) for c, rows in zip(counts, members, strict=True)]
    return [
        np.concatenate(
            [
                rows[fold * size : (fold + 1) * size]
                for size, rows in zip(sizes, members, strict=True)
            ]
        )
        for fold in range(folds)
    ]


def real_folds(
    features: np.ndarray, labels: np.ndarray, num_fakes: int, counts: np.ndarray, seed: int = 0
) -> Folds:
    """Folds of real images to set `num_fakes` fakes against.

    Args:
      features: [N, D] of the train images.
      labels: int64 [N], their classes.
      num_fakes: how many fakes will be compared.
      counts: int64 [num_classes], how many of them are of each class.
      seed: of the partitions.
    """
    parts = max(1, -(-num_fakes // (len(labels) // LARGEST_FOLD)))
    counts = np.asarray(counts) // parts
    pairs: list[float] = []
    stats: tuple[FeatureStats, ...] = ()
    for partition in itertools.count():
        folds = [
            FeatureStats.of(features[rows]) for rows in fold_rows(labels, counts, seed + partition)
        ]
        stats = stats or tuple(folds)
        pairs += [frechet_distance_between(a, b) for a, b in itertools.combinations(folds, 2)]
        if len(pairs) >= PAIRS:
            break
    return Folds(stats=stats, size=stats[0].n, parts=parts, pairs=np.array(pairs))


def relative_fid(
    features: np.ndarray, labels: np.ndarray, folds: Folds, *, level: float = 0.95
) -> RelativeFid:
    """The relative FID of fakes and an interval for it.

    The interval is about other fakes of the same generator and other real images of the same kind.
    To first order FID moves with each fake x by 2 d.(x - m) + (x - m)'(I - T)(x - m) over n, d the
    difference of the means and T the optimal transport map between the two Gaussians; the variance
    is taken within classes, because the fakes' classes are fixed. The folds' own images count as
    the fakes do, as far as both are alike.

    Near FID_real this first order counts the noise of the estimate itself twice (for a normal z of
    variance v, z^2 varies by 2 v^2 about zero, where 4 z^2 v is 4 v^2 on average). The spread of
    FID_real says how large that noise is; it is taken off, but never more than half. Of the
    K folds' noise a share c = (K - 1) / 2K is in numerator and denominator alike and falls out of
    the ratio; for the rest of the ratio the noise of the denominator is added. The interval is
    symmetric on a logarithmic scale.

    Args:
      features: [n, D] of the fakes, finite.
      labels: int64 [n], the classes asked for; all alike for an unconditional generator.
      folds: of `real_folds` for n fakes.
      level: of the interval.

    Raises:
      ValueError: fewer fakes than `folds` is for, or features that are not finite or of another
        width.
    """
    features = checks.features("features", features, at_least=folds.size * folds.parts)
    values, variances = [], []
    for rows in deal(labels, folds.parts):
        part, classes = features[rows], np.asarray(labels)[rows]
        stats = FeatureStats.of(part)
        values.append([frechet_distance_between(stats, fold) for fold in folds.stats])
        variances.append(_within(_influence(part, stats, folds.stats), classes))
    fid, real, count = float(np.mean(values)), folds.fid, len(folds.stats)
    if real <= 0 or fid <= 0:
        value = fid / real if real > 0 else float("nan")
        return RelativeFid(value, value, value, fid, real)
    value, common = fid / real, (count - 1) / (2 * count)
    share = 1 / folds.parts + 1 / count
    variance = _without_noise(
        float(np.mean(variances)) * share, folds.spread**2 / 4 * share * (1 + 1 / count)
    )
    # One partition's mean over its pairs varies by this, that of several by as much less.
    of_one, several = folds.spread**2 / (count - 1), 1 / folds.partitions
    variance += of_one * (common**2 * (1 - several) + (value - common) ** 2 * several)
    factor = np.exp(NormalDist().inv_cdf((1 + level) / 2) * variance**0.5 / fid)
    return RelativeFid(value, float(value / factor), float(value * factor), fid, real)


def paired_difference(
    features: np.ndarray,
    others: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """FID of one generator minus FID of another, and its interval, from the same latents.

    Row i of both is drawn from the same latent and class, so what the luck of the draw does to
    both falls out. The interval is about other latents and other real images.

    Args:
      features, others: [n, D] of the two generators' fakes.
      labels, folds, level: as in `relative_fid`.

    Returns:
      the difference, below 0 where the first is better, and the ends of its interval.
    """
    values, variances, unlike = [], [], []
    for rows in deal(labels, folds.parts):
        sides = [np.asarray(side, np.float64)[rows] for side in (features, others)]
        stats = [FeatureStats.of(side) for side in sides]
        values.append(
            np.mean(
                [
                    frechet_distance_between(stats[0], fold)
                    - frechet_distance_between(stats[1], fold)
                    for fold in folds.stats
                ]
            )
        )
        influence = [
            _influence(side, found, folds.stats) for side, found in zip(sides, stats, strict=True)
        ]
        classes = np.asarray(labels)[rows]
        variances.append(_within(influence[0] - influence[1], classes))
        one, other = (_centred(side, classes) for side in sides)
        both = np.square(one).sum() + np.square(other).sum()
        unlike.append(min(1.0, np.square(one - other).sum() / both) if both > 0 else 0.0)
    # As in `relative_fid`; each side has noise, as far as the other does not share it.
    count, apart = len(folds.stats), float(np.mean(unlike))
    share = 1 / folds.parts + 1 / count
    noise = folds.spread**2 / 2 * share * (1 + 1 / count) * apart * (2 - apart)
    variance = _without_noise(float(np.mean(variances)) * share, noise)
    error = variance**0.5 * NormalDist().inv_cdf((1 + level) / 2)
    value = float(np.mean(values))
    return value, value - error, value + error


def _without_noise(first_order: float, noise: float) -> float:
    """A variance of first order without the noise that it counts twice: at most half of it."""
    return max(first_order - noise, first_order / 2)


def _influence(
    rows: np.ndarray, fakes: FeatureStats, folds: tuple[FeatureStats, ...]
) -> np.ndarray:
    """How much, times n, each of `rows` moves the mean FID against the folds: [n]."""
    root, inverse = _roots(fakes.cov)
    shift, bend = np.zeros(fakes.dim), np.zeros_like(root)
    for fold in folds:
        values, vectors = np.linalg.eigh(root @ fold.cov @ root)
        middle = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        shift += (fakes.mean - fold.mean) / len(folds)
        bend += (np.eye(fakes.dim) - inverse @ middle @ inverse) / len(folds)
    centred = rows - fakes.mean
    return 2.0 * centred @ shift + np.einsum("ij,ij->i", centred @ bend, centred)


def _centred(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows less the mean of their class."""
    rows = rows.copy()
    for label in np.unique(labels):
        rows[labels == label] -= rows[labels == label].mean(axis=0)
    return rows


def _within(influence: np.ndarray, labels: np.ndarray) -> float:
    """Variance of the mean of `influence` when the number of each class is fixed."""
    total = 0.0
    for label in np.unique(labels):
        mine = influence[labels == label]
        if len(mine) > 1:
            total += len(mine) * mine.var(ddof=1)
    return float(total) / len(influence) ** 2


def _roots(cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The symmetric root of a covariance and its pseudo-inverse."""
    values, vectors = np.linalg.eigh(cov)
    kept = values > 1e-8 * max(values[-1], 1e-300)
    root = np.sqrt(np.where(kept, values, 0.0))
    inverse = np.where(kept, 1.0 / np.where(kept, root, 1.0), 0.0)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T
