"""The decision: pure functions from figures to a verdict that fails closed."""

import math

import hypothesis
from hypothesis import strategies as st

from judge import verdict
from judge.judge_config import BARS, DATA_BARS, JudgeConfig, usual_bars

CONFIG = JudgeConfig().for_data("mnist")

# Of a generator that clears every bar of `standard`.
GOOD = {
    "fid_ratio": 2.1,
    "coverage": 0.92,
    "real_coverage": 0.94,
    "recall": 0.88,
    "real_recall": 0.94,
    "class_coverage": 0.89,
    "real_class_coverage": 0.93,
    "copies": 0.006,
    "pixel_kld": 0.09,
    "sharpness": 0.99,
    "class_share": 0.99,
    "accuracy": 0.996,
    "reference_accuracy": 0.995,
    "cas": 0.985,
}
COMPARED = {"fid": 0.34, "difference": 0.01, "difference_interval": [-0.01, 0.02]}


def decided(figures: dict, comparison: dict = COMPARED, force: str = "") -> verdict.Verdict:
    checks = verdict.bars(CONFIG, figures)
    checks.append(verdict.against_baseline(CONFIG, comparison))
    return verdict.decide(checks, figures, [], force)


def test_a_generator_that_clears_every_bar_is_blessed():
    assert decided(GOOD).blessed


@hypothesis.given(
    st.dictionaries(
        st.sampled_from(sorted(GOOD)),
        st.sampled_from([math.nan, math.inf, -math.inf]),
        min_size=1,
    )
)
def test_a_figure_that_is_not_finite_is_never_a_blessing(spoilt):
    found = decided(GOOD | spoilt)
    assert not found.blessed and "not a number" in found.reason


@hypothesis.given(
    st.sampled_from(["fid", "difference_interval"]), st.sampled_from([math.nan, math.inf])
)
def test_a_comparison_that_is_not_finite_is_never_a_blessing(name, value):
    spoilt = [value, value] if name == "difference_interval" else value
    assert not decided(GOOD, COMPARED | {name: spoilt}).blessed


@hypothesis.given(st.data())
def test_a_worse_figure_never_turns_a_rejection_into_a_blessing(data):
    # +1: more of it is better.
    better = {"fid_ratio": -1, "coverage": 1, "recall": 1, "class_coverage": 1, "copies": -1,
              "pixel_kld": -1, "class_share": 1, "accuracy": 1, "cas": 1}  # fmt: skip
    name = data.draw(st.sampled_from(sorted(better)))
    one, two = sorted(
        data.draw(st.tuples(st.floats(0, 10), st.floats(0, 10))), key=lambda v: v * better[name]
    )
    assert decided(GOOD | {name: one}).blessed <= decided(GOOD | {name: two}).blessed


@hypothesis.given(st.floats(0, 3))
def test_sharpness_may_differ_either_way_by_the_same_share(sharpness):
    expected = abs(sharpness - 1) <= CONFIG.max_sharpness_shift
    assert decided(GOOD | {"sharpness": sharpness}).blessed == expected


def test_a_reason_to_force_is_in_the_verdict_or_there_is_none():
    forced = decided(GOOD | {"copies": 0.5}, force="demo")
    assert (
        forced.blessed and forced.forced and "demo" in forced.reason and "copies" in forced.reason
    )
    assert not decided(GOOD, force="demo").forced


def test_nothing_checked_is_nothing_blessed():
    assert not verdict.decide([], {}, [], "demo").blessed


def test_every_strictness_has_every_bar_on_every_data_set_and_the_users_bar_wins():
    for strictness in BARS:
        for dataset in (*DATA_BARS, "emnist/letters"):
            config = JudgeConfig(strictness=strictness, max_copies=0.123).for_data(dataset)
            assert config.max_copies == 0.123
            for name, bar in usual_bars(strictness, dataset).items():
                assert getattr(config, name) == (0.123 if name == "max_copies" else bar)
            assert None not in {getattr(config, name) for name in BARS["standard"]}


def test_quality_is_nowhere_laxer_than_standard():
    for dataset in (*DATA_BARS, "kmnist"):
        standard, quality = (usual_bars(s, dataset) for s in ("standard", "quality"))
        for name in standard:
            sign = 1 if name.startswith("min_") else -1
            assert sign * quality[name] >= sign * standard[name], (dataset, name)
