"""The TFX Trainer entry point on the shared tiny problem, through our own transform graph."""

import json
import types

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from common import mapped
from common.contract import GeneratorContract
from common.images import to_uint8
from components.preprocessing import preprocessing_fn
from tests.trainer.conftest import CLASSES, TINY, TINY_OF
from trainer import run_fn as entry_point
from trainer.run_fn import read_split, run_fn
from trainer.training_config import make_config

SPEC = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "id": tf.io.FixedLenFeature([], tf.string),
}


def example(image: np.ndarray, label: int, name: str) -> bytes:
    features = {
        "image": tf.train.Feature(bytes_list={"value": [tf.io.encode_png(image).numpy()]}),
        "label": tf.train.Feature(int64_list={"value": [label]}),
        "id": tf.train.Feature(bytes_list={"value": [name.encode()]}),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_examples(path, images, labels, order) -> str:
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for i in order:
            writer.write(example(images[i], labels[i], f"tiny-{i:03d}"))
    return str(path)


@pytest.fixture(scope="module")
def transform_output(tiny_levels, tmp_path_factory) -> str:
    """A transform graph as TFX's Transform leaves it."""
    folder = tmp_path_factory.mktemp("transform")
    images, labels = tiny_levels
    rows = [
        {"image": tf.io.encode_png(image).numpy(), "label": label, "id": b"x"}
        for image, label in zip(images, labels, strict=True)
    ]
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(SPEC))
    with beam.Pipeline(FnApiRunner()) as pipeline:
        with tft_beam.Context(temp_dir=str(folder / "temp")):
            data = (pipeline | beam.Create(rows), metadata)
            transform_fn = data | tft_beam.AnalyzeDataset(preprocessing_fn)
            _ = transform_fn | tft_beam.WriteTransformFn(str(folder))
    metadata_io.write_metadata(metadata, str(folder / tft.TFTransformOutput.RAW_METADATA_DIR))
    return str(folder)


def args_in(folder, tiny_levels, transform_output) -> types.SimpleNamespace:
    """What TFX hands over, in a fresh workspace."""
    return types.SimpleNamespace(
        train_files=[write_examples(folder / "data-0.gz", *tiny_levels, range(60))],
        eval_files=[write_examples(folder / "eval-0.gz", *tiny_levels, range(20))],
        transform_output=transform_output,
        serving_model_dir=str(folder / "model" / "Format-Serving"),
        model_run_dir=str(folder / "model_run"),
        base_model=None,
        custom_config={
            "training": make_config(**{**TINY, "steps": 3}).model_dump_json(),
            "seed": 7,
            "data": {"dataset": "tiny", "num_classes": CLASSES, "class_names": list("abcd")},
            "checkpoint_root": str(folder / "checkpoints"),
            "tensorboard_root": str(folder / "tensorboard"),
            "source_hash": "0123",
            "preset": "smoke",
            "versions": {"tensorflow": tf.__version__},
        },
    )


@pytest.fixture
def fn_args(tiny_levels, transform_output, tmp_path):
    return args_in(tmp_path, tiny_levels, transform_output)


