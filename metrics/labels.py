"""What a classifier says about fakes: which classes there are, how many of each, how sure it is.

Classes are numbered from 0 to num_classes - 1; there may be any number of them, and any of them
may be missing from the reference or from the fakes.
"""

import dataclasses

import numpy as np

from metrics import checks


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
      smallest_ratio: the least of share / reference share; 0 where a class was dropped.
    """

    shares: tuple[float, ...]
    reference_shares: tuple[float, ...]
    kl: float
    smallest_ratio: float


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
    return ClassBalance(
        shares=tuple(shares.tolist()),
        reference_shares=tuple(real_shares.tolist()),
        kl=float(kl),
        smallest_ratio=float((shares[present] / real_shares[present]).min()),
    )


def confusion(asked: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts [label asked for, class predicted]: int64 [num_classes, num_classes]; parts add up.

    Raises:
      ValueError: labels that are not integers [N] in 0..num_classes-1, or of different lengths.
    """
    asked = checks.labels("asked", asked, count=None, num_classes=num_classes)
    predicted = checks.labels("predicted", predicted, count=len(asked), num_classes=num_classes)
    cells = np.bincount(asked * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def class_accuracy(counts: np.ndarray) -> dict[int, float]:
    """Of `confusion` counts: label that was asked for -> share of its fakes taken for it, 0..1."""
    asked = counts.sum(axis=1)
    return {int(c): float(counts[c, c] / asked[c]) for c in np.flatnonzero(asked)}
