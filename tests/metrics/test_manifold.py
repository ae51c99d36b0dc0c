import tracemalloc

import numpy as np
import pytest

from metrics import distances
from metrics.manifold import density_coverage, manifold_scores, squared_radii


def by_loops(real, fake, k):
    """Precision, recall, density and coverage, image by image."""

    def radius(points, i):
        others = sorted(np.linalg.norm(p - points[i]) for j, p in enumerate(points) if j != i)
        return others[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, i) for i in range(len(fake))]
    inside = [[np.linalg.norm(f - r) <= real_radii[i] for i, r in enumerate(real)] for f in fake]
    recalled = [
        any(np.linalg.norm(f - r) <= fake_radii[j] for j, f in enumerate(fake)) for r in real
    ]
    return (
        np.mean([any(row) for row in inside]),
        np.mean(recalled),
        np.sum(inside) / (k * len(fake)),
        np.mean([any(row[i] for row in inside) for i in range(len(real))]),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block_bytes", [1, 2000, 1 << 26])
def test_all_four_are_what_loops_over_images_give(k, block_bytes, monkeypatch):
    monkeypatch.setattr(distances, "_BLOCK_BYTES", block_bytes)
    random = np.random.default_rng(k)
    real, fake = random.normal(size=(60, 3)), random.normal(size=(45, 3)) * 0.7 + 0.5
    precision, recall, density, coverage = by_loops(real, fake, k)
    assert density_coverage(real, fake, k) == pytest.approx((density, coverage))
    scores = manifold_scores(real, fake, k, real_radii=squared_radii(real, k))
    assert (scores.precision, scores.recall) == pytest.approx((precision, recall))
    assert (scores.density, scores.coverage) == pytest.approx((density, coverage))


def test_points_on_a_line_by_hand():
    # Balls about the reals 0, 1, 3 reach 1, 1, 2 (k = 1); about the fakes 1, 6, 7: 5, 1, 1.
    real, fake = [[0.0], [1.0], [3.0]], [[1.0], [6.0], [7.0]]
    assert squared_radii(np.array(real), 1) == pytest.approx([1, 1, 4])
    scores = manifold_scores(np.array(real), np.array(fake), 1)
    # The fake at 1 is in all three balls (on the edge of two), the others in none.
    assert (scores.precision, scores.recall) == pytest.approx((1 / 3, 1))
    assert (scores.density, scores.coverage) == pytest.approx((3 / 3, 1))


def test_the_reals_themselves_are_wholly_precise_and_wholly_recalled():
    real = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32) + 100
    scores = manifold_scores(real, real, 3)
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 1)
    # Each fake is in its own ball, and in that of everyone whose k nearest it is among.
    assert scores.density == pytest.approx((3 + 1) / 3, rel=1e-12)


def test_a_collapsed_generator_is_precise_and_recalls_nothing():
    random = np.random.default_rng(0)
    real = random.normal(size=(400, 2))
    scores = manifold_scores(real, np.zeros((400, 2)), 3)
    assert scores.precision == 1
    assert scores.recall == 0
    assert scores.coverage < 0.05


def test_one_outlier_among_the_reals_raises_precision_and_not_density():
    random = np.random.default_rng(0)
    real = random.normal(size=(500, 2))
    real[0] = [40, 0]
    fake = random.normal(size=(500, 2))
    fake[:, 0] += 20
    scores = manifold_scores(real, fake, 3)
    assert scores.precision > 0.9 and scores.density < 0.4


def test_a_thousand_against_a_thousand_never_holds_the_whole_matrix(monkeypatch):
    monkeypatch.setattr(distances, "_BLOCK_BYTES", 1 << 18)
    real, fake = np.random.default_rng(0).normal(size=(2, 1500, 8))
    tracemalloc.start()
    manifold_scores(real, fake, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1500 * 1500 * 8 / 4


@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (np.ones((3, 2)), np.ones((9, 2)), 3, "real must have at least 4 rows, got 3"),
        (np.ones((9, 2)), np.ones((3, 2)), 3, "fake must have at least 4 rows, got 3"),
        (np.ones((9, 2)), np.ones((9, 3)), 3, "real and fake must have the same width"),
        (np.ones((9, 2)), np.full((9, 2), np.nan), 3, "fake holds 18 values that are NaN"),
        (np.ones((9, 2)), np.ones((9, 2)), 0, "k must be a whole number of at least 1, got 0"),
        (np.ones(9), np.ones((9, 2)), 1, r"real must have shape \[N, D\]"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(real, fake, k, message):
    with pytest.raises(ValueError, match=message):
        manifold_scores(real, fake, k)


def test_density_and_coverage_take_a_single_fake():
    assert density_coverage([[0.0], [1.0], [2.0]], [[0.5]], 1) == pytest.approx((2, 2 / 3))


def test_radii_of_other_rows_are_refused():
    with pytest.raises(ValueError, match=r"real_radii must have shape \[9\]"):
        manifold_scores(np.ones((9, 2)), np.ones((9, 2)), 3, real_radii=np.ones(8))
