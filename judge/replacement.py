"""May a candidate replace the version in service? Pure functions that fail closed.

Replacing asks for more than being good: the candidate was judged at least as strictly, on the same
data set, and is not credibly worse (`verdict.against_baseline`). `--replace` overrules these checks
and no others.
"""

from collections.abc import Mapping
from typing import TypeGuard

from judge.verdict import Check

STRICTNESS = ("smoke", "standard", "quality")


def checks(candidate: Mapping, served: Mapping, number: int) -> list[Check]:
    """The checks that the candidate was judged on the same data set and at least as strictly.

    Args:
      candidate: of `evaluation.json`: `settings`, `num_reference` and `data`.
      served: the metadata (`assets.extra/metadata.json`) of the version in service, {} where it has
        none.
      number: of that version.

    Returns:
      "same_data" and "as_strict". What the metadata does not say counts against the candidate.
    """
    name = f"version {number} in service"
    here = (candidate.get("data") or {}).get("dataset")
    there = (served.get("data") or {}).get("dataset")
    if there is None:
        sentence = f"{name} does not say which data set it was judged on"
    elif here != there:
        sentence = f"judged on {here}, but {name} on {there}"
    else:
        sentence = f"judged on {here}, as {name} was"
    same_data = _check("same_data", here is not None and here == there, sentence)
    laxer = _laxer(candidate, served)
    sentence = f"judged less strictly than {name}: {laxer}"
    return [
        same_data,
        _check("as_strict", not laxer, sentence if laxer else f"judged as strictly as {name}"),
    ]


def comparable(problem: str, number: int | None) -> Check:
    """The failed check for a version in service that gave nothing to compare with."""
    sentence = f"version {number} in service could not be judged for comparison: {problem}"
    return _check("comparable", False, sentence)


def _check(name: str, passed: bool, sentence: str) -> Check:
    return Check(name, None, None, passed, sentence, can_force=False, can_replace=True)


def _laxer(candidate: Mapping, served: Mapping) -> str:
    """In what the candidate was judged less strictly, for people; "" where it was not."""
    blessing = served.get("blessing") or {}
    # Versions pushed before schema version 2 have their settings under another name, and
    # thresholds of other metrics.
    then = blessing.get("settings") or {}
    level = (then or blessing.get("bars") or {}).get("strictness") or served.get("preset")
    now = candidate["settings"]
    if level not in STRICTNESS:
        return "it does not say how strictly it was judged"
    if STRICTNESS.index(now["strictness"]) < STRICTNESS.index(level):
        return f"by the thresholds of {now['strictness']}, not those of {level}"
    reference = blessing.get("num_reference")
    if _lower(candidate.get("num_reference"), reference):
        return f"against {candidate['num_reference']:,} real images, not {reference:,}"
    for key, value in then.items():
        if key in now and _is_laxer(key, now[key], value):
            return f"{key} is {now[key]}, not {value}"
    return ""


def _is_laxer(key: str, now: object, then: object) -> bool:
    """Whether a setting asks for less than it did; None asks for nothing."""
    if key in ("num_fakes", "cas_fakes") or key.startswith("min_"):
        return _lower(now, then)
    if key == "confidence" or key.startswith("max_"):
        return _is_number(then) and not (_is_number(now) and now <= then)
    return False


def _lower(now: object, then: object) -> bool:
    return _is_number(then) and not (_is_number(now) and now >= then)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
