"""Plain statistics of ink: what a person could measure on an image with a ruler.

`statistics` gives one number per image and statistic; `one_threshold_accuracy` says how well one
threshold on such a number tells fake images from real ones. Pixels are grey levels 0..255, ink is
bright on black. Of colour images the grey level is the mean of the channels.
"""

import numpy as np
from scipy import ndimage, stats

from common.images import check_images
from metrics import checks

LEVELS = 256
INK = 128  # from this grey level on a pixel counts as ink
# Statistics by which one image can be told to be unusual. MNIST was sized to a box of 20 pixels and
# centred by mass, so that on the others every real image is alike and a hair's breadth is unusual.
TELLING = ("near_black", "saturated", "ink", "stroke", "slant", "roughness", "pieces", "holes")
# Connected in the plane of one image, never from one image to the next.
_EIGHT = np.zeros((3, 3, 3), int)
_EIGHT[1] = 1
_FOUR = np.zeros((3, 3, 3), int)
_FOUR[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


def statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measures every image by itself.

    Args:
      images: uint8 [N, H, W, C].

    Returns:
      name -> float64 [N]:
        - near_black: pixels of grey level 1 to 5;
        - saturated: pixels of grey level above 250;
        - ink: mean grey level of the image;
        - box: longer side, in pixels, of the box around all pixels of grey level above 5; 0 for
          an image without any;
        - centre_x, centre_y: centre of mass in pixels; the middle for an image without ink;
        - stroke: mean width of the strokes, in pixels: twice the area of the ink over the length
          of its edge;
        - slant: horizontal shear, covariance of x and y over the variance of y;
        - roughness: mean squared difference of neighbouring pixels over the image's variance;
        - pieces: connected parts of the ink, corners connect;
        - holes: parts of the background that ink encloses.

    Raises:
      ValueError: another dtype or shape.
    """
    pixels = grey(check_images("images", images))
    count, height, width = pixels.shape
    if not count:
        raise ValueError("images must hold at least one image")
    values = pixels.astype(np.float32)
    mass = np.maximum(values.sum(axis=(1, 2), dtype=np.float64), 1e-9)
    y, x = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    rows, columns = values.sum(axis=2), values.sum(axis=1)
    centre_y, centre_x = rows @ y / mass, columns @ x / mass
    empty = mass < 1
    centre_y[empty], centre_x[empty] = (height - 1) / 2, (width - 1) / 2
    variance_y = rows @ (y * y) / mass - centre_y**2
    covariance = np.einsum("nyx,y,x->n", values, y, x, optimize=True) / mass - centre_x * centre_y

    ink = pixels >= INK
    area = ink.sum(axis=(1, 2))
    framed = np.pad(ink, [(0, 0), (1, 1), (1, 1)])
    edge = sum((framed ^ np.roll(framed, 1, axis)).sum(axis=(1, 2)) for axis in (1, 2))
    across = np.square(np.diff(values, axis=2)).mean(axis=(1, 2))
    down = np.square(np.diff(values, axis=1)).mean(axis=(1, 2))
    shade = pixels > 5
    return {
        "near_black": ((pixels > 0) & ~shade).sum(axis=(1, 2)).astype(np.float64),
        "saturated": (pixels > 250).sum(axis=(1, 2)).astype(np.float64),
        "ink": values.mean(axis=(1, 2), dtype=np.float64),
        "box": np.maximum(_extent(np.any(shade, axis=1)), _extent(np.any(shade, axis=2))),
        "centre_x": centre_x,
        "centre_y": centre_y,
        "stroke": 2.0 * area / np.maximum(edge, 1),
        "slant": covariance / np.maximum(variance_y, 1e-3),
        "roughness": (across + down) / 2.0 / np.maximum(values.var(axis=(1, 2)), 1e-3),
        "pieces": _parts(ink, _EIGHT),
        # The frame joins all that is outside; what else is background is enclosed.
        "holes": _parts(~framed, _FOUR) - 1.0,
    }


def grey(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C] -> uint8 [N, H, W], the mean of the channels, rounded down."""
    if images.shape[3] == 1:
        return images[..., 0]
    return (images.sum(axis=3, dtype=np.uint16) // images.shape[3]).astype(np.uint8)


def one_threshold_accuracy(fake: np.ndarray, real: np.ndarray) -> float:
    """How often the best single threshold on a number tells fake from real, both equally many.

    (1 + D) / 2 with D the Kolmogorov-Smirnov distance of the two samples: 0.5 where they are
    distributed alike, 1 where a threshold parts them without error.

    Args:
      fake: finite numbers [N], N >= 1.
      real: finite numbers [M], M >= 1.
    """
    fake, real = checks.finite("fake", fake), checks.finite("real", real)
    if fake.ndim != 1 or real.ndim != 1 or not len(fake) or not len(real):
        raise ValueError("fake and real must be rows of numbers, not empty")
    return float((1 + stats.ks_2samp(fake, real, method="asymp").statistic) / 2)


def level_histogram(images: np.ndarray) -> np.ndarray:
    """How many pixels have each grey level: int64 [256]. Histograms of parts add up.

    Raises:
      ValueError: `images` is not uint8.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 pixels, got {images.dtype}")
    return np.bincount(images.ravel(), minlength=LEVELS)


def level_divergence(fake: np.ndarray, real: np.ndarray) -> float:
    """Jensen-Shannon divergence of two `level_histogram`s in bits: 0 alike, 1 no level in common.

    Symmetric, so that levels which only the fakes use count as much as levels which they lack
    (Lin 1991, "Divergence measures based on the Shannon entropy", section 4).

    Raises:
      ValueError: not 256 counts, or nothing counted.
    """
    shares = [_level_shares(name, counts) for name, counts in (("fake", fake), ("real", real))]
    middle = (shares[0] + shares[1]) / 2
    return max(0.0, float(np.mean([stats.entropy(share, middle, base=2) for share in shares])))


def _level_shares(name: str, counts: np.ndarray) -> np.ndarray:
    """Share of each grey level in a `level_histogram`: float64 [256]."""
    counts = checks.finite(name, counts)
    if counts.shape != (LEVELS,) or (counts < 0).any() or counts.sum() <= 0:
        raise ValueError(f"{name} must be a histogram of {LEVELS} grey levels, not empty")
    return counts / counts.sum()


def pixel_shift(fake: np.ndarray, real: np.ndarray) -> float:
    """The largest difference, over pixels, of how often a pixel is ink: 0..1.

    A mark that every image carries shows here, whatever the digits are.

    Args:
      fake, real: uint8 [N, H, W, C], N >= 1 each.
    """
    shares = [
        np.mean(check_images(name, images) >= INK, axis=0)
        for name, images in (("fake", fake), ("real", real))
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def _extent(lit: np.ndarray) -> np.ndarray:
    """bool [N, L] -> from the first to the last True, both counted: float64 [N]."""
    first, last = lit.argmax(axis=1), lit.shape[1] - 1 - lit[:, ::-1].argmax(axis=1)
    return np.where(lit.any(axis=1), last - first + 1, 0).astype(np.float64)


def _parts(mask: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """Connected parts of every image: bool [N, H, W] -> float64 [N]."""
    labelled, _ = ndimage.label(mask, structure)
    # Parts are numbered in the order of the images: the largest number so far counts them.
    so_far = np.maximum.accumulate(labelled.max(axis=(1, 2)))
    return np.diff(so_far, prepend=0).astype(np.float64)
