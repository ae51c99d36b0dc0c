"""Images one by one: which fakes lie far from every real image, and which repeat one.

In each of several spaces (features of an extractor, blurred pixels, pixels) the distance of a fake
to its nearest training image is set beside that of real test images, which were not trained on
either. Real images decide what is far (farther than 99.9 % of them) and what is near (nearer than
99 % of them).
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from common.images import check_images
from metrics import checks
from metrics.distances import nearest

FAR = 0.999
NEAR = 0.01
# Of a pair of images the pixels that differ most do not count: a small mark hides no copy.
TRIMMED = 24 / 784  # the share of them
LARGEST = 32  # pixels; larger images are made smaller before any two are compared
RARE = 0.0002  # a place is rare if fewer real images have ink there
_FAINT = 32  # grey level from which on a pixel shows


def _smaller(images: np.ndarray) -> np.ndarray:
    """uint8 images with sides of at most LARGEST pixels: means of blocks."""
    images = check_images("images", images)
    count, height, width, channels = images.shape
    block = -(-height // LARGEST)
    if block == 1:
        return images
    cells = images.reshape(count, height // block, block, width // block, block, channels)
    return cells.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)


def blurred_rows(images: np.ndarray) -> np.ndarray:
    """uint8 [N, 28, 28, 1] -> float32 [N, 196] in 0..1: means of 4x4 pixels, every 2 pixels.

    Of other sizes and channels likewise, after larger images were made smaller.
    """
    values = _smaller(images).astype(np.float32) / np.float32(255)
    count, height, width, channels = values.shape
    cells = values.reshape(count, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
    padded = np.pad(cells, [(0, 0), (0, 1), (0, 1), (0, 0)])
    mean = padded[:, :-1, :-1] + padded[:, 1:, :-1] + padded[:, :-1, 1:] + padded[:, 1:, 1:]
    return (mean / 4).reshape(count, -1)


def pixel_rows(images: np.ndarray) -> np.ndarray:
    """uint8 [N, 28, 28, 1] -> float32 [N, 784] in 0..1, the rows for distances in pixel space."""
    images = _smaller(images)
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def rare_places(images: np.ndarray) -> np.ndarray:
    """bool [784]: where fewer than RARE of uint8 `images` [N, 28, 28, 1] show anything."""
    blocks = (images[start : start + 10_000] for start in range(0, len(images), 10_000))
    shown = sum((_smaller(block) >= _FAINT).sum(axis=0) for block in blocks)
    return (shown / len(images)).ravel() < RARE


def rare_ink(images: np.ndarray, rare: np.ndarray) -> np.ndarray:
    """Grey levels that each image has in `rare_places`, added up: float64 [N]."""
    images = _smaller(images)
    return images.reshape(len(images), -1)[:, rare].sum(axis=1, dtype=np.float64)


def beyond(statistics: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far each image is outside of all that real images have, by its worst statistic.

    Args:
      statistics: name -> [N], one number per image.
      reference: the same of real images, [M].

    Returns:
      float64 [N], in units of the range that holds 98 % of the real images; 0 inside of their
      extremes.
    """
    worst = np.zeros(len(next(iter(statistics.values()))))
    for name, values in statistics.items():
        real = reference[name]
        spread = max(float(np.subtract(*np.quantile(real, [0.99, 0.01]))), 1e-9)
        outside = np.maximum(values - real.max(), real.min() - values)
        worst = np.maximum(worst, outside / spread)
    return worst


def tail_scores(
    statistics: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> np.ndarray:
    """How unusual the most unusual statistic of each image is.

    Args:
      statistics: name -> [N], one number per image.
      reference: the same of real images, [M].

    Returns:
      float64 [N]: the largest, over the statistics, of -log10 of the share of real images that are
      at least as extreme on that side. Beyond all M real images it grows with the distance.
    """
    worst = np.zeros(len(next(iter(statistics.values()))))
    for name, values in statistics.items():
        real = np.sort(reference[name])
        at_least = len(real) - np.searchsorted(real, values, "left")
        at_most = np.searchsorted(real, values, "right")
        share = np.maximum(np.minimum(at_least, at_most), 0.5) / len(real)
        worst = np.maximum(worst, -np.log10(share))
    return worst + beyond(statistics, reference)


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The nearest training images of some images.

    Attributes:
      distances: space -> float64 [N].
      trimmed: float64 [N], root of the sum of squared differences of pixels (0..1) to the most
        alike of all those training images, without the share TRIMMED that differs most.
      closest: int64 [N], the row of that training image.
    """

    distances: dict[str, np.ndarray]
    trimmed: np.ndarray
    closest: np.ndarray


def neighbours(
    features: Mapping[str, np.ndarray],
    images: np.ndarray,
    train_features: Mapping[str, np.ndarray],
    train_images: np.ndarray,
    places: np.ndarray,
) -> Neighbours:
    """Looks up training images in every space.

    Args:
      features: space -> [N, D].
      images: uint8 [N, 28, 28, 1].
      train_features: space -> [M, D].
      train_images: uint8 [M, 28, 28, 1].
      places: bool [784], the pixels that count; without any there is no space "pixels".
    """
    pixels = pixel_rows(images)
    found_in = {name: nearest(rows, train_features[name]) for name, rows in features.items()}
    found_in["blurred"] = nearest(blurred_rows(images), train_images, blurred_rows)
    if places.any():
        found_in["pixels"] = nearest(
            pixels[:, places], train_images, lambda block: pixel_rows(block)[:, places]
        )
    distances = {}
    best = np.full(len(images), np.inf)
    closest = np.zeros(len(images), np.int64)
    for name, (distance, indices) in found_in.items():
        distances[name] = distance
        difference = np.square(pixels - pixel_rows(train_images[indices]))
        kept = difference.shape[1] - round(TRIMMED * difference.shape[1])
        difference.partition(kept, axis=1)
        found = np.sqrt(difference[:, :kept].sum(axis=1, dtype=np.float64))
        better = found < best
        best[better], closest[better] = found[better], indices[better]
    return Neighbours(distances, best, closest)


def telling_places(fake: np.ndarray, real: np.ndarray) -> np.ndarray:
    """bool [784]: where a pixel says something about a fake and not about all fakes alike.

    Left out are places that are rare among real images, and places that show with another
    frequency than among real images, by more than 0.2: a mark that all fakes carry.
    """
    shares = [(_smaller(part) >= _FAINT).mean(axis=0).ravel() for part in (fake, real)]
    return (shares[1] >= 0.001) & (np.abs(shares[0] - shares[1]) <= 0.2)


def repeats(rows: np.ndarray) -> np.ndarray:
    """Distance of every row of `rows` [N, D] to its nearest other row: float64 [N]."""
    rows = checks.features("rows", rows, at_least=2)
    from metrics.manifold import squared_radii

    return np.sqrt(np.maximum(squared_radii(rows, 1), 0.0))
