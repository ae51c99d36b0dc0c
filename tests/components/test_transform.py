"""Transform: PNG to [-1, 1] and back, without losing a grey level."""

import copy
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.transform import executor as transform
from tfx.proto import transform_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from common import transform_counts as counts
from common.images import to_uint8
from components import preprocessing, reading
from tests.components import artifacts, data_nodes

LEVELS = np.arange(256, dtype=np.uint8)


def run_transform(examples, folder, workers=1):
    """The TransformGraph artifact that TFX's Transform makes of the train split."""
    schema = data_nodes.write_schema(10, folder / "schema")
    graph = data_nodes.artifact(standard_artifacts.TransformGraph, folder / "graph")
    data_nodes.beam_executor(transform.Executor, folder, workers).Do(
        {"examples": [examples], "schema": [schema]},
        {"transform_graph": [graph]},
        {
            "preprocessing_fn": "components.preprocessing.preprocessing_fn",
            "custom_config": json.dumps({"source_hash": "0"}),
            "disable_statistics": 1,
            "force_tf_compat_v1": 0,
            "splits_config": proto_utils.proto_to_json(
                transform_pb2.SplitsConfig(analyze=["train"])
            ),
        },
    )
    return graph


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    """(images, labels, TransformGraph artifact) of 300 real digits."""
    folder = tmp_path_factory.mktemp("transform")
    images, labels = artifacts.real_digits()
    images, labels = images[:300], labels[:300]
    splits = {"train": (images, labels), "eval": (images[:50], labels[:50])}
    examples = artifacts.examples(folder / "examples", splits)
    return images, labels, examples, run_transform(examples, folder)


def test_the_saved_graph_gives_the_original_pixels_back(transformed):
    images, labels, examples, graph = transformed
    output = tft.TFTransformOutput(graph.uri)
    layer = output.transform_features_layer()
    records = list(
        tf.data.TFRecordDataset(
            tf.io.gfile.glob(f"{examples.uri}/Split-train/*"), "GZIP"
        ).as_numpy_iterator()
    )
    result = layer(tf.io.parse_example(records, output.raw_feature_spec()))
    assert result["image"].shape == (300, 28, 28, 1) and result["image"].dtype == tf.float32
    np.testing.assert_array_equal(to_uint8(result["image"].numpy()), images)
    np.testing.assert_array_equal(result["label"].numpy(), labels)
    assert result["id"].numpy()[7] == b"train-00007"


def test_the_graph_keeps_exact_counts_of_levels_and_labels(transformed):
    images, labels, _, graph = transformed
    found = counts.read_counts(graph.uri)
    levels, numbers = np.unique(images, return_counts=True)
    assert found.levels == dict(zip(levels.tolist(), numbers.tolist(), strict=True))
    bins = np.histogram(images / 127.5 - 1.0, counts.VALUE_BINS, (-1, 1))[0]
    assert sum(found.values.values()) == images.size
    assert (found.values[0], found.values[counts.VALUE_BINS - 1]) == (bins[0], bins[-1])
    assert found.labels == {label: int((labels == label).sum()) for label in range(10)}
    assert found.pixel_mean == pytest.approx(images.mean(), rel=1e-12)
    assert found.pixel_standard_deviation == pytest.approx(images.std(), rel=1e-9)


@pytest.mark.parametrize("size", [(27, 28, 1), (28, 56, 1)])
def test_an_image_of_another_size_fails(size):
    wrong = tf.io.encode_png(np.zeros(size, np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        tf.function(preprocessing.decode)(tf.stack([wrong]))


def test_bytes_that_are_no_image_fail():
    with pytest.raises(tf.errors.InvalidArgumentError, match="PNG"):
        preprocessing.decode(tf.constant([b"\x89PNG but nothing else"]))


def test_a_damaged_image_stops_the_transform(tmp_path):
    images, labels = artifacts.real_digits()
    examples = artifacts.examples(tmp_path / "examples", {"train": (images[:20], labels[:20])})
    (path,) = tf.io.gfile.glob(f"{examples.uri}/Split-train/*")
    records = list(tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator())
    damaged = tf.train.Example.FromString(records[3])
    image = damaged.features.feature["image"].bytes_list
    image.value[0] = image.value[0][:40]
    records[3] = damaged.SerializeToString()
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for record in records:
            writer.write(record)
    with pytest.raises(Exception, match="Invalid PNG"):
        run_transform(examples, tmp_path)


@pytest.mark.slow
def test_examples_and_transform_are_the_same_in_seven_files_on_two_workers(transformed, tmp_path):
    _, _, examples, graph = transformed
    sharded = copy.deepcopy(examples)
    sharded.uri = str(tmp_path / "examples")
    for split in ("train", "eval"):
        folder = tmp_path / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        (path,) = pathlib.Path(examples.uri, folder.name).iterdir()
        records = list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())
        for part in range(7):
            name = str(folder / f"data_tfrecord-{part:05d}-of-00007.gz")
            with tf.io.TFRecordWriter(name, "GZIP") as writer:
                for record in records[part::7]:
                    writer.write(record)
    for split in ("train", "eval"):
        splits = [reading.read_split(source, split) for source in (examples, sharded)]
        np.testing.assert_array_equal(splits[1].images, splits[0].images)
        np.testing.assert_array_equal(splits[1].labels, splits[0].labels)
    again = run_transform(sharded, tmp_path, 2)
    assert counts.read_counts(again.uri) == counts.read_counts(graph.uri)
