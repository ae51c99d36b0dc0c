"""Schema, validation and DataGate: what is no MNIST example stops the run, with every reason."""

import collections
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from components.artifact_types import SpanDrift
from components.data_gate import DataGateError, check_counts, read_anomalies
from components.example_schema import constrain
from components.span_drift import DRIFT_FILE
from datasets import source
from datasets.data_config import DataConfig
from tests.components import artifacts, data_nodes, sketches
from tests.components.test_span_drift import ALIKE


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = artifacts.real_digits()
    return images[:count], labels[:count]


def rewrite(examples, split: str, change) -> None:
    """Applies `change` to each tf.train.Example of a split; what it returns is written."""
    (path,) = tf.io.gfile.glob(f"{examples.uri}/Split-{split}/*")
    records = list(tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator())
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for number, record in enumerate(records):
            example = tf.train.Example.FromString(record)
            change(number, example.features.feature)
            writer.write(example.SerializeToString())


def test_good_data_pass_with_exact_counts(tmp_path):
    images, labels = digits(200)
    examples = artifacts.examples(
        tmp_path / "examples",
        {"train": (images, labels), "eval": digits(60), "test": digits(40)},
    )
    made = data_nodes.validate(examples, tmp_path)
    report = data_nodes.pass_gate(made, tmp_path)
    assert report["anomalies"] == []
    assert report["examples"] == {"train": 200, "eval": 60, "test": 40}
    expected = {str(label): int((labels == label).sum()) for label in range(10)}
    assert report["label_counts"]["train"] == expected
    # The same data as a span that looks unlike the one before.
    made["drift_report"] = data_nodes.artifact(SpanDrift, tmp_path / "drift")
    (tmp_path / "drift").mkdir()
    (tmp_path / "drift" / DRIFT_FILE).write_text(json.dumps(ALIKE | {"image_drift": 0.9}))
    assert data_nodes.pass_gate(made, tmp_path)["anomalies"] == []
    with pytest.raises(
        DataGateError, match=r"anomalies.*\n  - images of span 2 and span 1 are told"
    ):
        data_nodes.pass_gate(made, tmp_path, max_image_drift=0.75)


def test_a_label_outside_the_domain_stops_the_run_and_is_printed(tmp_path):
    images, labels = digits(100)
    labels = labels.copy()
    labels[17] = 10
    examples = artifacts.examples(
        tmp_path / "examples", {"train": digits(100), "eval": (images, labels), "test": digits(50)}
    )
    made = data_nodes.validate(examples, tmp_path)
    with pytest.raises(DataGateError) as error:
        data_nodes.pass_gate(made, tmp_path)
    message = str(error.value)
    assert "'digits' have anomalies" in message
    assert "eval: label: Out-of-range values: Unexpectedly large value: 10" in message
    assert "train:" not in message and "test:" not in message
    assert not pathlib.Path(tmp_path, "gate").exists()


def test_every_anomaly_of_every_split_is_listed(tmp_path):
    examples = artifacts.examples(
        tmp_path / "examples", {"train": digits(100), "eval": digits(50), "test": digits(50)}
    )

    def two_images(number, feature):
        if number == 3:
            feature["image"].bytes_list.value.append(b"another")

    def no_label_and_a_note(number, feature):
        if number == 5:
            del feature["label"]
        feature["note"].bytes_list.value.append(b"fine")

    def negative_label(number, feature):
        if number == 7:
            feature["label"].int64_list.value[:] = [-1]

    rewrite(examples, "train", two_images)
    rewrite(examples, "eval", no_label_and_a_note)
    rewrite(examples, "test", negative_label)
    with pytest.raises(DataGateError) as error:
        data_nodes.pass_gate(data_nodes.validate(examples, tmp_path), tmp_path)
    faults = str(error.value).splitlines()[1:]
    assert any("train: image" in fault for fault in faults)
    assert any("eval: label" in fault and "fewer examples" in fault for fault in faults)
    assert any("test: label" in fault and "value: -1" in fault for fault in faults)


def test_345_classes_pass_where_the_345th_is_the_last(tmp_path):
    found = source.resolve(DataConfig(dataset="sketches"), tmp_path / "tfds")
    assert found.num_classes == sketches.CLASSES
    examples = data_nodes.generate_examples(found, tmp_path)
    made = data_nodes.validate(examples, tmp_path)
    report = data_nodes.pass_gate(made, tmp_path)
    counted = collections.Counter()
    for counts in report["label_counts"].values():
        counted.update(counts)
    assert counted == {str(label): sketches.PER_CLASS for label in range(345)}
    # The gate also knows how many there should be.
    examples.set_string_custom_property("split_counts", '{"train": 1725, "eval": 346}')
    with pytest.raises(DataGateError, match="eval: 345 examples were read of 346"):
        data_nodes.pass_gate(made, tmp_path)


def test_the_schema_replaces_what_was_inferred_of_our_features_only():
    inferred = schema_pb2.Schema()
    inferred.feature.add(name="label", type=schema_pb2.FLOAT)
    inferred.feature.add(name="extra", type=schema_pb2.FLOAT)
    schema = constrain(inferred, 62)
    features = {feature.name: feature for feature in schema.feature}
    assert list(features) == ["image", "id", "label", "extra"]
    assert (features["label"].int_domain.min, features["label"].int_domain.max) == (0, 61)
    assert features["extra"] == inferred.feature[1]
    for name in ("image", "id", "label"):
        assert features[name].presence.min_fraction == 1.0
        assert features[name].HasField("shape") and not features[name].shape.dim


def test_an_empty_split_is_a_fault():
    assert check_counts({"train": 10, "eval": 0}, {"train": {1: 10}, "eval": {}}, {}) == [
        "eval: there are no examples"
    ]


def test_classes_without_a_training_example_are_a_fault_when_they_matter():
    train = {0: 50, 1: 50}
    faults = check_counts({"train": 100, "test": 100}, {"train": train, "test": {0: 90, 7: 10}}, {})
    assert faults == ["test: 10 of 100 examples are of classes that have no training example: 7"]
    few = {"train": train, "test": {0: 99, 7: 1}}
    assert check_counts({"train": 100, "test": 100}, few, {}) == []


def test_an_anomaly_of_the_whole_set_is_read_too():
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.short_description = "Low num examples"
    anomalies.dataset_anomaly_info.description = "3 < 10"
    assert read_anomalies(anomalies) == ["Low num examples: 3 < 10"]
