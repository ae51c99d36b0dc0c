"""Images of one split that are nearly images of another: FID and memorisation look too good."""

import numpy as np

from common.images import check_images
from metrics.distances import nearest

CELLS = 7  # at least so many, across and down, of the small images that are compared
ALIKE = 0.1  # root mean square difference over the standard deviation: a correlation of 0.995


def near_duplicates(images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Which images are nearly, pixel by pixel, one of the train images.

    Each is compared with the one whose small version (means of 4x4 or 8x8 pixels) is nearest: a
    picture that was saved again or is a little brighter is found, one that is shifted is not.

    Args:
      images: uint8 [N, H, W, C].
      train: uint8 [M, H, W, C], M >= 1.

    Returns:
      bool [N].
    """
    images, train = check_images("images", images), check_images("train", train)
    if not len(images):
        return np.zeros(0, bool)
    _, found = nearest(_small(images), train, _small)
    alike = np.empty(len(images), bool)
    for start in range(0, len(images), 1000):  # as floats all of them would take much memory
        part = slice(start, start + 1000)
        pixels = images[part].reshape(len(images[part]), -1).astype(np.float32)
        others = train[found[part]].reshape(pixels.shape).astype(np.float32)
        difference = np.sqrt(np.square(pixels - others).mean(axis=1))
        alike[part] = difference <= np.maximum(1.0, ALIKE * pixels.std(axis=1))
    return alike


def _small(images: np.ndarray) -> np.ndarray:
    """float64 [N, cells x cells x C]: means of square blocks."""
    count, side, _, channels = images.shape
    block = side // (CELLS if side % CELLS == 0 else CELLS + 1)
    cells = side // block
    blocks = images.reshape(count, cells, block, cells, block, channels)
    sums = blocks.sum(axis=(2, 4), dtype=np.uint32)
    return sums.reshape(count, -1) / block**2
