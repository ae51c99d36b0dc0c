"""The two numbers on pixels that many GAN projects print, for comparison with them.

Neither says whether a digit looks real: a blurred mean digit has a low MSE, and shuffled pixels
have a KLD of 0.
"""

import numpy as np
from scipy import stats

from metrics import checks, distances
from metrics.ink import level_shares
from metrics.neighbours import pixel_rows


def mse_to_nearest(
    fake: np.ndarray,
    fake_labels: np.ndarray,
    real: np.ndarray,
    real_labels: np.ndarray,
    num_classes: int,
) -> float:
    """Mean squared error of each fake to its nearest real of the class that was asked for.

    Pixels are in 0..1; the squared difference is averaged over the pixels of an image, the
    nearest real is the one where that is least, and the result, 0..1, is averaged over the fakes.
    Fakes of a class that the reals lack are left out; NaN where none is left.

    Args:
      fake: uint8 [N, 28, 28, 1].
      fake_labels: integers [N], the classes asked for.
      real: uint8 [M, 28, 28, 1].
      real_labels: integers [M].
      num_classes: labels lie in 0..num_classes-1.

    Raises:
      ValueError: wrong dtypes, shapes or labels.
    """
    fake_rows, real_rows = pixel_rows(fake), pixel_rows(real)
    fake_labels = checks.labels(
        "fake_labels", fake_labels, count=len(fake_rows), num_classes=num_classes
    )
    real_labels = checks.labels(
        "real_labels", real_labels, count=len(real_rows), num_classes=num_classes
    )
    errors = []
    for label in np.unique(fake_labels):
        candidates = real_rows[real_labels == label]
        if not len(candidates):
            continue
        found, _ = distances.nearest(fake_rows[fake_labels == label], candidates)
        errors.append(found**2 / fake_rows.shape[1])
    return float(np.concatenate(errors).mean()) if errors else float("nan")


def intensity_kld(real: np.ndarray, fake: np.ndarray) -> float:
    """Kullback-Leibler divergence of pixel intensities, real from fake, in nats, not negative.

    sum over grey levels of p log(p / q), p from the histogram of all pixels of the reals, q from
    that of the fakes. Each level counts half a pixel more than there are, so that a level that
    the fakes never use costs much and not infinitely much.

    Args:
      real, fake: `metrics.ink.level_histogram`s.

    Raises:
      ValueError: not 256 counts, or nothing counted.
    """
    p, q = (level_shares(name, counts, 0.5) for name, counts in (("real", real), ("fake", fake)))
    return max(0.0, float(stats.entropy(p, q)))
