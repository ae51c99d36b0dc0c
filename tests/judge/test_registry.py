"""The registry: one row per metric, from which settings, checks and tables come."""

import pytest

from judge import registry
from judge.judge_config import PRESETS, JudgeConfig
from judge.registry import BY_KEY, METRICS, usual_thresholds
from tests.conftest import fresh

# What held-out images of MNIST score, and of data whose real images are more unlike.
MNIST = {metric.key: metric.held_out for metric in METRICS if metric.thresholds}
WILD = {
    metric.key: metric.held_out * 0.8
    if metric.direction > 0
    else 2 * metric.held_out - metric.perfect
    for metric in METRICS
    if metric.thresholds
}
DATA = (("mnist", None), ("digits", None), ("other", MNIST), ("other", WILD))


def test_keys_are_unique_and_headlines_are_rows():
    assert len(BY_KEY) == len(METRICS)
    assert set(registry.HEADLINES) <= set(BY_KEY)


def test_it_is_read_without_tensorflow_or_tfx():
    code = "import sys, judge.registry, judge.judge_config; sys.exit('tensorflow' in sys.modules)"
    assert fresh(code).returncode == 0


@pytest.mark.parametrize(("dataset", "held_out"), DATA)
def test_quality_is_nowhere_laxer_than_standard_and_smoke_asks_for_nothing(dataset, held_out):
    standard, quality = (usual_thresholds(s, dataset, held_out) for s in ("standard", "quality"))
    assert set(standard) == set(quality) and standard
    for name in standard:
        sign = 1 if name.startswith("min_") else -1
        assert sign * quality[name] >= sign * standard[name], name
    assert usual_thresholds("smoke", dataset, held_out) == {}


def test_thresholds_of_other_data_are_mnists_widened_by_what_its_real_images_score():
    usual = usual_thresholds("standard")
    assert usual_thresholds("standard", held_out=MNIST) == pytest.approx(usual)
    wide = usual_thresholds("standard", held_out=WILD)
    for key, metric in BY_KEY.items():
        if not metric.thresholds:
            continue
        name, perfect = metric.setting, metric.perfect
        expected = 0.8 * usual[name] if metric.direction > 0 else 2 * usual[name] - perfect
        if metric.thresholds[2] is not None:  # the digits' are the laxest
            expected = (min if metric.direction < 0 else max)(expected, metric.thresholds[2])
        assert wide[name] == pytest.approx(expected), key
    # Real images that are nearer to each other than MNIST's make nothing stricter.
    alike = {key: BY_KEY[key].perfect for key in MNIST if BY_KEY[key].direction < 0}
    assert usual_thresholds("standard", held_out=alike) == {
        BY_KEY[k].setting: usual[BY_KEY[k].setting] for k in alike
    }


@pytest.mark.parametrize("strictness", registry.STRICTNESS)
def test_the_users_threshold_wins_and_the_rest_are_the_usual_ones(strictness):
    config = JudgeConfig(strictness=strictness, max_copies=0.123)
    mine = {"max_copies": 0.123}
    for dataset in ("mnist", "digits"):
        expected = usual_thresholds(strictness, dataset) | mine
        assert config.for_data(dataset).thresholds == expected
    assert config.for_data("other").thresholds == mine
    assert config.widened(WILD).thresholds == usual_thresholds(strictness, held_out=WILD) | mine


def test_presets_are_settings_of_the_judge():
    for preset in PRESETS.values():
        JudgeConfig(**preset)


def test_rows_of_a_document_have_value_interval_real_value_and_outcome():
    document = {
        "schema_version": 2,
        "metrics": {
            "relative_fid": 1.5,
            "relative_fid_interval": [1.4, 1.6],
            "fid": 0.11,
            "real_fid": 0.0735,
            "accuracy": 0.99,
            "real_accuracy": 0.995,
        },
        "checks": [{"name": "relative_fid", "passed": True}],
    }
    rows = {row.metric.key: row for row in registry.rows(document)}
    assert list(rows) == ["relative_fid", "fid", "accuracy"]
    assert rows["relative_fid"].passed and rows["relative_fid"].beside == "1.40 to 1.60"
    assert rows["accuracy"].text == "99.00%" and rows["accuracy"].passed is None
    assert "0.0735" in rows["fid"].beside


def test_of_a_document_of_schema_version_1_what_has_changed_its_meaning_is_left_out():
    document = {"schema_version": 1, "metrics": {"fid": 0.2, "recall": 0.9, "fid_ratio": 1.3}}
    assert [row.metric.key for row in registry.rows(document)] == ["recall"]
