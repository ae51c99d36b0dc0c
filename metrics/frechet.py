"""The Fréchet distance between two clouds of features, from their moments.

FID (Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", section 4 and appendix A1)
is `frechet_distance` on the features of some network. Covariances here are divided by n - 1.

FID is biased upwards, the more the fewer images there are: numbers compare only at the same n,
reference, extractor and pixel path. `frechet_bias` says by about how much; `metrics.relative` puts
them into proportion.
"""

import dataclasses

import numpy as np

from metrics import checks


@dataclasses.dataclass(frozen=True)
class FeatureStats:
    """Count, mean and covariance of feature vectors, in float64.

    Attributes:
      n: how many, at least 2.
      mean: float64 [D].
      cov: float64 [D, D], divided by n - 1.
    """

    n: int
    mean: np.ndarray
    cov: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "FeatureStats":
        """The moments of real numbers [N, D].

        Raises:
          ValueError: another shape, fewer than two rows, NaN or infinity.
        """
        rows = checks.features("features", features, at_least=2)
        # Centred twice: the first mean of numbers far from zero is rounded, the rest of it is not.
        mean = rows.mean(axis=0)
        centred = rows - mean
        rest = centred.mean(axis=0)
        centred -= rest
        return cls(len(rows), mean + rest, centred.T @ centred / (len(rows) - 1))

    @property
    def dim(self) -> int:
        return len(self.mean)


def frechet_distance(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)), never negative.

    Dowson and Landau (1982), "The Fréchet distance between multivariate normal distributions",
    eq. 4. The trace of the root is the sum of the singular values of A' B where A A' = cov_a and
    B B' = cov_b come from Cholesky's decomposition or, near singular covariances, from symmetric
    eigendecompositions. Unlike a root of the product it needs no epsilon on the diagonal, holds for
    singular covariances, and keeps its digits: the roots are taken of the covariances, not of the
    eigenvalues of their product.

    Args:
      mean_a, mean_b: [D].
      cov_a, cov_b: [D, D], symmetric, no eigenvalue below zero by more than rounding.

    Raises:
      ValueError: shapes that do not fit, NaN or infinity, or matrices that are no covariances.
    """
    mean_a, mean_b = checks.finite("mean_a", mean_a), checks.finite("mean_b", mean_b)
    if mean_a.ndim != 1 or mean_a.shape != mean_b.shape or not len(mean_a):
        raise ValueError(
            "mean_a and mean_b must have the same shape [D], "
            f"got {list(mean_a.shape)} and {list(mean_b.shape)}"
        )
    root_a = _factor("cov_a", cov_a, len(mean_a))
    root_b = _factor("cov_b", cov_b, len(mean_a))
    difference = mean_a - mean_b
    if np.array_equal(root_a, root_b):  # the rest is 0 then, which rounding would miss
        return float(difference @ difference)
    # tr(cov) from the roots, so that nearly equal arguments cancel as well as they can.
    traces = np.sum(root_a * root_a) + np.sum(root_b * root_b)
    overlap = np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum()
    return max(0.0, float(difference @ difference + (traces - 2.0 * overlap)))


def _covariance(name: str, cov: np.ndarray, dim: int) -> np.ndarray:
    """`cov` as float64 [dim, dim], symmetric to the last digit."""
    cov = checks.finite(name, cov)
    if cov.shape != (dim, dim):
        raise ValueError(f"{name} must have shape [{dim}, {dim}], got {list(cov.shape)}")
    if np.abs(cov - cov.T).max() > 1e-8 * np.abs(cov).max():
        raise ValueError(f"{name} must be symmetric")
    return (cov + cov.T) / 2


def _root(name: str, cov: np.ndarray, dim: int) -> np.ndarray:
    """R [D, rank] with R R' = `cov` and orthogonal columns, after checking that it is one."""
    values, vectors = np.linalg.eigh(_covariance(name, cov, dim))
    if values[-1] <= 0.0 and values[0] == 0.0:
        return np.zeros((dim, 1))
    if values[0] < -1e-6 * values[-1]:
        raise ValueError(
            f"{name} is no covariance: it has the eigenvalue {values[0]:.3g}, "
            f"its largest is {values[-1]:.3g}"
        )
    # What rounding made of eigenvalues that are zero would enter the sum by its root.
    kept = values > 4 * np.finfo(np.float64).eps * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def _factor(name: str, cov: np.ndarray, dim: int) -> np.ndarray:
    """Any R with R R' = `cov`: Cholesky's, a tenth of the work, unless `cov` is nearly singular."""
    try:
        factor = np.linalg.cholesky(_covariance(name, cov, dim))
    except np.linalg.LinAlgError:
        return _root(name, cov, dim)
    pivots = np.diagonal(factor) ** 2
    return factor if pivots.min() > 1e-8 * pivots.max() else _root(name, cov, dim)


def frechet_distance_between(a: FeatureStats, b: FeatureStats) -> float:
    """`frechet_distance` of the moments of `a` and `b`."""
    return frechet_distance(a.mean, a.cov, b.mean, b.cov)


def frechet_distance_from_features(a: np.ndarray, b: np.ndarray) -> float:
    """`frechet_distance` of the moments of two sets of features, [N, D] and [M, D].

    Raises:
      ValueError: fewer than two rows, different widths, NaN or infinity.
    """
    a, b = (checks.features(name, rows, at_least=2) for name, rows in (("a", a), ("b", b)))
    checks.same_width("a", a, "b", b)
    return frechet_distance_between(FeatureStats.of(a), FeatureStats.of(b))


def frechet_bias(cov: np.ndarray, n: int, m: int) -> float:
    """About what `frechet_distance` is between n and m draws from one and the same Gaussian.

    To first order in 1/n and 1/m it is (1/n + 1/m) (tr S + sum_ij l_i l_j (1 + d_ij) / (2 (l_i +
    l_j))) with l the eigenvalues of S and d Kronecker's: the spread of the mean, and that of the
    Wishart-distributed covariance in the metric that the distance has near zero. For S = s I it
    is the better known s d (1/n + 1/m) (1 + (d + 1) / 4). It holds where n and m are much greater
    than D; features are not Gaussian, so it is a scale to read numbers by, not a correction.

    Args:
      cov: [D, D], the covariance S.
      n, m: sizes of the two samples, at least 2.

    Raises:
      ValueError: n or m below 2, or `cov` is no covariance.
    """
    if min(n, m) < 2:
        raise ValueError(f"n and m must be at least 2, got {n} and {m}")
    cov = np.asarray(cov)
    values = np.sum(_root("cov", cov, len(np.atleast_1d(cov))) ** 2, axis=0)
    values = values[values > 0]
    pairs = np.outer(values, values) / (2.0 * np.add.outer(values, values))
    return float((1 / n + 1 / m) * (values.sum() + pairs.sum() + np.trace(pairs)))
