"""The kernel distance (KID) of two clouds of features, on all rows."""

import numpy as np

from metrics import checks
from metrics.distances import block_rows


def kernel_distance(
    a: np.ndarray,
    b: np.ndarray,
    *,
    degree: int = 3,
    gamma: float | None = None,
    coef: float = 1.0,
) -> tuple[float, float]:
    """The squared maximum mean discrepancy with a polynomial kernel, and its standard error.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 4: the kernel is (gamma x.y +
    coef)^degree and the estimator is unbiased (pairs of a row with itself are left out), so that
    it is below zero about half of the time when both clouds are of one distribution. All pairs of
    rows are used, so nothing is drawn at random. The standard error is that of a U-statistic to
    first order (Gretton et al. 2012, "A kernel two-sample test", section 6).

    Args:
      a: [N, D], N >= 2.
      b: [M, D], M >= 2.
      degree: of the polynomial, at least 1.
      gamma: factor of the inner product; None: 1 / D.
      coef: constant of the polynomial.

    Raises:
      ValueError: wrong shapes, NaN or infinity, fewer than two rows, or a degree out of range.
    """
    a, b = checks.features("a", a, at_least=2), checks.features("b", b, at_least=2)
    checks.same_width("a", a, "b", b)
    if degree < 1 or int(degree) != degree:
        raise ValueError(f"degree must be a whole number of at least 1, got {degree}")
    gamma = 1.0 / a.shape[1] if gamma is None else gamma

    def sums(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of the kernel over the rows of the other side."""
        along, down = np.zeros(len(left)), np.zeros(len(right))
        rows = block_rows(len(right), 8)
        for start in range(0, len(left), rows):
            values = left[start : start + rows] @ right.T
            values *= gamma
            values += coef
            result = values.copy()
            for _ in range(int(degree) - 1):  # a power of arrays takes twenty times as long
                result *= values
            along[start : start + rows] = result.sum(axis=1)
            down += result.sum(axis=0)
        return along, down

    def within(rows: np.ndarray) -> np.ndarray:
        itself = (gamma * np.einsum("ij,ij->i", rows, rows) + coef) ** int(degree)
        return (sums(rows, rows)[0] - itself) / (len(rows) - 1)

    between_a, between_b = sums(a, b)
    between_a, between_b = between_a / len(b), between_b / len(a)
    within_a, within_b = within(a), within(b)
    value = within_a.mean() + within_b.mean() - 2.0 * between_a.mean()
    error = 2.0 * np.sqrt(
        (within_a - between_a).var(ddof=1) / len(a) + (within_b - between_b).var(ddof=1) / len(b)
    )
    return float(value), float(error)
