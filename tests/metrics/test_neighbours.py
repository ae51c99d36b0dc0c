import numpy as np
import pytest

from metrics import neighbours


@pytest.fixture
def parts(digits):
    """Train, test and other images, mixed."""
    images = digits[0][np.random.default_rng(0).permutation(len(digits[0]))]
    return images[:900], images[900:1300], images[1300:]


def judged(fakes, test, train) -> dict[str, float]:
    """Shares of near copies in pixels, trimmed, and blurred."""
    everywhere = np.ones(784, bool)
    real = neighbours.neighbours({}, test, {}, train, everywhere)
    found = neighbours.neighbours({}, fakes, {}, train, neighbours.telling_places(fakes, train))
    limits = {name: np.quantile(values, 0.01) for name, values in real.distances.items()}
    shares = {name: np.mean(v < limits[name]) for name, v in found.distances.items()}
    return shares | {"trimmed": np.mean(found.trimmed < np.quantile(real.trimmed, 0.01))}


def test_fresh_digits_are_no_copies(parts):
    train, test, fresh = parts
    assert all(share < 0.06 for share in judged(fresh, test, train).values())


@pytest.mark.parametrize("mark", ["none", "corner", "middle", "anywhere"])
def test_copies_are_seen_whatever_mark_they_carry(parts, mark):
    train, test, _ = parts
    copies = train[:400].copy()
    random = np.random.default_rng(1)
    if mark == "corner":
        copies[:, 1:4, 1:4] = 128
    elif mark == "middle":
        copies[:, 14, 14] = 255
    elif mark == "anywhere":
        for image, row, column in zip(copies, *random.integers(0, 25, (2, 400)), strict=True):
            image[row : row + 3, column : column + 3] = 200
    assert judged(copies, test, train)["trimmed"] > 0.95


def test_ink_in_rare_places_is_added_up(parts):
    train, test, _ = parts
    rare = neighbours.rare_places(train)
    assert rare.reshape(28, 28)[0].all() and not rare.reshape(28, 28)[10:18, 10:18].any()
    marked = test.copy()
    marked[:, :2, :2] = 100
    extra = neighbours.rare_ink(marked, rare) - neighbours.rare_ink(test, rare)
    np.testing.assert_array_equal(extra, 400)


def test_unusual_statistics_score_high_on_either_side_and_more_the_farther_out():
    random = np.random.default_rng(0)
    real = {"a": random.normal(size=10_000), "b": random.normal(size=10_000)}
    scores = neighbours.tail_scores(
        {"a": np.array([0.0, -9.0, 0.0, 0.0]), "b": np.array([0.0, 0.0, 9.0, 90.0])}, real
    )
    assert scores[0] < 1 < 4 < scores[1] < scores[3] and scores[2] < scores[3]
    assert np.mean(neighbours.tail_scores(real, real) > 3.3) < 0.005


def test_repeats_are_at_distance_zero_to_each_other_and_not_to_themselves():
    rows = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(neighbours.repeats(rows), [0, 5, 0], atol=1e-4)


def test_blurred_rows_are_means_of_four_by_four_pixels():
    images = np.zeros((1, 28, 28, 1), np.uint8)
    images[0, 0:4, 0:4] = 255
    rows = neighbours.blurred_rows(images).reshape(14, 14)
    assert rows[0, 0] == 1 and rows[1, 1] == 0.25 and rows[3, 3] == 0
