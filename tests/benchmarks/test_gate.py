"""The benchmark of the gate: how images are spoilt, and what is counted."""

import numpy as np
import pytest

from benchmarks import gate


def pool(count: int = 200, classes: int = 4) -> gate.Pool:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    asked = np.arange(count) % classes
    return gate.Pool(images, asked, random.normal(size=(count, 3)), asked, images[:0])


BY_CHOICE = [c for c in gate.CORRUPTIONS if c.choose is not None]


@pytest.mark.parametrize("corruption", BY_CHOICE, ids=lambda c: c.name)
def test_what_is_chosen_instead_is_about_as_much_as_the_strength_says(corruption):
    fakes, extra = pool(), pool()
    joined = gate.Pool(
        *(np.concatenate([getattr(p, n) for p in (fakes, extra)]) for n in gate.Pool.NAMES),
        fakes.train,
    )
    rows = np.random.default_rng(1).permutation(120)
    random = np.random.default_rng(2)
    none = corruption.choose(rows, joined, 0.0, random, len(fakes))
    assert np.array_equal(none, rows)
    chosen = corruption.choose(rows, joined, 1.0, random, len(fakes))
    changed = np.mean(chosen != rows)
    if corruption.extra:
        assert np.all(chosen >= len(fakes))
    else:  # one class of four
        assert 0.2 < changed <= 0.25


@pytest.mark.parametrize("corruption", [c for c in gate.CORRUPTIONS if c.spoil is not None],
                         ids=lambda c: c.name)  # fmt: skip
def test_pixels_are_spoilt_more_the_stronger_it_is(corruption):
    images = np.zeros([20, 28, 28, 1], np.uint8)
    images[:, 8:20, 12:16] = 200
    changes = [
        np.abs(corruption.spoil(images, strength, np.random.default_rng(0)) - 1.0 * images).mean()
        for strength in corruption.strengths
    ]
    assert changes[0] > 0 and changes == sorted(changes)


def test_a_situation_is_given_up_when_too_many_judgements_were_blessings():
    count = gate.Count("blur", "sigma", 0.3)
    for index in range(gate.GIVEN_UP):
        assert not count.given_up("first")
        again = ["regression"] if index > 1 else []
        count.add({"first": [], "again": again}, {"fid_ratio": 2.0})
    assert count.given_up("first") and not count.given_up("again")
    count.add({"again": ["regression"]}, {"fid_ratio": 3.0})
    cells = [cell.strip() for cell in count.line().split("|")]
    assert "20 of 20" in cells and "2 of 21" in cells and "regression (19)" in cells
