import tracemalloc

import numpy as np
import pytest

from metrics import distances
from metrics.distances import nearest, squared_distances


def brute_force(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)


@pytest.fixture(params=[1, 300, 1 << 20])
def block_bytes(request, monkeypatch):
    """Blocks of one row, of a few, and of all."""
    monkeypatch.setattr(distances, "_BLOCK_BYTES", request.param)


def test_blocks_together_hold_every_squared_distance(block_bytes):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(23, 5)) + 1e4, random.normal(size=(17, 5)) + 1e4
    found = np.full((23, 17), np.nan)
    for start, block in squared_distances(a, b):
        found[start : start + len(block)] = block
    np.testing.assert_allclose(found, brute_force(a, b), rtol=1e-9)


def test_the_nearest_of_each_row_is_found_with_its_distance(block_bytes):
    random = np.random.default_rng(1)
    queries, points = random.normal(size=(40, 6)), random.normal(size=(31, 6)) - 3
    found, index = nearest(queries, points)
    expected = brute_force(queries, points)
    np.testing.assert_array_equal(index, expected.argmin(axis=1))
    np.testing.assert_allclose(found, np.sqrt(expected.min(axis=1)), rtol=1e-12)


def test_points_are_made_rows_of_a_block_at_a_time_in_memory_that_does_not_grow(monkeypatch):
    monkeypatch.setattr(distances, "_BLOCK_BYTES", 1 << 14)
    random = np.random.default_rng(2)
    queries = random.normal(size=(30, 32))

    def peak(count: int) -> int:
        points = random.integers(-9, 9, (count, 8, 4), dtype=np.int8)
        tracemalloc.start()
        found = nearest(queries, points, lambda block: block.reshape(-1, 32) / 4)
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        whole = nearest(queries, points.reshape(-1, 32) / 4)
        np.testing.assert_array_equal(found, whole)
        return taken

    assert peak(8_000) < 1.1 * peak(1_000)


def test_a_copy_is_at_distance_zero_even_far_from_the_origin():
    points = np.random.default_rng(0).normal(size=(500, 20)).astype(np.float32) + 1000
    found, index = nearest(points[::7], points)
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_array_equal(index, np.arange(0, 500, 7))


def test_uint8_rows_do_not_wrap_around():
    found, index = nearest(np.array([[0, 250]], np.uint8), np.array([[5, 0], [0, 0]], np.uint8))
    assert (found[0], index[0]) == (250, 1)


def test_no_query_finds_nothing_and_no_point_is_refused():
    found, index = nearest(np.zeros((0, 3)), np.zeros((2, 3)))
    assert found.shape == index.shape == (0,)
    with pytest.raises(ValueError, match="points must have at least 1 rows, got 0"):
        nearest(np.zeros((2, 3)), np.zeros((0, 3)))


def test_rows_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match="queries and points must have the same width, got 3 and"):
        nearest(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="points holds 1 values that are NaN"):
        nearest(np.zeros((1, 2)), [[0.0, np.nan]])
    with pytest.raises(ValueError, match=r"queries must have shape \[N, D\]"):
        nearest(np.zeros(3), np.zeros((2, 3)))
