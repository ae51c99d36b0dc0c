import math

import numpy as np
import pytest

from metrics.pixels import intensity_histogram, intensity_kld, mse_to_nearest, sharpness


def flat(*levels: int) -> np.ndarray:
    """Pictures of one grey level each."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 28, 28, 1), np.uint8)


def test_the_error_is_to_the_nearest_real_of_the_class_asked_for_in_units_of_full_white():
    # The 51 of class 0 is nearest to 0 (102 is of class 1); the 255 of class 1 to 102.
    found = mse_to_nearest(flat(51, 255), np.array([0, 1]), flat(0, 102), np.array([0, 1]), 2)
    assert found.per_class == {0: pytest.approx(0.04), 1: pytest.approx(0.36)}
    assert found.mse == pytest.approx(0.2)
    assert found.unmatched == 0


def test_the_mean_is_over_fakes_and_not_over_classes():
    found = mse_to_nearest(flat(0, 0, 255), np.array([0, 0, 1]), flat(0, 0), np.array([0, 1]), 2)
    assert found.mse == pytest.approx(1 / 3)


def test_a_copy_has_no_error(digits):
    images, labels = digits
    assert mse_to_nearest(images[5:9], labels[5:9], images, labels, 10).mse == 0


def test_fakes_of_a_class_that_the_reals_lack_are_counted_and_left_out():
    found = mse_to_nearest(flat(255, 9), np.array([0, 2]), flat(0), np.array([0]), 3)
    assert (found.mse, found.unmatched, set(found.per_class)) == (1, 1, {0})
    none = mse_to_nearest(flat(9), np.array([2]), flat(0), np.array([0]), 3)
    assert math.isnan(none.mse) and none.unmatched == 1


def test_pictures_and_labels_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match="real_labels must be integers of shape"):
        mse_to_nearest(flat(0), np.array([0]), flat(0), np.array([0, 0]), 1)
    with pytest.raises(ValueError, match=r"fake_labels must lie in 0\.\.0, got 3\.\.3"):
        mse_to_nearest(flat(0), np.array([3]), flat(0), np.array([0]), 1)
    with pytest.raises(ValueError, match="images must be uint8"):
        mse_to_nearest(flat(0) / 255.0, np.array([0]), flat(0), np.array([0]), 1)


def test_intensities_are_counted_over_all_pixels_and_parts_add_up(digits):
    counts = intensity_histogram(digits[0])
    assert counts.sum() == digits[0].size and counts.shape == (256,)
    assert counts[0] == np.count_nonzero(digits[0] == 0)
    parts = intensity_histogram(digits[0][:100]) + intensity_histogram(digits[0][100:])
    np.testing.assert_array_equal(parts, counts)


def test_divergence_is_zero_for_equal_and_grows_with_a_grey_veil(digits):
    real = intensity_histogram(digits[0])
    assert intensity_kld(real, real) == 0
    veils = [
        intensity_kld(real, intensity_histogram(np.maximum(digits[0], level))) for level in (1, 40)
    ]
    assert veils[0] > 1 and veils[1] > 1
    brighter = np.minimum(digits[0].astype(int) + 10, 255).astype(np.uint8)
    assert intensity_kld(real, intensity_histogram(brighter)) > 0.5


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
        intensity_histogram(np.zeros(3))


def test_sharpness_of_stripes_by_hand():
    # Across: every difference is 200; down: none; the variance is 100 squared.
    stripes = np.zeros((1, 28, 28, 1), np.uint8)
    stripes[:, :, ::2] = 200
    assert sharpness(stripes) == pytest.approx((200**2 + 0) / 2 / 100**2)


def test_sharpness_of_independent_pixels_is_2_and_of_one_grey_level_0():
    noise = np.random.default_rng(0).integers(0, 256, (200, 28, 28, 1), np.uint8)
    assert sharpness(noise) == pytest.approx(2, rel=0.01)
    assert sharpness(flat(7, 7)) == 0


def test_blur_lowers_sharpness_salt_raises_it_and_contrast_leaves_it(digits):
    from scipy import ndimage

    images = digits[0][:300]
    own = sharpness(images)
    blurred = ndimage.gaussian_filter(images.astype(float), (0, 0.5, 0.5, 0))
    assert sharpness(np.rint(blurred).astype(np.uint8)) < 0.95 * own
    salt = np.random.default_rng(0).random(images.shape) < 0.01
    assert sharpness(np.where(salt, np.uint8(255), images)) > 1.05 * own
    assert sharpness(images // 2) == pytest.approx(own, rel=0.01)


def test_sharpness_refuses_what_is_no_sheet_of_pixels():
    with pytest.raises(ValueError, match="uint8"):
        sharpness(np.zeros((1, 28, 28, 1)))
    for shape in ((0, 28, 28, 1), (3, 28, 1, 1), (28, 28)):
        with pytest.raises(ValueError, match="images must have shape"):
            sharpness(np.zeros(shape, np.uint8))
