"""What real images score that nothing was trained on, from which thresholds are made."""

import dataclasses

import numpy as np
import pytest

from datasets.examples import Split
from datasets.info import DatasetInfo
from judge import held_out, reference
from judge.judge_config import JudgeConfig
from judge.registry import METRICS, usual_thresholds
from metrics import two_sample
from tests.components.artifacts import real_digits

DATA = DatasetInfo(dataset="mine", num_classes=10, class_names=tuple("0123456789"), fingerprint="f")


@pytest.fixture(scope="module")
def splits():
    images, labels = real_digits()
    order = np.random.default_rng(0).permutation(len(images))
    parts = {"train": order[:1200], "eval": order[1200:1450], "test": order[1450:]}
    return {name: Split(images[rows], labels[rows]) for name, rows in parts.items()}


def test_held_out_images_are_judged_once_and_widen_each_threshold(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(two_sample, "FEWEST_STEPS", 20)
    extractors = reference.load_extractors()

    def scores(read, data=DATA, **settings):
        config = JudgeConfig(**settings)
        return held_out.scores(data, read, extractors, config, str(tmp_path))

    found = scores(splits.__getitem__)
    assert found.count == 250 and "250 held-out real images" in found.sentence
    # All but the CAS, which is asked for by a setting of its own.
    assert set(found.values) == {m.key for m in METRICS if m.thresholds} - {"cas"}
    assert 0.7 < found.values["relative_fid"] < 3 and found.values["recall"] > 0.8
    assert found.values["broken"] == pytest.approx(3 / 250)  # none was seen
    assert 0.5 < found.values["tell_ink"] < 0.65
    usual = usual_thresholds("standard")
    for name, value in usual_thresholds("standard", held_out=found.values).items():
        assert value >= usual[name] if name.startswith("max_") else value <= usual[name], name

    assert scores(None) == found  # from the cache
    assert scores(None, strictness="smoke") is None
    for pinned in ("mnist", "digits"):
        assert scores(None, dataclasses.replace(DATA, dataset=pinned)) is None
