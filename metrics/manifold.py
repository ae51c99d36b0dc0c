"""Fidelity and variety apart: precision, recall, density and coverage of two clouds of features.

Each real (or fake) row is the middle of a ball that reaches to its k-th nearest neighbour among
its own kind; together the balls stand for the manifold. A row on the edge of a ball is inside.
"""

import dataclasses

import numpy as np

from metrics import checks, distances

# How much longer, as a share of the cloud's own squared size: well above the rounding of float64,
# well below that of float32 features.
_EDGE = 1e-11


@dataclasses.dataclass(frozen=True)
class ManifoldScores:
    """All that two clouds of features and one k give.

    Attributes:
      precision: share of the fakes in a ball about a real, 0..1.
      recall: share of the reals in a ball about a fake, 0..1.
      density: how many balls about reals a fake is in on average, over k; may exceed 1.
      coverage: share of the reals whose ball holds a fake, 0..1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Density and coverage, which one outlier among the reals does not spoil.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", section 3
    (there k = 5). Only reals have balls, so the fakes may be few.

    Args:
      real: [N, D], N > k.
      fake: [M, D], M >= 1.
      k: which neighbour a ball reaches to, itself not counted.

    Returns:
      density and coverage.

    Raises:
      ValueError: wrong shapes, NaN or infinity, or too few rows for k.
    """
    real, fake = _checked(real, fake, k, fewest_fakes=1)
    real_radii = squared_radii(real, k)
    inside, covered = 0, np.zeros(len(real), bool)
    for _, block in distances.squared_distances(fake, real):
        in_ball = block <= real_radii
        inside += int(np.count_nonzero(in_ball))
        covered |= in_ball.any(axis=0)
    return inside / (k * len(fake)), float(covered.mean())


def manifold_scores(
    real: np.ndarray, fake: np.ndarray, k: int, *, real_radii: np.ndarray | None = None
) -> ManifoldScores:
    """Improved precision and recall, and `density_coverage`, of one k together.

    Precision and recall: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for
    Assessing Generative Models", equations 1 and 2 (there k = 3).

    Args:
      real: [N, D], N > k.
      fake: [M, D], M > k.
      k: which neighbour a ball reaches to, itself not counted.
      real_radii: what `squared_radii(real, k)` gave, where the reals are used again and again.

    Raises:
      ValueError: wrong shapes, NaN or infinity, or too few rows for k.
    """
    real, fake = _checked(real, fake, k, fewest_fakes=k + 1)
    if real_radii is None:
        real_radii = squared_radii(real, k)
    elif np.shape(real_radii) != (len(real),):
        raise ValueError(f"real_radii must have shape [{len(real)}], got {np.shape(real_radii)}")
    fake_radii = squared_radii(fake, k)
    inside, precise = 0, 0
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start, block in distances.squared_distances(fake, real):
        in_real_ball = block <= real_radii
        inside += int(np.count_nonzero(in_real_ball))
        precise += int(np.count_nonzero(in_real_ball.any(axis=1)))
        covered |= in_real_ball.any(axis=0)
        recalled |= (block <= fake_radii[start : start + len(block), None]).any(axis=0)
    return ManifoldScores(
        precision=precise / len(fake),
        recall=float(recalled.mean()),
        density=inside / (k * len(fake)),
        coverage=float(covered.mean()),
    )


def squared_radii(points: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of every row of `points` [N, D] to its k-th nearest other row: [N].

    Longer by a trifle, so that rounding does not put a row that is on the edge of a ball outside.

    Raises:
      ValueError: wrong shape, NaN or infinity, or fewer than k + 1 rows.
    """
    points = checks.features("points", points, at_least=k + 1)
    result = np.empty(len(points))
    for start, block in distances.squared_distances(points, points):
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf  # itself; a copy of it elsewhere does count
        block.partition(k - 1, axis=1)
        result[start : start + len(block)] = block[:, k - 1]
    return result + _EDGE * points.var(axis=0).sum()


def _checked(
    real: np.ndarray, fake: np.ndarray, k: int, *, fewest_fakes: int
) -> tuple[np.ndarray, np.ndarray]:
    if k < 1 or int(k) != k:
        raise ValueError(f"k must be a whole number of at least 1, got {k}")
    real = checks.features("real", real, at_least=k + 1)
    fake = checks.features("fake", fake, at_least=fewest_fakes)
    checks.same_width("real", real, "fake", fake)
    return real, fake
