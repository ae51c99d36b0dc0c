"""SpanDrift and what DataGate makes of it: a span that has drifted is refused with its figure."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from components import artifact_types, span_drift
from components.data_gate import check_drift
from components.mnist_example_gen import content_of
from datasets import source
from datasets.data_config import DataConfig
from metrics import two_sample
from tests.components import artifacts, data_nodes

ALIKE = {
    "span": 2, "before": 1, "image_drift": 0.7, "image_chance": 0.02, "label_drift": 0.01,
    "label_chance": 0.005, "classes_gone": "", "classes_new": "",
}  # fmt: skip


def test_a_turned_span_that_lacks_a_class_is_measured_and_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(two_sample, "FEWEST_STEPS", 60)
    images, labels = artifacts.real_digits()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        # The second span is upside down and has no 9.
        span = 1 if number % 2 or label == 9 else 2
        path = tmp_path / "shapes" / f"span-{span}" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:: 1 if span == 1 else -1, :, 0]).save(path)
    data = source.resolve(DataConfig(dataset=f"folder:{tmp_path / 'shapes'}"), tmp_path / "tfds")
    report = data_nodes.artifact(artifact_types.SpanDrift, tmp_path / "drift")
    newest, before = map(content_of, data.compared)
    span_drift.SpanDrift.test_call(newest=newest, before=before, drift_report=report)
    found = json.loads(pathlib.Path(report.uri, span_drift.DRIFT_FILE).read_text())
    assert (found["span"], found["before"], found["classes_gone"]) == (2, 1, "9")
    assert report.get_int_custom_property("span") == 2
    with Image.open(tmp_path / "drift" / "spans.png") as shown:
        above, below = np.split(np.asarray(shown)[1:-1], 2)
        assert above.mean() > 0 and below.mean() > 0
    faults = check_drift(found, 0.75, 0.02)
    assert faults[0].startswith("images of span 2 and span 1 are told apart: accuracy ")
    assert faults[1].startswith("span 2 has other shares of classes than span 1 (gone: 9): 0.0")


def test_the_divergence_of_classes_is_tfdvs_and_above_chance_once_in_a_hundred():
    random, shares = np.random.default_rng(0), [0.5, 0.3, 0.2]
    new, old = (np.repeat(["a", "b", "c"], random.multinomial(n, shares)) for n in (300, 900))
    value, chance = span_drift.label_drift(new, old)
    counts = [np.unique(names, return_counts=True)[1] for names in (new, old)]
    assert value == pytest.approx(_divergence(*counts), abs=1e-6)
    many = [random.multinomial(n, shares, 5000) for n in (300, 900)]
    assert 0.005 < np.mean(_divergence(*many) > chance) < 0.015
    assert span_drift.label_drift(["a"] * 9, ["b"] * 9)[0] == pytest.approx(1)
    assert span_drift.label_drift(["a"] * 9, ["a"] * 5) == (0, 0)


def _divergence(*counts: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of counts in the last axis, in bits."""
    shares = [c / c.sum(axis=-1, keepdims=True) for c in counts]
    middle = sum(shares) / 2
    return sum(stats.entropy(share, middle, axis=-1, base=2) for share in shares) / 2


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        ({}, []),
        ({"image_drift": 0.76}, []),  # by chance
        ({"label_drift": 0.024}, []),
        (
            {"image_drift": 0.931},
            [
                "images of span 2 and span 1 are told apart: accuracy 93.1%, above the threshold "
                "of 77.0% (max_image_drift=0.75, and chance): correct span 2, or accept it with "
                "--set max_image_drift=1"
            ],
        ),
        (
            {"label_drift": 0.05, "classes_gone": "3", "classes_new": "{x}"},
            [
                "span 2 has other shares of classes than span 1 (gone: 3) (new: {x}): 0.05, above "
                "the threshold of 0.025 (max_label_drift=0.02, and chance): correct span 2, or "
                "accept it with --set max_label_drift=1"
            ],
        ),
    ],
)
def test_drift_above_its_threshold_and_chance_is_a_fault(found, faults):
    assert check_drift(ALIKE | found, 0.75, 0.02) == faults
