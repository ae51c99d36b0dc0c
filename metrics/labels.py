"""What a classifier says about fakes: which classes there are, how many of each, how sure it is.

Classes are numbered from 0 to num_classes - 1; there may be any number of them, and any of them
may be missing from the reference or from the fakes.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from metrics import checks
from metrics.frechet import FeatureStats, frechet_distance_between


def label_histogram(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How many of each class: int64 [num_classes]. Histograms of parts add up.

    Raises:
      ValueError: labels that are not integers [N] in 0..num_classes-1.
    """
    labels = checks.labels("labels", labels, count=None, num_classes=num_classes)
    return np.bincount(labels, minlength=num_classes)


@dataclasses.dataclass(frozen=True)
class ClassBalance:
    """How the classes of the fakes stand to those of the reference.

    Attributes:
      shares: of each class among the fakes, sum 1.
      reference_shares: of each class among the reals, sum 1.
      kl: Kullback-Leibler divergence in nats of the fakes' shares from the reference's, over the
        classes that the reference has: 0 where they are equal, infinite where no fake is of one.
      smallest_share: the least share among the fakes of a class that the reference has.
      smallest_class: which class that is.
      smallest_ratio: the least of share / reference share; 0 where a class was dropped.
      stray_share: share of the fakes in classes that the reference lacks.
    """

    shares: tuple[float, ...]
    reference_shares: tuple[float, ...]
    kl: float
    smallest_share: float
    smallest_class: int
    smallest_ratio: float
    stray_share: float


def class_balance(histogram: np.ndarray, reference: np.ndarray) -> ClassBalance:
    """Compares two `label_histogram`s, of the fakes and of the reals.

    Raises:
      ValueError: shapes that do not fit, negative counts, or nothing counted.
    """
    counts, real = checks.finite("histogram", histogram), checks.finite("reference", reference)
    if counts.ndim != 1 or counts.shape != real.shape:
        raise ValueError(
            "histogram and reference must have the same shape [num_classes], "
            f"got {list(counts.shape)} and {list(real.shape)}"
        )
    for name, values in (("histogram", counts), ("reference", real)):
        if (values < 0).any() or values.sum() <= 0:
            raise ValueError(f"{name} must hold counts, one of them above zero")
    shares, real_shares = counts / counts.sum(), real / real.sum()
    present = real > 0
    known = shares[present].sum()
    kl = np.inf
    if known > 0:
        p = shares[present] / known
        ratio = p[p > 0] / real_shares[present][p > 0]
        kl = max(0.0, float(np.sum(p[p > 0] * np.log(ratio))))
    smallest = int(np.where(present, shares, np.inf).argmin())
    return ClassBalance(
        shares=tuple(shares.tolist()),
        reference_shares=tuple(real_shares.tolist()),
        kl=float(kl),
        smallest_share=float(shares[smallest]),
        smallest_class=smallest,
        smallest_ratio=float((shares[present] / real_shares[present]).min()),
        stray_share=float(shares[~present].sum()),
    )


