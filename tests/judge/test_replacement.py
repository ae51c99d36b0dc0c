"""May a candidate replace what is in service: pure functions that fail closed."""

import pytest

from judge import replacement

SETTINGS = {
    "strictness": "standard",
    "num_fakes": 10_000,
    "cas_fakes": 0,
    "confidence": 0.95,
    "max_copies": 0.02,
    "min_recall": 0.8,
    "max_regression": 0.05,
}


def served(dataset="mnist", preset="standard", num_reference=10_000, **settings) -> dict:
    return {
        "preset": preset,
        "data": {"dataset": dataset},
        "blessing": {"settings": {**SETTINGS, **settings}, "num_reference": num_reference},
    }


def missed(metadata: dict, dataset="mnist", num_reference=10_000, **settings) -> dict[str, str]:
    candidate = {
        "settings": {**SETTINGS, **settings},
        "num_reference": num_reference,
        "data": {"dataset": dataset},
    }
    found = replacement.checks(candidate, metadata, 7)
    assert [check.name for check in found] == ["same_data", "as_strict"]
    assert all(check.can_replace and not check.can_force for check in found)
    return {check.name: check.sentence for check in found if not check.passed}


def test_as_strict_or_stricter_may_replace():
    assert not missed(served())
    assert not missed(served(), strictness="quality", max_copies=0.01, cas_fakes=60_000)
    assert not missed(served(strictness="smoke", max_copies=None, num_fakes=1000))
    assert not missed(served(), num_fakes=20_000, confidence=0.9)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"strictness": "smoke"}, "thresholds of smoke, not those of standard"),
        ({"max_copies": 0.03}, "max_copies is 0.03, not 0.02"),
        ({"max_copies": None}, "max_copies is None, not 0.02"),
        ({"min_recall": 0.1}, "min_recall is 0.1, not 0.8"),
        ({"strictness": "quality", "max_regression": 9.0}, "max_regression is 9.0"),
        ({"num_fakes": 100}, "num_fakes is 100, not 10000"),
        ({"confidence": 0.999}, "confidence is 0.999"),
        ({"num_reference": 300}, "300 real images, not 10,000"),
    ],
)
def test_less_strict_may_not(settings, why):
    found = missed(served(), **settings)
    assert set(found) == {"as_strict"}
    assert why in found["as_strict"] and "version 7 in service" in found["as_strict"]


def test_another_data_set_may_not():
    assert missed(served(), dataset="digits") == {
        "same_data": "judged on digits, but version 7 in service on mnist"
    }


@pytest.mark.parametrize("metadata", [{}, {"data": None, "blessing": None, "preset": "own"}])
def test_what_says_nothing_about_itself_is_not_replaced(metadata):
    assert set(missed(metadata)) == {"same_data", "as_strict"}


def test_versions_of_before_are_read():
    old = {
        "preset": "standard",
        "data": {"dataset": "mnist"},
        "blessing": {"bars": {"strictness": "standard", "max_fid_ratio": 3.0}},
    }
    assert not missed(old)
    assert set(missed(old, strictness="smoke")) == {"as_strict"}
    assert set(missed({**old, "blessing": {}}, strictness="smoke")) == {"as_strict"}
