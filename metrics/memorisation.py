"""Does a generator repeat its training pictures?

A fake that lies nearer to some training picture than real pictures that were never trained on do
is suspect. The measure is relative: the distances of test pictures to their nearest training
pictures say what is usual. It works on any rows, features or flattened pixels; pixels catch
literal copies, features catch copies that were moved a little.
"""

import dataclasses

import numpy as np

from common.images import check_images
from metrics import checks
from metrics.distances import nearest

__all__ = ["Memorisation", "closest_pairs", "memorisation", "nearest", "pixel_rows"]


def pixel_rows(images: np.ndarray) -> np.ndarray:
    """uint8 [N, 28, 28, 1] -> float32 [N, 784] in 0..1, the rows for distances in pixel space."""
    images = check_images("images", images)
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """How near the fakes are to the training pictures, against how near test pictures are.

    Attributes:
      ratio: median distance of a fake over median distance of a test picture. About 1 is as it
        should be for perfect fakes; well below 1, fakes repeat training pictures.
      fake_median: distance of the middle fake to its nearest training picture.
      test_median: the same of the test pictures.
      threshold: the distance below which only `expected_share` of the test pictures are.
      suspect_share: share of the fakes below it: several times `expected_share` means that some
        fakes are copies even where the middle one is not.
      expected_share: see `threshold`.
    """

    ratio: float
    fake_median: float
    test_median: float
    threshold: float
    suspect_share: float
    expected_share: float


def memorisation(
    fake_distances: np.ndarray, test_distances: np.ndarray, *, expected_share: float = 0.01
) -> Memorisation:
    """Compares the first results of `nearest(fake, train)` and `nearest(test, train)`.

    Args:
      fake_distances: [N], not negative.
      test_distances: [M], not negative; among the same training pictures.
      expected_share: which of the test distances is the threshold, in 0..1.

    Returns:
      the comparison; `ratio` is infinite or NaN where the test pictures themselves are copies.

    Raises:
      ValueError: empty, another shape, negative, NaN or infinite.
    """
    values = []
    for name, given in (("fake_distances", fake_distances), ("test_distances", test_distances)):
        given = checks.finite(name, given)
        if given.ndim != 1 or not len(given) or (given < 0).any():
            raise ValueError(
                f"{name} must be a row of distances, not negative, got shape {list(given.shape)}"
            )
        values.append(given)
    if not 0 < expected_share < 1:
        raise ValueError(f"expected_share must lie between 0 and 1, got {expected_share}")
    fakes, tests = values
    fake_median, test_median = float(np.median(fakes)), float(np.median(tests))
    threshold = float(np.quantile(tests, expected_share))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.float64(fake_median) / np.float64(test_median))
    return Memorisation(
        ratio=ratio,
        fake_median=fake_median,
        test_median=test_median,
        threshold=threshold,
        suspect_share=float(np.mean(fakes < threshold)),
        expected_share=expected_share,
    )


def closest_pairs(
    distances: np.ndarray, indices: np.ndarray, count: int
) -> list[tuple[int, int, float]]:
    """The fakes that are nearest to a training picture, nearest first.

    Args:
      distances, indices: what `nearest(fake, train)` gave.
      count: how many pairs at most.

    Returns:
      (number of the fake, number of the training picture, distance) each.
    """
    order = np.argsort(distances, kind="stable")[:count]
    return [(int(i), int(indices[i]), float(distances[i])) for i in order]
