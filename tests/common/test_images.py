"""The two forms of an image, and the grid of many."""

import numpy as np
import pytest

from common import images
from common.images import to_floats, to_levels, to_uint8

LEVELS = np.arange(256, dtype=np.uint8)


def test_the_round_trip_is_exact_on_all_256_levels():
    floats = to_floats(LEVELS.astype(np.float32))
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (-1.0, 1.0)
    np.testing.assert_array_equal(to_uint8(floats), LEVELS)
    np.testing.assert_allclose(to_levels(floats), LEVELS, atol=1e-4)


def test_values_outside_the_range_are_clipped():
    np.testing.assert_array_equal(to_uint8(np.array([-7.0, 1.5])), [0, 255])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        to_uint8(np.array([0.0, value]))


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 1)])
def test_every_shape_that_the_networks_draw_is_taken_and_shown(shape):
    batch = np.random.default_rng(0).integers(0, 256, [3, *shape], np.uint8)
    assert images.is_known(shape) and images.check_images("x", batch) is batch
    sheet = images.tile(batch, 2, scale=1)
    assert sheet.ndim == (2 if shape[2] == 1 else 3)
    np.testing.assert_array_equal(sheet[2 : 2 + shape[0], 2 : 2 + shape[0]], batch[0].squeeze())


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 2), (28, 32, 1), (20, 20, 3), ()])
def test_another_shape_is_refused_with_what_is_taken(shape):
    with pytest.raises(ValueError, match=r"\[N, size, size, 1 or 3\] with a size of 28, 32, 64"):
        images.check_images("x", np.zeros([2, *shape], np.uint8))
