"""The benchmark of the gate: how images are spoilt, and how rates are told."""

import numpy as np
import pytest

from benchmarks import gate


@pytest.mark.parametrize("kind", gate.KINDS)
def test_every_kind_changes_images_and_keeps_their_number_and_shape(kind):
    random = np.random.default_rng(0)
    images = np.zeros((400, 28, 28, 1), np.uint8)
    images[:, 6:20, 10:18] = random.integers(0, 250, (400, 14, 8, 1))
    asked = np.arange(400) % 10
    spoilt = gate.KINDS[kind](images, asked, images[::-1], random)
    assert spoilt.shape == images.shape
    assert not np.array_equal(np.clip(np.rint(spoilt), 0, 255), images)


def test_a_rate_is_told_with_its_exact_interval():
    assert gate.rate(0, 100) == "0 of 100 (0.0 to 3.6 %)"


def test_coverage_counts_the_intervals_that_hold_the_mean():
    draws = np.array([(v, v - 0.15, v + 0.15) for v in (1.0, 1.1, 1.2, 1.5)])
    assert gate.coverage(draws).startswith("| 1.2 | 2 of 4 (6.8 to 93.2 %) | 0.69")
