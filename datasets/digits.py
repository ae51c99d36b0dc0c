"""The data set that is always at hand: scikit-learn's 1,797 handwritten digits as a TFDS builder.

Importing this module registers the builder: `tfds.builder("digits")` finds it from then on.
"""

import hashlib
import importlib.resources
from collections.abc import Iterator

import numpy as np
import scipy.ndimage
import tensorflow_datasets as tfds

SOURCE_FILE = "digits.csv.gz"  # as scikit-learn ships it
_EVERY_NTH_IS_TEST = 7  # 257 test images; the digits come in blocks of ten, so classes stay even
_SIZE, _INK = 28, 20  # as in MNIST: a 20x20 box of ink in a 28x28 field


def source_checksums() -> dict[str, str]:
    """The sha256 of the file that scikit-learn embeds, by name."""
    content = importlib.resources.files("sklearn.datasets.data").joinpath(SOURCE_FILE).read_bytes()
    return {SOURCE_FILE: hashlib.sha256(content).hexdigest()}


def as_mnist(image: np.ndarray) -> np.ndarray:
    """Draws a digit of the 8x8 set the way MNIST draws its own.

    The 8x8 values are counts of ink in 4x4 blocks of a bitmap, so they are area samples: a cubic
    spline through them gives smooth, antialiased strokes. As in MNIST the 20x20 result is put
    where its centre of mass is the middle of the 28x28 field.

    Args:
      image: [8, 8], values 0 to 16.

    Returns:
      uint8 [28, 28, 1], background 0.
    """
    # Two blocks of background on each side, cut off again below, keep the spline from ringing at
    # strokes that touch the border.
    padded = np.pad(np.asarray(image, np.float64), 2)
    big = scipy.ndimage.zoom(padded, _INK / 8, order=3, mode="grid-constant", grid_mode=True)
    ink = np.clip(np.rint(big[5:-5, 5:-5] * (255 / 16)), 0, 255)
    field = np.zeros((_SIZE, _SIZE, 1), np.uint8)
    centre = np.array(scipy.ndimage.center_of_mass(ink))
    free = _SIZE - _INK
    top, left = np.clip(np.rint((_SIZE - 1) / 2 - centre), 0, free).astype(int)
    field[top : top + _INK, left : left + _INK, 0] = ink.astype(np.uint8)
    return field


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits by 13 writers, in the shape of MNIST."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 (TFDS's own way)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "The test part of the UCI set 'Optical Recognition of Handwritten Digits' as "
                "scikit-learn embeds it: 1,797 digits of 8x8 pixels, drawn here as MNIST draws "
                "its own (20x20, antialiased, centred in 28x28)."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(_SIZE, _SIZE, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/",
            license="CC BY 4.0",
            citation=(
                "@misc{alpaydin1998optical,\n"
                "  title={Optical Recognition of Handwritten Digits},\n"
                "  author={Alpaydin, E. and Kaynak, C.},\n"
                "  year={1998},\n"
                "  howpublished={UCI Machine Learning Repository},\n"
                "  doi={10.24432/C50P49}\n"
                "}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # nothing to download
        return {
            "train": self._generate_examples(test=False),
            "test": self._generate_examples(test=True),
        }

    def _generate_examples(self, *, test: bool) -> Iterator[tuple[int, dict]]:
        import sklearn.datasets  # a second of import that only the preparation needs

        bunch = sklearn.datasets.load_digits()
        for index, (image, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
            if (index % _EVERY_NTH_IS_TEST == 0) == test:
                yield index, {"image": as_mnist(image), "label": int(label)}
