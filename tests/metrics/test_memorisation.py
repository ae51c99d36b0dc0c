import math

import numpy as np
import pytest

from metrics.memorisation import closest_pairs, memorisation, nearest, pixel_rows


def clouds(seed: int = 0):
    random = np.random.default_rng(seed)
    train, test = random.normal(size=(2000, 10)), random.normal(size=(500, 10))
    return random, train, nearest(test, train)[0]


def test_fresh_draws_are_no_nearer_to_the_training_rows_than_test_rows():
    random, train, usual = clouds()
    found = memorisation(nearest(random.normal(size=(500, 10)), train)[0], usual)
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert found.suspect_share < 0.03
    assert found.expected_share == 0.01


def test_copies_are_at_ratio_zero_and_all_suspect():
    _, train, usual = clouds()
    found = memorisation(nearest(train[:300], train)[0], usual)
    assert (found.ratio, found.fake_median, found.suspect_share) == (0, 0, 1)


def test_a_few_copies_are_suspect_though_the_median_does_not_see_them():
    random, train, usual = clouds()
    fakes = random.normal(size=(500, 10))
    fakes[:50] = train[:50] + 1e-3
    found = memorisation(nearest(fakes, train)[0], usual)
    assert found.ratio > 0.9
    assert 0.1 <= found.suspect_share < 0.13


def test_the_numbers_are_medians_and_the_quantile_of_the_test_distances():
    found = memorisation([1, 2, 3], np.arange(101.0), expected_share=0.02)
    assert (found.fake_median, found.test_median, found.ratio) == (2, 50, 0.04)
    assert found.threshold == pytest.approx(2)
    assert found.suspect_share == pytest.approx(1 / 3)


def test_test_pictures_that_are_copies_themselves_give_no_finite_ratio():
    assert memorisation([1.0], [0.0, 0.0]).ratio == math.inf
    assert math.isnan(memorisation([0.0], [0.0]).ratio)


@pytest.mark.parametrize(
    ("fakes", "tests", "options", "message"),
    [
        ([], [1.0], {}, "fake_distances must be a row of distances"),
        ([1.0], [-1.0], {}, "test_distances must be a row of distances, not negative"),
        ([np.nan], [1.0], {}, "fake_distances holds 1 values"),
        ([[1.0]], [1.0], {}, r"fake_distances .* got shape \[1, 1\]"),
        ([1.0], [1.0], {"expected_share": 0}, "expected_share must lie between 0 and 1"),
    ],
)
def test_distances_that_do_not_fit_are_refused_by_name(fakes, tests, options, message):
    with pytest.raises(ValueError, match=message):
        memorisation(fakes, tests, **options)


def test_the_closest_pairs_come_nearest_first():
    found = closest_pairs(np.array([3.0, 1.0, 2.0, 1.0]), np.array([7, 8, 9, 6]), 3)
    assert found == [(1, 8, 1.0), (3, 6, 1.0), (2, 9, 2.0)]
    assert len(closest_pairs(np.array([3.0]), np.array([7]), 5)) == 1


def test_pixel_rows_are_in_0_to_1():
    images = np.zeros((2, 28, 28, 1), np.uint8)
    images[1] = 255
    rows = pixel_rows(images)
    assert rows.shape == (2, 784)
    assert nearest(rows[:1], rows[1:])[0][0] == pytest.approx(28)
    with pytest.raises(ValueError, match="images must be uint8"):
        pixel_rows(images / 255)
