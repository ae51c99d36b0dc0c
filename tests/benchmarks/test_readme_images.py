"""The images of the README are cut out of the right places."""

import numpy as np
from PIL import Image

from benchmarks import models
from benchmarks.readme_images import digits_of
from common.images import BETWEEN, tile


def grid(path) -> np.ndarray:
    """Writes a sample grid of ten rows of ten; its images, uint8 [100, 28, 28, 1]."""
    images = np.random.default_rng(0).integers(0, 256, [100, 28, 28, 1], dtype=np.uint8)
    Image.fromarray(tile(images, 10, scale=1)).save(path)
    return images


def test_a_column_of_a_sample_grid_has_one_image_of_each_row(tmp_path):
    images = grid(tmp_path / "step_0000001.png")
    found = digits_of(tmp_path / "step_0000001.png", 3)
    assert len(found) == 10
    for row, digit in enumerate(found):
        assert (digit[2:-2, 2:-2] == images[10 * row + 3, ..., 0]).all()
        assert (digit[:2] == BETWEEN).all()


def test_a_models_strip_is_of_its_last_samples(tmp_path):
    images = grid(tmp_path / "step_0000200.png")
    Image.new("L", (302, 302)).save(tmp_path / "step_0000100.png")
    strip = np.asarray(models.strip(tmp_path))[::2, ::2]
    assert (strip[2:30, 2:30] == images[0, ..., 0]).all()
    assert (strip[34:62, 2:30] == images[1, ..., 0]).all()
