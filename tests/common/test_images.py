"""The two forms of an image, and the grid of many."""

import numpy as np
import pytest

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
