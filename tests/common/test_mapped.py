import numpy as np
import pytest

from common import mapped


@pytest.fixture(params=[1 << 28, 100], ids=["in memory", "mapped"])
def limit(request, monkeypatch):
    monkeypatch.setattr(mapped, "IN_MEMORY", request.param)
    return request.param


def test_parts_are_joined_whether_they_fit_in_memory_or_not(limit):
    whole = np.arange(600, dtype=np.float32).reshape(50, 3, 4)
    joined = mapped.joined(whole[start : start + 7][::-1] for start in range(0, 50, 7))
    expected = np.concatenate([whole[start : start + 7][::-1] for start in range(0, 50, 7)])
    assert isinstance(joined, np.memmap) == (limit < whole.nbytes)
    assert joined.dtype == whole.dtype
    np.testing.assert_array_equal(joined, expected)


def test_what_was_saved_is_loaded_whether_it_fits_in_memory_or_not(limit, tmp_path):
    random = np.random.default_rng(0)
    arrays = {
        "some images": random.integers(0, 256, (40, 5, 5, 1), dtype=np.uint8),
        "fortran": np.asfortranarray(random.normal(size=(30, 7))),
        "one": np.float64(3.5),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = mapped.load(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    assert isinstance(found["fortran"], np.memmap) == (limit == 100)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
