"""Euclidean distances between many rows, a block at a time. NumPy only."""

from collections.abc import Iterator

import numpy as np

from metrics import checks

# What a block of distances may take. Three or four of them exist at once.
_BLOCK_BYTES = 64 << 20


def block_rows(width: int, bytes_each: int) -> int:
    """How many rows of `width` numbers make a block."""
    return max(1, _BLOCK_BYTES // (max(1, width) * bytes_each))


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Squared distances of rows of `a` to all rows of `b`, in float64.

    Both are shifted to the middle of `b` first, so that a common offset costs no digits.

    Args:
      a: float64 [N, D].
      b: float64 [M, D].

    Yields:
      the number of the first row, and float64 [rows, M], not negative. The block is overwritten
      by the next.
    """
    middle = b.mean(axis=0)
    b = b - middle
    b_squares = np.einsum("ij,ij->i", b, b)
    minus_two_b = -2.0 * b.T
    rows = block_rows(len(b), 8)
    buffer = np.empty((min(rows, len(a)), len(b)))
    for start in range(0, len(a), rows):
        part = a[start : start + rows] - middle
        block = np.matmul(part, minus_two_b, out=buffer[: len(part)])
        block += b_squares
        block += np.einsum("ij,ij->i", part, part)[:, None]
        np.maximum(block, 0.0, out=block)
        yield start, block


def nearest(queries: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point of every query.

    Which one is nearest is found in float32 (of points whose distances differ by less than about
    1e-6 of the spread either may be taken); how far it is, is measured in float64, so that a copy
    is at 0.

    Args:
      queries: [N, D] finite numbers.
      points: [M, D] finite numbers, M >= 1.

    Returns:
      float64 [N] distances and int64 [N] row numbers in `points`.

    Raises:
      ValueError: wrong shapes, NaN or infinity.
    """
    queries, points = np.asarray(queries), np.asarray(points)
    for name, values, least in (("queries", queries, 0), ("points", points, 1)):
        checks.features(name, values, at_least=least)
    checks.same_width("queries", queries, "points", points)
    middle = points.mean(axis=0, dtype=np.float64).astype(np.float32)

    # |q - p|^2 - |q|^2 as one product: (q, 1) (-2 p, |p|^2).
    def extended(values: np.ndarray, factor: float, last: np.ndarray | float) -> np.ndarray:
        result = np.empty((len(values), values.shape[1] + 1), np.float32)
        result[:, :-1] = factor * (values - middle)
        result[:, -1] = last
        return result

    table = extended(points, 1.0, 0.0)
    table[:, -1] = np.einsum("ij,ij->i", table, table)
    table[:, :-1] *= -2.0
    table = np.ascontiguousarray(table.T)
    indices = np.empty(len(queries), np.int64)
    distances = np.empty(len(queries), np.float64)
    rows = block_rows(len(points), 4)
    for start in range(0, len(queries), rows):
        part = queries[start : start + rows]
        found = np.argmin(extended(part, 1.0, 1.0) @ table, axis=1)
        indices[start : start + rows] = found
        difference = part.astype(np.float64) - points[found]
        distances[start : start + rows] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances, indices
