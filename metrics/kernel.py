"""The kernel distance (KID) of two clouds of features, on all rows."""

import numpy as np

from metrics import checks
from metrics.distances import block_rows


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The squared maximum mean discrepancy with the kernel (x.y / D + 1)^3.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 4. The estimator is unbiased (pairs of a
    row with itself are left out), so that it is below zero about half of the time when both clouds
    are of one distribution. All pairs of rows are used, so nothing is drawn at random.

    Args:
      a: [N, D], N >= 2.
      b: [M, D], M >= 2.

    Raises:
      ValueError: wrong shapes, NaN or infinity, or fewer than two rows.
    """
    a, b = checks.features("a", a, at_least=2), checks.features("b", b, at_least=2)
    checks.same_width("a", a, "b", b)

    def total(left: np.ndarray, right: np.ndarray) -> float:
        """Sum of the kernel over all pairs."""
        found, rows = 0.0, block_rows(len(right), 8)
        for start in range(0, len(left), rows):
            values = left[start : start + rows] @ right.T
            values /= a.shape[1]
            values += 1.0
            found += float(np.vdot(values * values, values))
        return found

    def within(rows: np.ndarray) -> float:
        itself = (np.einsum("ij,ij->i", rows, rows) / a.shape[1] + 1.0) ** 3
        return (total(rows, rows) - itself.sum()) / (len(rows) * (len(rows) - 1))

    return float(within(a) + within(b) - 2.0 * total(a, b) / (len(a) * len(b)))
