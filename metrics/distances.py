"""Euclidean distances between many rows, a block at a time. NumPy only."""

from collections.abc import Callable, Iterator

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


def nearest(
    queries: np.ndarray,
    points: np.ndarray,
    as_rows: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point of every query; takes as much memory for a million points as for many.

    Which one is nearest is found in float32 (of points whose distances differ by less than about
    1e-6 of the spread either may be taken); how far it is, is measured in float64, so that a copy
    is at 0.

    Args:
      queries: [N, D] finite numbers.
      points: M >= 1 of what `as_rows` takes, by itself [M, D] finite numbers.
      as_rows: makes [n, D] finite numbers of n of the points, each by itself.

    Returns:
      float64 [N] distances and int64 [N] row numbers in `points`.

    Raises:
      ValueError: wrong shapes, NaN or infinity.
    """
    queries, points = np.asarray(queries), np.asarray(points)
    checks.features("queries", queries, at_least=0)
    first = checks.features("points", as_rows(points[:1]))
    checks.same_width("queries", queries, "points", first)
    width = first.shape[1]
    size = block_rows(max(width + 1, points[:1].size), 4)

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(points), size):
            block = as_rows(points[start : start + size])
            checks.features("points", block)
            yield start, block

    total = sum(block.sum(axis=0, dtype=np.float64) for _, block in blocks())
    middle = (total / len(points)).astype(np.float32)

    # |q - p|^2 - |q|^2 as one product: (q, 1) (-2 p, |p|^2).
    def extended(values: np.ndarray, last: float) -> np.ndarray:
        result = np.empty((len(values), width + 1), np.float32)
        result[:, :-1] = values - middle
        result[:, -1] = last
        return result

    least = np.full(len(queries), np.inf, np.float32)
    indices = np.zeros(len(queries), np.int64)
    for start, block in blocks():
        table = extended(block, 0.0)
        table[:, -1] = np.einsum("ij,ij->i", table, table)
        table[:, :-1] *= -2.0
        table = np.ascontiguousarray(table.T)
        for rows in _parts(len(queries), block_rows(len(block), 4)):
            product = extended(queries[rows], 1.0) @ table
            found = product.argmin(axis=1)
            value = np.take_along_axis(product, found[:, None], 1)[:, 0]
            nearer = value < least[rows]
            least[rows] = np.where(nearer, value, least[rows])
            indices[rows] = np.where(nearer, start + found, indices[rows])
    distances = np.empty(len(queries))
    for rows in _parts(len(queries), block_rows(width, 8)):
        difference = queries[rows].astype(np.float64) - as_rows(points[indices[rows]])
        distances[rows] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances, indices


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