@pytest.fixture(scope="module")
def trained(tiny_levels, transform_output, tmp_path_factory):
    """What was handed over to a run of three steps, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    fn_args = args_in(folder, tiny_levels, transform_output)
    run_fn(fn_args)
    return fn_args, folder


def set_training(fn_args, **settings) -> None:
    fn_args.custom_config["training"] = make_config(**settings).model_dump_json()


def weights_of(folder) -> dict[str, np.ndarray]:
    with np.load(folder / "model" / "Training" / "weights.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize("files", [1, 2, 7])
@pytest.mark.parametrize("fits", [True, False], ids=["in memory", "mapped"])
def test_images_come_in_minus_one_to_one_and_in_the_order_of_their_ids(
    tiny_data, tiny_levels, transform_output, tmp_path, monkeypatch, files, fits
):
    if not fits:
        monkeypatch.setattr(mapped, "IN_MEMORY", 10_000)
    shuffled = np.random.default_rng(0).permutation(60)
    for number in range(files):
        write_examples(tmp_path / f"data-{number}.gz", *tiny_levels, shuffled[number::files])
    images, labels = read_split([str(tmp_path / "data-*.gz")], transform_output)
    assert isinstance(images, np.memmap) != fits
    assert images.dtype == np.float32 and labels.dtype == np.int64
    np.testing.assert_allclose(images, tiny_data[0], atol=1e-6)
    np.testing.assert_array_equal(to_uint8(images), tiny_levels[0])
    np.testing.assert_array_equal(labels, tiny_data[1])


def test_files_without_examples_are_named(transform_output, tmp_path):
    path = write_examples(tmp_path / "empty.gz", [], [], [])
    with pytest.raises(ValueError, match=r"no example in .*empty\.gz"):
        read_split([path], transform_output)


def test_run_fn_leaves_a_model_its_contract_and_the_records(trained):
    fn_args, folder = trained
    signature = tf.saved_model.load(fn_args.serving_model_dir).signatures["generate"]
    image = signature(seed=tf.constant([1, 2], tf.int64), label=tf.constant([0, -1], tf.int64))
    assert image["image"].shape == [2, 28, 28, 1]
    contract = GeneratorContract.load(fn_args.serving_model_dir)
    assert contract.num_classes == CLASSES and contract.class_names == tuple("abcd")
    assert contract.classes_present == (0, 1, 2, 3)
    assert contract.training["seed"] == 7 and contract.training["config"]["steps"] == 3
    assert (folder / "model_run" / "history.jsonl").exists()
    assert list(folder.glob("tensorboard/*_steps_seed_*/events.*"))  # a name for people


@pytest.mark.parametrize("model", ["dcgan", "gaussian_mlp"])
def test_the_variants_go_the_same_way(fn_args, model, tmp_path):
    set_training(fn_args, **{**TINY_OF[model], "steps": 2, "eval_interval": 1})
    run_fn(fn_args)
    contract = GeneratorContract.load(fn_args.serving_model_dir)
    assert contract.model == model and not contract.conditional
    assert contract.latent_distribution == ("uniform" if model == "dcgan" else "normal")
    assert contract.training["config"] == json.loads(fn_args.custom_config["training"])
    signature = tf.saved_model.load(fn_args.serving_model_dir).signatures["generate"]
    image = signature(seed=tf.constant([1], tf.int64), label=tf.constant([-1], tf.int64))
    assert image["image"].shape == [1, 28, 28, 1]
    history = (tmp_path / "model_run" / "history.jsonl").read_text()
    assert "fid_20_eval" in history
    assert "accuracy" not in history  # there is no class that it could be asked for


def test_the_fingerprint_of_a_run_is_that_of_data_settings_seed_and_source(fn_args, monkeypatch):
    class Captured(Exception):
        pass

    def train(*args, fingerprint, **kwargs):
        raise Captured(fingerprint)

    monkeypatch.setattr(entry_point, "train", train)

    def fingerprint() -> str:
        with pytest.raises(Captured) as found:
            run_fn(fn_args)
        return found.value.args[0]

    found = [fingerprint()]
    assert fingerprint() == found[0]
    for key, value in (
        ("seed", 8),
        ("source_hash", "4567"),
        ("training", make_config(**{**TINY, "steps": 4}).model_dump_json()),
        ("versions", {"tensorflow": "2.0"}),
    ):
        fn_args.custom_config[key] = value
        found.append(fingerprint())
    fn_args.train_files = fn_args.eval_files
    found.append(fingerprint())
    assert len(set(found)) == len(found)


def test_a_base_model_is_where_training_starts(trained, fn_args, tmp_path):
    fn_args.base_model = trained[0].serving_model_dir
    set_training(fn_args, **{**TINY, "steps": 1, "learning_rate": 1e-12})
    run_fn(fn_args)
    first, second = weights_of(trained[1]), weights_of(tmp_path)
    for name in (name for name in first if name.startswith("discriminator/")):
        np.testing.assert_allclose(second[name], first[name], atol=1e-6)


def test_a_base_model_without_weights_to_start_from_is_named(fn_args, tmp_path):
    fn_args.base_model = str(tmp_path / "foreign" / "Format-Serving")
    with pytest.raises(ValueError, match=r"can.t start from .*foreign"):
        run_fn(fn_args)


@pytest.mark.parametrize("changes", [{**TINY, "generator_channels": 9}, TINY_OF["dcgan"]])
def test_a_base_model_of_other_networks_is_refused_and_both_are_named(trained, fn_args, changes):
    fn_args.base_model = trained[0].serving_model_dir
    set_training(fn_args, **changes)
    model = changes.get("model", "cdcgan")
    with pytest.raises(ValueError, match=f"can.t start from .*is a cdcgan.*trains a {model}"):
        run_fn(fn_args)


def test_a_base_model_that_there_is_not_is_refused(fn_args):
    set_training(fn_args, **TINY, base_model="latest")
    with pytest.raises(ValueError, match="no generator was blessed yet"):
        run_fn(fn_args)


def test_the_eval_split_is_looked_at_each_interval_and_changes_no_weight(
    trained, fn_args, tmp_path
):
    set_training(fn_args, **{**TINY, "steps": 3, "eval_interval": 2, "eval_samples": 100})
    run_fn(fn_args)
    records = map(json.loads, (tmp_path / "model_run" / "history.jsonl").read_text().splitlines())
    fids = {r["step"]: r["fid_20_eval"] for r in records if "fid_20_eval" in r}
    assert list(fids) == [2, 3] and min(fids.values()) > 0
    watched, unwatched = weights_of(tmp_path), weights_of(trained[1])
    for name, values in unwatched.items():
        np.testing.assert_array_equal(watched[name], values, err_msg=name)


def test_a_part_of_the_data_is_not_trained_on(fn_args):
    fn_args.custom_config["data"]["split_counts"] = {"train": 61, "eval": 20}
    with pytest.raises(ValueError, match="60 examples of the 61 of train: nothing was trained"):
        run_fn(fn_args)
