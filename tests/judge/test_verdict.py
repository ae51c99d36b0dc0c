"""The decision: pure functions from metrics to a verdict that fails closed."""

import math

import hypothesis
from hypothesis import strategies as st

from judge import registry, verdict
from judge.judge_config import JudgeConfig

CONFIG = JudgeConfig(min_cas=0.9).for_data("mnist")
CHECKED = [metric for metric in registry.METRICS if metric.setting in CONFIG.thresholds]


def good() -> dict[str, float]:
    """Metrics of a generator that meets every threshold of `standard`, just so."""
    found = {}
    for metric in CHECKED:
        threshold = CONFIG.thresholds[metric.setting]
        real = 0.5 if metric.relative else None
        found[metric.key] = threshold * (real or 1.0)
        if real is not None:
            found[f"real_{metric.key}"] = real
    return found


COMPARED = {
    "extractor": "pooled",
    "fid": 0.34,
    "difference": 0.01,
    "difference_interval": [-0.01, 0.02],
}


def decided(found: dict, comparison: dict = COMPARED, force: str = "") -> verdict.Verdict:
    checks = verdict.thresholds(CONFIG.thresholds, found)
    checks.append(verdict.against_baseline(CONFIG.max_regression, comparison))
    return verdict.decide(checks, found, [], force)


def test_a_generator_that_meets_every_threshold_is_blessed():
    assert decided(good()).blessed, decided(good()).reason


@hypothesis.given(
    st.dictionaries(
        st.sampled_from(sorted(good())),
        st.sampled_from([math.nan, math.inf, -math.inf]),
        min_size=1,
    )
)
def test_a_metric_that_is_not_finite_is_never_a_blessing(spoilt):
    found = decided(good() | spoilt)
    assert not found.blessed and "not a number" in found.reason


@hypothesis.given(
    st.sampled_from(["fid", "difference_interval"]), st.sampled_from([math.nan, math.inf])
)
def test_a_comparison_that_is_not_finite_is_never_a_blessing(name, value):
    spoilt = [value, value] if name == "difference_interval" else value
    assert not decided(good(), COMPARED | {name: spoilt}).blessed


@hypothesis.given(st.sampled_from(CHECKED), st.floats(0, 10), st.floats(0, 10))
def test_a_worse_value_never_turns_a_rejection_into_a_blessing(metric, one, two):
    worse, better = sorted((one, two), key=lambda value: value * metric.direction)
    key = metric.key
    assert decided(good() | {key: worse}).blessed <= decided(good() | {key: better}).blessed


@hypothesis.given(st.sampled_from(CHECKED))
def test_every_threshold_refuses_by_itself_what_is_a_little_worse(metric):
    found = good()
    found[metric.key] *= 1 - 0.01 * metric.direction
    decision = decided(found)
    assert not decision.blessed and metric.title.strip() in decision.reason


def test_a_generator_credibly_worse_than_the_one_before_is_refused_with_the_extractor_named():
    worse = COMPARED | {"difference": 0.1, "difference_interval": [0.05, 0.15]}
    decision = decided(good(), worse)
    assert not decision.blessed and "by the extractor pooled" in decision.reason


def test_a_reason_to_force_is_in_the_verdict_or_there_is_none():
    forced = decided(good() | {"copies": 0.5}, force="demo")
    assert forced.blessed and forced.forced
    assert "demo" in forced.reason and "copies" in forced.reason
    assert not decided(good(), force="demo").forced


def test_nothing_checked_is_nothing_blessed():
    assert not verdict.decide([], {}, [], "demo").blessed
