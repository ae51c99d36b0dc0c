"""A two-sample test by a classifier: can a small network tell fake images from real ones?

Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests", section 3. It needs no feature
extractor, so a generator can't have been tuned to it, and its result is a number that anybody can
read: 50 % is perfect.
"""

import dataclasses
from statistics import NormalDist

import numpy as np

from common.images import check_images
from metrics import checks

EPOCHS = 10
FEWEST_STEPS = 400  # few images are seen more often, else the network has no time to learn
INK = 128


@dataclasses.dataclass(frozen=True)
class TwoSample:
    """`two_sample`'s result, all of the held-out halves.

    Attributes:
      accuracy: share of images told right, fake and real counting alike; 0.5 is chance.
      accuracy_low, accuracy_high: its interval.
      auc: how often a fake looks more fake than a real image; 0.5 is chance.
      auc_low, auc_high: its interval.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    auc: float
    auc_low: float
    auc_high: float


def binarised(images: np.ndarray) -> np.ndarray:
    """uint8 images as black and white: 255 from grey level 128 on, else 0. Shape without shade."""
    return np.where(check_images("images", images) >= INK, 255, 0).astype(np.uint8)


def two_sample(
    fake: np.ndarray,
    real: np.ndarray,
    *,
    seed: int = 0,
    level: float = 0.95,
) -> TwoSample:
    """Trains a classifier on a random half of each side and asks it about the other half.

    The same arguments give the same result on one machine. The intervals are about which images
    are held out, for the classifier as it was trained.

    Args:
      fake: uint8 [N, 28, 28, 1].
      real: uint8 [M, 28, 28, 1]; the larger side is cut to the size of the smaller. Give both with
        the same shares of classes.
      seed: of the halves and the training.
      level: of the intervals.

    Raises:
      ValueError: wrong dtypes or shapes, or fewer than 100 images on a side.
    """
    from metrics.classifier import SMALL, train
    from metrics.features import NetworkExtractor

    fake, real = check_images("fake", fake), check_images("real", real)
    count = min(len(fake), len(real))
    if count < 100:
        raise ValueError(f"there must be at least 100 images on each side, got {count}")
    random = np.random.default_rng(seed)
    learn, ask = [], []
    for images in (real, fake):
        chosen = random.permutation(len(images))[:count]
        learn.append(images[chosen[: count // 2]])
        ask.append(images[chosen[count // 2 :]])
    batch_size = min(100, count // 2)
    weights = train(
        np.concatenate(learn),
        np.repeat([0, 1], [len(part) for part in learn]),
        2,
        epochs=max(EPOCHS, -(-FEWEST_STEPS // (2 * (count // 2) // batch_size))),
        seed=seed,
        architecture=SMALL,
        batch_size=batch_size,
        augment=False,
    )
    extractor = NetworkExtractor(weights)
    scores = [extractor.features_and_probabilities(part)[1][:, 1] for part in ask]
    return from_scores(scores[1], scores[0], level=level)


def from_scores(fake: np.ndarray, real: np.ndarray, *, level: float = 0.95) -> TwoSample:
    """Accuracy and AUC, with intervals, of scores that are meant to be above 0.5 for fakes.

    The AUC's standard error is DeLong's (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
      fake, real: in 0..1, [N] and [M], at least two each.
      level: of the intervals.
    """
    fake, real = checks.finite("fake", fake), checks.finite("real", real)
    z = NormalDist().inv_cdf((1 + level) / 2)
    right = [fake > 0.5, real <= 0.5]
    accuracy = float(np.mean([part.mean() for part in right]))
    accuracy_error = sum(part.var(ddof=1) / len(part) for part in right) ** 0.5 / 2

    def placed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Share of `b` below each of `a`, ties counting half."""
        b = np.sort(b)
        return (np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")) / (2 * len(b))

    above, below = placed(fake, real), placed(real, fake)
    auc = float(above.mean())
    auc_error = (above.var(ddof=1) / len(fake) + below.var(ddof=1) / len(real)) ** 0.5
    return TwoSample(
        accuracy,
        max(0.0, accuracy - z * accuracy_error),
        min(1.0, accuracy + z * accuracy_error),
        auc,
        max(0.0, auc - z * auc_error),
        min(1.0, auc + z * auc_error),
    )
