import numpy as np
import pytest

from metrics.kernel import kernel_distance


def by_loops(a, b, *, degree=3, gamma=None, coef=1.0) -> float:
    """Bińkowski et al. 2018, equation 4, pair by pair."""
    gamma = 1 / len(a[0]) if gamma is None else gamma

    def kernel(x, y):
        return (gamma * float(np.dot(x, y)) + coef) ** degree

    def among(points):
        n = len(points)
        pairs = [kernel(points[i], points[j]) for i in range(n) for j in range(n) if i != j]
        return sum(pairs) / (n * (n - 1))

    return among(a) + among(b) - 2 * sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))


@pytest.mark.parametrize(
    "kernel", [{}, {"degree": 1}, {"degree": 2, "gamma": 0.3, "coef": 0.0}, {"coef": -2.0}]
)
def test_it_is_the_unbiased_estimate_over_all_pairs(kernel):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(7, 3)), random.normal(size=(9, 3)) + 0.5
    distance, error = kernel_distance(a, b, **kernel)
    assert distance == pytest.approx(by_loops(a, b, **kernel), rel=1e-12)
    assert error > 0


def test_two_points_against_two_points_by_hand():
    # k(x, y) = xy + 1: among (1, 3): 4; among (0, 2): 1; across: (1 + 3 + 1 + 7) / 4 = 3.
    a, b = [[1.0], [3.0]], [[0.0], [2.0]]
    assert kernel_distance(a, b, degree=1)[0] == pytest.approx(4 + 1 - 2 * 3)


def test_it_is_zero_on_average_for_one_distribution_and_its_error_no_smaller_than_the_spread():
    random = np.random.default_rng(1)
    results = [
        kernel_distance(random.normal(size=(200, 4)), random.normal(size=(200, 4)))
        for _ in range(100)
    ]
    values, errors = np.array(results).T
    assert abs(values.mean()) < 4 * values.std() / 10
    assert np.median(errors) > 0.8 * values.std()


def test_its_error_is_the_spread_where_the_clouds_differ():
    random = np.random.default_rng(2)
    results = [
        kernel_distance(random.normal(size=(150, 4)) + 0.7, random.normal(size=(150, 4)))
        for _ in range(100)
    ]
    values, errors = np.array(results).T
    assert np.median(errors) == pytest.approx(values.std(), rel=0.3)


def test_a_shift_is_seen_far_beyond_its_error():
    random = np.random.default_rng(2)
    a = random.normal(size=(2000, 8))
    distance, error = kernel_distance(a, random.normal(size=(2000, 8)) + 0.2)
    assert distance > 5 * error > 0


def test_float32_features_are_multiplied_in_float64():
    random = np.random.default_rng(0)
    a = (random.normal(size=(60, 2)) * 0.01 + 3).astype(np.float32)
    b = (random.normal(size=(60, 2)) * 0.01 + 3.01).astype(np.float32)
    expected = by_loops(a.astype(np.float64), b.astype(np.float64))
    assert kernel_distance(a, b)[0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (np.ones((30, 2)), np.ones((1, 2)), {}, "b must have at least 2 rows"),
        (np.ones((30, 2)), np.ones((30, 3)), {}, "a and b must have the same width, got 2 and 3"),
        (np.ones((30, 2)), np.full((30, 2), np.nan), {}, "b holds 60 values that are NaN"),
        (np.ones(30), np.ones((30, 2)), {}, r"a must have shape \[N, D\]"),
        (np.ones((30, 2)), np.ones((30, 2)), {"degree": 0}, "degree must be a whole number"),
        (np.ones((30, 2)), np.ones((30, 2)), {"degree": 1.5}, "degree must be a whole number"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(a, b, **options)