def confusion(asked: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts [asked class, predicted class]: int64 [num_classes, num_classes]; parts add up.

    Raises:
      ValueError: labels that are not integers [N] in 0..num_classes-1, or of different lengths.
    """
    asked = checks.labels("asked", asked, count=None, num_classes=num_classes)
    predicted = checks.labels("predicted", predicted, count=len(asked), num_classes=num_classes)
    cells = np.bincount(asked * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


@dataclasses.dataclass(frozen=True)
class AskedAccuracy:
    """How often a fake is taken for the class that was asked for.

    Attributes:
      accuracy: over all fakes, 0..1.
      per_class: asked class -> accuracy, for the classes that were asked for.
      worst_class: the one with the least accuracy.
    """

    accuracy: float
    per_class: dict[int, float]
    worst_class: int


def asked_accuracy(counts: np.ndarray) -> AskedAccuracy:
    """Reads `confusion` counts.

    Raises:
      ValueError: not a square of counts, or nothing counted.
    """
    counts = checks.finite("counts", counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise ValueError(f"counts must be a square of counts, got shape {list(counts.shape)}")
    asked = counts.sum(axis=1)
    if asked.sum() <= 0:
        raise ValueError("counts must hold at least one fake")
    per_class = {int(c): float(counts[c, c] / asked[c]) for c in np.flatnonzero(asked)}
    return AskedAccuracy(
        accuracy=float(np.trace(counts) / asked.sum()),
        per_class=per_class,
        worst_class=min(per_class, key=per_class.__getitem__),
    )


def class_stats(
    features: np.ndarray, labels: np.ndarray, num_classes: int
) -> dict[int, FeatureStats]:
    """Feature statistics of each class that occurs in `labels`.

    Args:
      features: [N, D].
      labels: integers [N] in 0..num_classes-1.
      num_classes: how many classes there are.

    Raises:
      ValueError: wrong shapes or labels, NaN or infinity.
    """
    features = np.asarray(features)
    checks.features("features", features, at_least=0)
    labels = checks.labels("labels", labels, count=len(features), num_classes=num_classes)
    return {int(c): FeatureStats.of(features[labels == c]) for c in np.unique(labels)}


def per_class_frechet(
    real: Mapping[int, FeatureStats], fake: Mapping[int, FeatureStats]
) -> dict[int, float | None]:
    """Fréchet distance within each class that the reference has.

    With fewer pictures a class its bias is larger than that of the FID over all: compare a class
    with the same class of another generator, not with the whole.

    Args:
      real, fake: class -> its statistics (`class_stats`).

    Returns:
      class -> distance, ascending, for every class of which `real` has two rows or more; None
      where the fakes have fewer than two.
    """
    distances: dict[int, float | None] = {}
    for label in sorted(real):
        if real[label].n < 2:
            continue
        found = fake.get(label)
        if found is None or found.n < 2:
            distances[label] = None
        else:
            distances[label] = frechet_distance_between(real[label], found)
    return distances


class ClassifierScore:
    """The Inception score with the project's own classifier in Inception's place.

    exp(E_x KL(p(y|x) || p(y))), Salimans et al. 2016, "Improved Techniques for Training GANs",
    section 4, over all fakes at once (the mean over ten splits that is often printed is a little
    lower). From 1 (the same probabilities for all) to the number of classes (sure of each, all
    equally often). Not comparable with scores of Inception. Gathered piece by piece.
    """

    def __init__(self) -> None:
        self.n = 0
        self._sum = np.zeros(0)
        self._negative_entropy = 0.0

    def update(self, probabilities: np.ndarray) -> "ClassifierScore":
        """Adds rows [N, num_classes] of class probabilities. Returns itself.

        Raises:
          ValueError: another shape, NaN, values below 0, or rows that do not sum to 1.
        """
        p = checks.features("probabilities", probabilities, at_least=0)
        if (p < 0).any() or (np.abs(p.sum(axis=1) - 1) > 1e-3).any():
            raise ValueError("probabilities must not be negative and every row must sum to 1")
        # Exactly 1 in float64: else rounding of float32 would leak into the score.
        p = p / p.sum(axis=1, keepdims=True)
        piece = ClassifierScore()
        piece.n, piece._sum = len(p), p.sum(axis=0)
        piece._negative_entropy = float(np.sum(p * np.log(np.where(p > 0, p, 1.0))))
        return self.merge(piece)

    def merge(self, other: "ClassifierScore") -> "ClassifierScore":
        """Adds the rows of `other`, which stays as it is. Returns itself."""
        if self.n and other.n and len(self._sum) != len(other._sum):
            raise ValueError(
                f"probabilities must have {len(self._sum)} classes, got {len(other._sum)}"
            )
        if other.n:
            self._sum = self._sum + other._sum if self.n else other._sum.copy()
            self._negative_entropy += other._negative_entropy
            self.n += other.n
        return self

    @property
    def score(self) -> float:
        """1..num_classes. Raises ValueError where there are no rows."""
        if not self.n:
            raise ValueError("at least one row of probabilities is needed")
        mean = self._sum / self.n
        entropy = -float(np.sum(mean * np.log(np.where(mean > 0, mean, 1.0))))
        return float(np.exp(max(0.0, self._negative_entropy / self.n + entropy)))


def classifier_score(probabilities: np.ndarray) -> float:
    """`ClassifierScore` of rows [N, num_classes], N >= 1."""
    return ClassifierScore().update(probabilities).score
