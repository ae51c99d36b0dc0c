"""Blessed or not, and why: pure functions from metrics to a decision that fails closed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from judge.registry import BY_KEY, METRICS, Metric

FEWEST_REFERENCE = 100  # real images; below that every metric is noise


@dataclasses.dataclass(frozen=True)
class Check:
    """One question that the generator must answer with yes.

    Attributes:
      name: of the metric, or for machines.
      value: what was found; None where nothing could be measured.
      threshold: what it takes.
      passed: whether it is enough.
      sentence: for people.
      can_force: whether `--force-bless` may overrule it. A generator that does not work can't be
        forced through, one that is merely bad can.
      can_replace: whether it asks about the version in service, so that `--replace` overrules it.
    """

    name: str
    value: float | int | None
    threshold: float | int | None
    passed: bool
    sentence: str
    can_force: bool = True
    can_replace: bool = False


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The decision.

    Attributes:
      blessed: whether it may be pushed.
      forced: whether that is against the checks of the generator itself.
      reason: one sentence for people.
      replaced: whether that is against the checks about the version in service.
    """

    blessed: bool
    forced: bool
    reason: str
    replaced: bool = False


def works(problems: Sequence[str], drawn: int, not_finite: int, asked: int) -> Check:
    """The check that the generator gave every image that was asked for, all of them finite."""
    good = drawn - not_finite
    if problems:
        sentence = f"the generator could not be used: {problems[0]}"
    elif not_finite:
        sentence = f"{not_finite:,} of {drawn:,} images hold values that are not finite"
    elif drawn < asked:
        sentence = f"only {drawn:,} of {asked:,} images were drawn"
    else:
        sentence = f"all {asked:,} images were drawn"
    return Check("works", good, asked, good == asked > 0 and not problems, sentence, False)


def enough_reference(count: int) -> Check:
    """The check that there are real images enough to measure anything by."""
    passed = count >= FEWEST_REFERENCE
    what = f"there are {count:,} real test images to measure by"
    sentence = what if passed else f"{what}, fewer than {FEWEST_REFERENCE:,}"
    return Check("enough_reference", count, FEWEST_REFERENCE, passed, sentence, False)


def against(metric: Metric, threshold: float, value: float | None, real: float | None) -> Check:
    """The check that a metric meets its threshold; what is not a number does not."""
    what, form = metric.title.strip(), metric.format
    if metric.relative:
        value = value / real if _is_number(value) and _is_number(real) and real > 0 else None
        what, form = f"{what}, over real,", ".3g"
    passed = _is_number(value) and (
        value <= threshold if metric.direction < 0 else value >= threshold
    )
    sentence = f"{what} is not a number"
    if _is_number(value):
        side = "within" if passed else "above" if metric.direction < 0 else "below"
        sentence = f"{what} is {value:{form}}, {side} the threshold of {threshold:{form}}"
    return Check(metric.key, value, threshold, passed, sentence)


def thresholds(settings: Mapping[str, float], found: Mapping[str, Any]) -> list[Check]:
    """Every metric that has a threshold, where it applies.

    Args:
      settings: `JudgeConfig.thresholds`.
      found: metrics. They lack what does not apply (classes that the classifier does not know,
        the class asked for of an unconditional generator); what applies and could not be measured
        is not finite.
    """
    return [
        against(
            metric, settings[metric.setting], found[metric.key], found.get(f"real_{metric.key}")
        )
        for metric in METRICS
        if metric.setting in settings and metric.key in found
    ]


def against_baseline(allowed: float, comparison: Mapping) -> Check:
    """The check that FID is not credibly worse than the baseline's by more than `allowed` of it."""
    baseline, difference = comparison["fid"], comparison["difference"]
    low, high = comparison["difference_interval"]
    about = {"can_force": False, "can_replace": True}
    known = all(_is_number(v) for v in (baseline, difference, low, high)) and baseline > 0
    share = low / baseline if known else None
    if share is None:
        sentence = "the difference of FID is not a number"
        return Check("regression", None, allowed, False, sentence, **about)
    grade = (
        "credibly better than" if high < 0 else "credibly worse than" if low > 0 else "level with"
    )
    sentence = (
        f"{grade} the version in service (FID {baseline + difference:.3g} against {baseline:.3g}, "
        f"difference {low:.2g} to {high:.2g}, by the extractor {comparison['extractor']})"
    )
    return Check("regression", share, allowed, share <= allowed, sentence, **about)


def decide(
    checks: Sequence[Check],
    found: Mapping[str, object],
    notes: Sequence[str],
    force: str,
    replace: str = "",
) -> Verdict:
    """The decision from all checks.

    Args:
      checks: at least one.
      found: metrics, for the sentence.
      notes: what people should know besides.
      force: reason to bless in spite of what the generator itself misses, "" for none.
      replace: reason to replace the version in service in spite of the checks about it, "" for
        none.
    """
    if not checks:
        return Verdict(False, False, "Not blessed: nothing was checked.")
    missed = [check for check in checks if not check.passed]
    forced = bool(force) and any(check.can_force for check in missed)
    replaced = bool(replace) and any(check.can_replace for check in missed)
    left = [c for c in missed if not ((c.can_force and force) or (c.can_replace and replace))]
    also = "".join(f" {note}" for note in notes)
    if left:
        causes = "; ".join(check.sentence for check in left)
        if all(check.can_replace for check in left):
            causes += '. `--replace "reason"` replaces it all the same'
        elif force and not all(check.can_force or check.can_replace for check in left):
            causes += f". Force (“{force}”) can't help a broken model"
        return Verdict(False, False, f"Not blessed: {causes}.{also}")
    if not missed:
        return Verdict(True, False, f"Blessed: {_praise(checks, found)}.{also}")
    how = [f"by force (“{force}”)"] * forced + [f"as a replacement (“{replace}”)"] * replaced
    causes = "; ".join(check.sentence for check in missed)
    return Verdict(True, forced, f"Blessed {' and '.join(how)}, although {causes}.{also}", replaced)


def _praise(checks: Sequence[Check], found: Mapping[str, object]) -> str:
    parts = [
        f"{BY_KEY[key].title} {found[key]:{BY_KEY[key].format}}"
        for key in ("relative_fid", "two_sample", "accuracy")
        if _is_number(found.get(key))
    ]
    parts += [check.sentence for check in checks if check.name == "regression"]
    return "; ".join(parts) or checks[0].sentence


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
