import math

import numpy as np
import pytest

from metrics.frechet import (
    FeatureStats,
    frechet_bias,
    frechet_distance,
    frechet_distance_from_features,
)


def rotation(random: np.random.Generator, dim: int) -> np.ndarray:
    return np.linalg.qr(random.normal(size=(dim, dim)))[0]


def commuting(random, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Two covariances with the same axes and the exact distance between them at equal means."""
    axes = rotation(random, len(a))
    return (axes * a) @ axes.T, (axes * b) @ axes.T, float(((a**0.5 - b**0.5) ** 2).sum())


def at_origin(cov_a: np.ndarray, cov_b: np.ndarray) -> float:
    zero = np.zeros(len(cov_a))
    return frechet_distance(zero, cov_a, zero, cov_b)


def test_one_dimension_is_the_difference_of_means_and_deviations():
    assert frechet_distance([1.0], [[4.0]], [4.0], [[25.0]]) == pytest.approx(9 + 9)


def test_only_the_means_differ_gives_their_squared_distance():
    cov = [[2.0, 0.5], [0.5, 1.0]]
    assert frechet_distance([0, 0], cov, [3, 4], cov) == pytest.approx(25, rel=1e-12)


def test_covariances_that_do_not_commute_have_the_value_of_the_closed_form():
    # In two dimensions tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)).
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    expected = np.trace(a) + np.trace(b) - 2 * root
    assert at_origin(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dim", [2, 10, 128, 512])
@pytest.mark.parametrize("decades", [1, 6, 12])
def test_known_values_hold_to_a_millionth_over_many_decades_of_eigenvalues(dim, decades):
    random = np.random.default_rng(dim + decades)
    a, b = (10.0 ** random.uniform(-decades, 0, dim) for _ in range(2))
    cov_a, cov_b, expected = commuting(random, a, b)
    assert at_origin(cov_a, cov_b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dim", [2, 10, 128, 512])
def test_known_values_hold_to_a_millionth_where_covariances_are_singular(dim):
    random = np.random.default_rng(dim)
    rank = max(1, dim // 3)
    a, b = np.zeros(dim), np.zeros(dim)
    a[:rank] = random.uniform(0.5, 2, rank)
    b[rank // 2 : rank // 2 + rank] = random.uniform(0.5, 2, rank)
    cov_a, cov_b, expected = commuting(random, a, b)
    assert at_origin(cov_a, cov_b) == pytest.approx(expected, rel=1e-6)


def test_a_tiny_distance_between_nearly_equal_covariances_keeps_its_digits():
    random = np.random.default_rng(1)
    values = 10.0 ** random.uniform(-3, 0, 64)
    axes = rotation(random, 64)
    cov = (axes * values) @ axes.T
    expected = (math.sqrt(1.001) - 1) ** 2 * values.sum()
    assert at_origin(cov, 1.001 * cov) == pytest.approx(expected, rel=1e-6)


def test_2048_dimensions_of_rank_99_have_the_known_value():
    random = np.random.default_rng(0)
    features = random.normal(size=(100, 2048)) + 50.0
    mean = features.mean(axis=0)
    stretched = (features - mean) * 1.5 + mean + 1.0
    expected = 2048 + 0.25 * features.var(axis=0, ddof=1).sum()
    assert frechet_distance_from_features(features, stretched) == pytest.approx(expected, rel=1e-6)


def test_it_is_zero_for_equal_arguments_and_the_same_both_ways_round():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(50, 8)), random.normal(size=(70, 8)) * 2
    assert frechet_distance_from_features(a, a) == 0
    assert frechet_distance_from_features(a, b) == pytest.approx(
        frechet_distance_from_features(b, a), rel=1e-12
    )


def test_covariances_are_divided_by_n_minus_1():
    stats = FeatureStats.of(np.array([[0.0], [2.0]]))
    assert stats.cov == pytest.approx(np.array([[2.0]]))
    assert frechet_distance_from_features([[0.0], [2.0]], [[0.0], [0.0]]) == pytest.approx(1 + 2)


def test_a_mean_a_million_times_the_spread_costs_no_digits():
    random = np.random.default_rng(0)
    # Multiples of 2^-10, so that the offset itself is added without rounding.
    a, b = (np.round(random.normal(size=(500, 6)) * 1024) / 1024 for _ in range(2))
    plain = frechet_distance_from_features(a, b)
    assert frechet_distance_from_features(a + 2.0**20, b + 2.0**20) == pytest.approx(
        plain, rel=1e-9
    )


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="features must have at least 2 rows, got 1"):
        FeatureStats.of([[1.0, 2.0]])
    with pytest.raises(ValueError, match="b must have at least 2 rows, got 1"):
        frechet_distance_from_features([[1.0], [2.0]], [[1.0]])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([1.0, 2.0], r"features must have shape \[N, D\], got \[2\]"),
        (3.0, r"features must have shape \[N, D\]"),
        (np.zeros((2, 3, 4)), r"features must have shape \[N, D\], got \[2, 3, 4\]"),
        (np.zeros((2, 0)), r"features must have shape \[N, D\]"),
        ([[np.inf, 1.0], [2.0, 3.0]], "features holds 1 values that are NaN or infinite"),
        ([["a"]], "features must hold real numbers"),
        (np.zeros((2, 2), complex), "features must hold real numbers, got complex128"),
    ],
)
def test_rows_that_are_no_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        FeatureStats.of(features)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], np.eye(2), [0], np.eye(2)), "mean_a and mean_b must have the same shape"),
        (([0, 0], np.eye(3), [0, 0], np.eye(2)), r"cov_a must have shape \[2, 2\], got \[3, 3\]"),
        (([0, np.nan], np.eye(2), [0, 0], np.eye(2)), "mean_a holds 1 values"),
        (([0, 0], np.eye(2), [0, 0], np.full((2, 2), np.inf)), "cov_b holds 4 values"),
        (([0, 0], [[1, 2], [0, 1]], [0, 0], np.eye(2)), "cov_a must be symmetric"),
        (([0, 0], np.eye(2), [0, 0], np.diag([1, -0.5])), "cov_b is no covariance"),
    ],
)
def test_moments_that_are_no_moments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(*arguments)


def test_the_bias_for_round_clouds_is_the_known_formula():
    expected = 2.0 * 10 * (1 / 500 + 1 / 2000) * (1 + 11 / 4)
    assert frechet_bias(2.0 * np.eye(10), 500, 2000) == pytest.approx(expected, rel=1e-12)


def test_the_bias_foretells_the_distance_between_draws_of_one_gaussian():
    random = np.random.default_rng(0)
    scales = 10.0 ** random.uniform(-1, 0.5, 12)
    draws = [
        frechet_distance_from_features(
            random.normal(size=(1500, 12)) * scales, random.normal(size=(900, 12)) * scales
        )
        for _ in range(60)
    ]
    assert np.mean(draws) == pytest.approx(frechet_bias(np.diag(scales**2), 1500, 900), rel=0.1)
