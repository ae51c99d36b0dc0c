import numpy as np
import pytest

from metrics.kernel import kernel_distance


def by_loops(a, b) -> float:
    """Bińkowski et al. 2018, equation 4, pair by pair."""

    def kernel(x, y):
        return (float(np.dot(x, y)) / len(x) + 1) ** 3

    def among(points):
        n = len(points)
        pairs = [kernel(points[i], points[j]) for i in range(n) for j in range(n) if i != j]
        return sum(pairs) / (n * (n - 1))

    return among(a) + among(b) - 2 * sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))


def test_it_is_the_unbiased_estimate_over_all_pairs():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(7, 3)), random.normal(size=(9, 3)) + 0.5
    assert kernel_distance(a, b) == pytest.approx(by_loops(a, b), rel=1e-12)


def test_it_is_zero_on_average_for_one_distribution_and_a_shift_is_seen():
    random = np.random.default_rng(1)
    same, moved = (
        [
            kernel_distance(random.normal(size=(200, 4)), random.normal(size=(200, 4)) + shift)
            for _ in range(60)
        ]
        for shift in (0.0, 0.5)
    )
    assert abs(np.mean(same)) < 4 * np.std(same) / 60**0.5
    assert min(moved) > max(same)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((30, 2)), np.ones((1, 2)), "b must have at least 2 rows"),
        (np.ones((30, 2)), np.ones((30, 3)), "a and b must have the same width, got 2 and 3"),
        (np.ones((30, 2)), np.full((30, 2), np.nan), "b holds 60 values that are NaN"),
        (np.ones(30), np.ones((30, 2)), r"a must have shape \[N, D\]"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(a, b, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(a, b)
