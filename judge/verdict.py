"""Blessed or not, and why: pure functions from figures to a decision that fails closed."""

import dataclasses
import math
from collections.abc import Sequence

from judge.judge_config import JudgeConfig

FEWEST_REFERENCE = 100  # real images; below that every figure is noise


@dataclasses.dataclass(frozen=True)
class Check:
    """One question that the generator must answer with yes.

    Attributes:
      name: for machines.
      value: what was found; None where nothing could be measured.
      bar: what it takes.
      passed: whether it is enough.
      sentence: for people.
      can_force: whether `--force-bless` may overrule it. A generator that does not work can't be
        forced through, one that is merely bad can.
    """

    name: str
    value: float | int | None
    bar: float | int | None
    passed: bool
    sentence: str
    can_force: bool = True


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The decision.

    Attributes:
      blessed: whether it may be pushed.
      forced: whether that is against the checks.
      reason: one sentence for people.
    """

    blessed: bool
    forced: bool
    reason: str


def at_least(name: str, value: float | None, bar: float, what: str, **options) -> Check:
    """The check that `value` reaches `bar`; `what` names it for people."""
    passed = _is_number(value) and value >= bar
    return Check(name, value, bar, passed, _sentence(what, value, passed, "below", bar), **options)


def at_most(name: str, value: float | None, bar: float, what: str, **options) -> Check:
    """The check that `value` stays within `bar`; `what` names it for people."""
    passed = _is_number(value) and value <= bar
    return Check(name, value, bar, passed, _sentence(what, value, passed, "above", bar), **options)


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


def bars(config: JudgeConfig, figures: dict) -> list[Check]:
    """The absolute bars of `config` (with a number in each), each where its figure applies.

    `figures` lacks what does not apply (classes that the classifier does not know, the class asked
    for of an unconditional generator); what applies and could not be measured is not finite.
    """
    checks = [
        at_most("fid_ratio", figures["fid_ratio"], config.max_fid_ratio, "FID over the floor"),
        at_least(
            "coverage",
            _over(figures["coverage"], figures["real_coverage"]),
            config.min_coverage,
            "coverage over that of real images",
        ),
        at_least(
            "recall",
            _over(figures["recall"], figures["real_recall"]),
            config.min_recall,
            "recall over that of real images",
        ),
        at_most(
            "copies", figures["copies"], config.max_copies, "share of near copies of train images"
        ),
        at_most(
            "pixel_kld",
            figures["pixel_kld"],
            config.max_pixel_kld,
            "KLD of grey levels from those of real images",
        ),
        at_most(
            "sharpness",
            abs(figures["sharpness"] - 1.0),
            config.max_sharpness_shift,
            "shift of sharpness against real images",
        ),
    ]
    if "class_coverage" in figures:
        checks.append(
            at_least(
                "class_coverage",
                _over(figures["class_coverage"], figures["real_class_coverage"]),
                config.min_coverage,
                "coverage of the least covered class over that of real images",
            )
        )
    if "class_share" in figures:
        checks.append(
            at_least(
                "class_share",
                figures["class_share"],
                config.min_class_share,
                "share of the rarest class over that of real images",
            )
        )
    if "accuracy" in figures:
        checks.append(
            at_least(
                "accuracy",
                _over(figures["accuracy"], figures["reference_accuracy"]),
                config.min_accuracy,
                "accuracy on the class asked for over that on real images",
            )
        )
    if "cas" in figures:
        checks.append(
            at_least(
                "cas",
                figures["cas"],
                config.min_cas,
                "accuracy on real images of a classifier trained on fakes",
            )
        )
    return checks


def against_baseline(config: JudgeConfig, comparison: dict) -> Check:
    """The check that FID is not credibly worse than the baseline's beyond the allowance."""
    baseline, difference = comparison["fid"], comparison["difference"]
    low, high = comparison["difference_interval"]
    known = baseline > 0 and all(math.isfinite(v) for v in (baseline, difference, low, high))
    share = low / baseline if known else math.nan
    check = at_most("regression", share, config.max_regression, "FID's change")
    if not _is_number(share):
        return check
    grade = (
        "credibly better than" if high < 0 else "credibly worse than" if low > 0 else "level with"
    )
    sentence = (
        f"{grade} the blessed generator (FID {baseline + difference:.3g} against {baseline:.3g}, "
        f"difference {low:.2g} to {high:.2g})"
    )
    return dataclasses.replace(check, sentence=sentence)


def decide(checks: Sequence[Check], figures: dict, notes: Sequence[str], force: str) -> Verdict:
    """The decision from all checks.

    Args:
      checks: at least one.
      figures: for the sentence.
      notes: what people should know besides (a baseline that was ignored, and why).
      force: reason to bless in spite of missed bars, "" for none.
    """
    missed = [check for check in checks if not check.passed]
    if not checks:
        return Verdict(False, False, "Not blessed: nothing was checked.")
    also = "".join(f" {note}" for note in notes)
    if not missed:
        return Verdict(True, False, f"Blessed: {_praise(checks, figures)}.{also}")
    causes = "; ".join(check.sentence for check in missed)
    if not force:
        return Verdict(False, False, f"Not blessed: {causes}.{also}")
    if all(check.can_force for check in missed):
        return Verdict(True, True, f"Blessed by force (“{force}”), although {causes}.{also}")
    return Verdict(
        False, False, f"Not blessed: {causes}. Force (“{force}”) can't help a broken model.{also}"
    )


def _praise(checks: Sequence[Check], figures: dict) -> str:
    parts = [check.sentence for check in checks if check.name in ("fid_ratio", "regression")]
    if "accuracy" in figures and any(check.name == "accuracy" for check in checks):
        parts.append(f"{figures['accuracy']:.1%} of the images are of the class asked for")
    return "; ".join(parts) or checks[0].sentence


def _sentence(what: str, value: float | None, passed: bool, side: str, bar: float) -> str:
    if not _is_number(value):
        return f"{what} is not a number"
    return f"{what} is {value:.3g}, {'within' if passed else side} the bar of {bar:.3g}"


def _over(value: float | None, by: float | None) -> float | None:
    return value / by if _is_number(value) and _is_number(by) and by > 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
