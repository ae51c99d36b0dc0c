"""The kernel distance (KID) of two clouds of features."""

import numpy as np

from metrics import checks

DEFAULT_BLOCK = 1000
_FEWEST_BLOCKS = 10


def kernel_distance(
    a: np.ndarray,
    b: np.ndarray,
    *,
    degree: int = 3,
    gamma: float | None = None,
    coef: float = 1.0,
    block_size: int | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """The squared maximum mean discrepancy with a polynomial kernel, and its standard error.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 4: the kernel is (gamma x.y +
    coef)^degree and the estimator is unbiased (pairs of a row with itself are left out), so that
    it is below zero about half of the time when both clouds are of one distribution. The rows are
    shuffled and cut into blocks, every row in exactly one (Zaremba et al. 2013, "B-tests"): the
    result is the mean over blocks, and their spread gives its standard error.

    Args:
      a: [N, D].
      b: [M, D].
      degree: of the polynomial, at least 1.
      gamma: factor of the inner product; None: 1 / D.
      coef: constant of the polynomial.
      block_size: rows of the smaller cloud in a block; None: 1,000, or fewer where that would
        make less than ten blocks. Different block sizes give the same number on average.
      seed: of the shuffle.

    Returns:
      the distance, and its standard error: NaN where there is just one block.

    Raises:
      ValueError: wrong shapes, NaN or infinity, fewer than 20 rows (with `block_size`: 2), or a
        parameter out of range.
    """
    a = checks.features("a", a, at_least=2 if block_size else 2 * _FEWEST_BLOCKS)
    b = checks.features("b", b, at_least=2 if block_size else 2 * _FEWEST_BLOCKS)
    checks.same_width("a", a, "b", b)
    if degree < 1 or int(degree) != degree:
        raise ValueError(f"degree must be a whole number of at least 1, got {degree}")
    smaller = min(len(a), len(b))
    if block_size is None:
        block_size = min(DEFAULT_BLOCK, smaller // _FEWEST_BLOCKS)
    if block_size < 2:
        raise ValueError(f"block_size must be at least 2, got {block_size}")
    gamma = 1.0 / a.shape[1] if gamma is None else gamma

    random = np.random.default_rng(seed)
    blocks = max(1, smaller // block_size)
    values = []
    for rows_a, rows_b in zip(
        np.array_split(random.permutation(len(a)), blocks),
        np.array_split(random.permutation(len(b)), blocks),
        strict=True,
    ):
        values.append(_unbiased(a[rows_a], b[rows_b], int(degree), gamma, coef))
    error = np.std(values, ddof=1) / np.sqrt(blocks) if blocks > 1 else np.nan
    return float(np.mean(values)), float(error)


def _unbiased(x: np.ndarray, y: np.ndarray, degree: int, gamma: float, coef: float) -> float:
    """Bińkowski et al. 2018, equation 4."""

    def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        values = left @ right.T
        values *= gamma
        values += coef
        # By multiplication: a power of arrays takes twenty times as long.
        result = values.copy()
        for _ in range(degree - 1):
            result *= values
        return result

    def mean_of_pairs(points: np.ndarray) -> float:
        values = kernel(points, points)
        return (values.sum() - np.trace(values)) / (len(points) * (len(points) - 1))

    return mean_of_pairs(x) + mean_of_pairs(y) - 2.0 * kernel(x, y).mean()
