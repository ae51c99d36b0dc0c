import numpy as np
import pytest

from metrics import ink


def blank(count: int = 1) -> np.ndarray:
    return np.zeros((count, 28, 28, 1), np.uint8)


def test_a_bar_is_measured_as_with_a_ruler():
    images = blank()
    images[0, 4:24, 12:16] = 255
    found = {name: float(values[0]) for name, values in ink.statistics(images).items()}
    assert found["near_black"] == 0 and found["saturated"] == 80
    assert found["ink"] == pytest.approx(255 * 80 / 784)
    assert found["box"] == 20
    assert (found["centre_x"], found["centre_y"]) == pytest.approx((13.5, 13.5))
    assert found["stroke"] == pytest.approx(2 * 80 / 48)
    assert found["slant"] == pytest.approx(0, abs=1e-6)
    assert found["pieces"] == 1 and found["holes"] == 0


def test_fog_counts_as_near_black_and_never_as_ink_or_box():
    images = blank()
    images[0, 10:14, 10:14] = 200
    clear = ink.statistics(images)
    images[0, :8] = 4
    fog = ink.statistics(images)
    assert fog["near_black"][0] == 8 * 28 and clear["near_black"][0] == 0
    for name in ("box", "stroke", "pieces", "holes", "saturated"):
        assert fog[name][0] == clear[name][0]


def test_pieces_and_holes_are_counted_for_each_image_by_itself():
    images = blank(4)
    images[0, 5:20, 5:20] = 255
    images[0, 8:12, 8:12] = images[0, 14:17, 14:17] = 0  # two holes
    images[1, 2:5, 2:5] = images[1, 5:8, 5:8] = 255  # corners touch: one piece
    images[2, 2:5, 2:5] = images[2, 10:12, 2:5] = images[2, 20:22, 2:5] = 255
    found = ink.statistics(images)
    np.testing.assert_array_equal(found["pieces"], [1, 1, 3, 0])
    np.testing.assert_array_equal(found["holes"], [2, 0, 0, 0])


def test_a_blank_image_has_finite_statistics():
    for values in ink.statistics(blank(2)).values():
        assert np.isfinite(values).all()


def test_one_threshold_parts_what_can_be_parted_and_is_chance_on_equal_samples():
    low, high = np.arange(100.0), np.arange(100.0) + 200
    assert ink.one_threshold_accuracy(low, high) == ink.one_threshold_accuracy(high, low) == 1
    assert ink.one_threshold_accuracy(low, low) == 0.5
    assert ink.one_threshold_accuracy(low, np.concatenate([low, high])) == 0.75


def test_the_divergence_of_grey_levels_counts_surplus_levels_as_much_as_missing_ones():
    clear, foggy = np.zeros(256), np.zeros(256)
    clear[0] = 1000
    foggy[[0, 3]] = 500
    found = ink.level_divergence(foggy, clear)
    assert found == pytest.approx(ink.level_divergence(clear, foggy)) and found > 0.3
    assert ink.level_divergence(clear, clear) == 0
    white = np.zeros(256)
    white[255] = 1
    assert ink.level_divergence(clear, white) == pytest.approx(1)


def test_a_mark_on_every_image_is_the_largest_shift_of_a_pixel(digits):
    images = digits[0]
    marked = images[:600].copy()
    marked[:, 14, 14] = 255
    expected = 1 - (images[600:1200, 14, 14] >= ink.INK).mean()
    assert ink.pixel_shift(marked, images[600:1200]) == pytest.approx(expected)


def test_images_and_histograms_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="images must be uint8"):
        ink.statistics(np.zeros((3, 28, 28, 1)))
    with pytest.raises(ValueError, match="at least one image"):
        ink.statistics(blank(0))
    with pytest.raises(ValueError, match="fake must be a histogram"):
        ink.level_divergence(np.zeros(256), np.ones(256))
    with pytest.raises(ValueError, match="not empty"):
        ink.one_threshold_accuracy(np.zeros(0), np.zeros(3))
