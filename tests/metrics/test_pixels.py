import math

import numpy as np
import pytest

from metrics.ink import level_histogram
from metrics.pixels import intensity_kld, mse_to_nearest


def flat(*levels: int) -> np.ndarray:
    """Images of one grey level each."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 28, 28, 1), np.uint8)


def test_the_error_is_to_the_nearest_real_of_the_class_asked_for_in_units_of_full_white():
    # The 51 of class 0 is nearest to 0 (102 is of class 1); the 255 of class 1 to 102.
    found = mse_to_nearest(flat(51, 255), np.array([0, 1]), flat(0, 102), np.array([0, 1]), 2)
    assert found == pytest.approx((0.04 + 0.36) / 2)


def test_a_copy_has_no_error(digits):
    images, labels = digits
    assert mse_to_nearest(images[5:9], labels[5:9], images, labels, 10) == 0


def test_fakes_of_a_class_that_the_reals_lack_are_left_out():
    found = mse_to_nearest(flat(255, 9), np.array([0, 2]), flat(0), np.array([0]), 3)
    assert found == 1
    none = mse_to_nearest(flat(9), np.array([2]), flat(0), np.array([0]), 3)
    assert math.isnan(none)


def test_images_and_labels_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match="real_labels must be integers of shape"):
        mse_to_nearest(flat(0), np.array([0]), flat(0), np.array([0, 0]), 1)
    with pytest.raises(ValueError, match=r"fake_labels must lie in 0\.\.0, got 3\.\.3"):
        mse_to_nearest(flat(0), np.array([3]), flat(0), np.array([0]), 1)
    with pytest.raises(ValueError, match="images must be uint8"):
        mse_to_nearest(flat(0) / 255.0, np.array([0]), flat(0), np.array([0]), 1)


def test_divergence_is_zero_for_equal_and_grows_with_a_grey_veil(digits):
    real = level_histogram(digits[0])
    assert intensity_kld(real, real) == 0
    veils = [
        intensity_kld(real, level_histogram(np.maximum(digits[0], level))) for level in (1, 40)
    ]
    assert veils[0] > 1 and veils[1] > 1
    brighter = np.minimum(digits[0].astype(int) + 10, 255).astype(np.uint8)
    assert intensity_kld(real, level_histogram(brighter)) > 0.5


def test_divergence_is_of_the_reals_from_the_fakes_with_half_a_pixel_a_level():
    real, fake = np.zeros(256), np.zeros(256)
    real[0], fake[0], fake[1] = 1000, 500, 500
    p, q = (real + 0.5) / 1128, (fake + 0.5) / 1128
    assert intensity_kld(real, fake) == pytest.approx(float(np.sum(p * np.log(p / q))))
    assert intensity_kld(real, fake) != pytest.approx(intensity_kld(fake, real), rel=0.01)


def test_histograms_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match="real must be a histogram of 256 grey levels"):
        intensity_kld(np.ones(10), np.ones(256))
    with pytest.raises(ValueError, match="fake must be a histogram of 256 grey levels, not empty"):
        intensity_kld(np.ones(256), np.zeros(256))
    with pytest.raises(ValueError, match="images must be uint8 pixels, got float64"):
        level_histogram(np.zeros(3))
