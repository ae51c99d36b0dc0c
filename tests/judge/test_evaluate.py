"""`mnist-gan evaluate`: the judge's metrics for models and images of any origin."""

import errno
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from datasets import source
from datasets.data_config import DataConfig
from datasets.examples import read_prepared
from judge import evaluate, targets
from judge.judge_config import JudgeConfig
from metrics import two_sample
from tests import fixtures_generators as generators

CONFIG = JudgeConfig(num_fakes=300)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return source.resolve(DataConfig(dataset="digits"), tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def held_out(data):
    """Real digits that are neither in the train nor in the test split."""
    split = read_prepared(data, "eval")
    return split.images, split.labels


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """Images and the two-sample classifier are tested elsewhere; here that they are asked for."""
    monkeypatch.setattr(two_sample, "FEWEST_STEPS", 10)
    monkeypatch.setattr(
        evaluate.sheets, "draw", lambda folder, *a, **k: folder.mkdir(parents=True, exist_ok=True)
    )


def test_a_model_is_measured_as_the_evaluator_does(data, held_out, cache, tmp_path):
    model = generators.export(tmp_path / "model", *held_out)
    document = evaluate.evaluate(model, data, CONFIG, output_dir=tmp_path / "out", cache_dir=cache)
    assert document["protocol"] == "fid_300_train"
    assert document["target"]["kind"] == "saved_model" and document["target"]["count"] == 300
    assert document["data"]["fingerprint"] == data.fingerprint
    assert document["metrics"]["relative_fid"] < 4
    assert "blessed" not in document
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == document
    again = evaluate.evaluate(model, data, CONFIG, cache_dir=cache)
    assert again["metrics"]["relative_fid"] == pytest.approx(document["metrics"]["relative_fid"])
    rows = evaluate.table(document)
    assert rows[0][0].startswith("relative FID") and all(len(row) == 3 for row in rows)


def test_the_newest_of_a_folder_of_versions_is_measured(data, held_out, cache, tmp_path):
    images, labels = held_out
    generators.export(tmp_path / "5", 255 - images, labels)
    generators.export(tmp_path / "12", images, labels)
    document = evaluate.evaluate(tmp_path, data, CONFIG, cache_dir=cache)
    assert document["target"]["path"] == str(tmp_path / "12")


def test_unreadable_images_are_named_and_counted(data, held_out, cache, tmp_path):
    images, labels = held_out
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    (tmp_path / "digits" / "3" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    Image.new("L", (32, 30)).save(tmp_path / "digits" / "4" / "large.png")
    document = evaluate.evaluate(tmp_path / "digits", data, CONFIG, cache_dir=cache)
    target = document["target"]
    assert target["count"] == len(images) and target["conditional"]
    assert set(target["unreadable"]) == {"3/broken.png", "4/large.png"}
    assert target["unreadable"]["4/large.png"].startswith("32x30 pixels, not 28x28 (--set")
    # The classes are the folders' names.
    assert document["metrics"]["accuracy"] > 0.8


def test_images_without_classes_are_measured_by_what_the_classifier_sees(
    data, held_out, cache, tmp_path
):
    np.savez(tmp_path / "digits.npz", images=held_out[0][..., 0])
    document = evaluate.evaluate(tmp_path / "digits.npz", data, CONFIG, cache_dir=cache)
    assert document["target"]["kind"] == "npz" and not document["target"]["conditional"]
    assert "accuracy" not in document["metrics"] and "class_share" in document["metrics"]
    assert len(document["classes"]) == 10


def test_images_beyond_the_size_of_the_train_split_are_left_out_and_counted(
    data, held_out, cache, tmp_path
):
    train = data.split_counts["train"]
    images = np.resize(held_out[0], (train + 50, 28, 28, 1))
    np.savez(tmp_path / "many.npz", images=images)
    document = evaluate.evaluate(tmp_path / "many.npz", data, CONFIG, cache_dir=cache)
    assert document["target"]["count"] == document["num_fakes"] == train
    assert document["target"]["given"] == train + 50


def test_given_images_and_the_same_images_from_a_file_score_the_same(
    data, held_out, cache, tmp_path
):
    images, labels = held_out
    np.savez(tmp_path / "digits.npz", images=images, labels=labels)
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / "folder" / f"{i:05}.png")
    one = evaluate.evaluate(tmp_path / "digits.npz", data, CONFIG, cache_dir=cache)
    two = evaluate.evaluate(tmp_path / "folder", data, CONFIG, cache_dir=cache)
    assert one["metrics"]["fid"] == pytest.approx(two["metrics"]["fid"], rel=1e-9)
    assert one["metrics"]["accuracy"] > 0.8 and "accuracy" not in two["metrics"]


def test_a_foreign_generator_of_latents_is_measured(data, cache, tmp_path):
    class Foreign(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="z")])
        def __call__(self, z):
            # Sigmoid pixels, 0..1, flat, as the tutorials have them.
            return {"out": tf.sigmoid(tf.tile(z, [1, 784 // 3 + 1])[:, :784])}

    module = Foreign()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    target = targets.open_target(tmp_path / "model", data.class_names, (0.0, 1.0))
    seeds = np.arange(50)
    images = target.draw(seeds, np.zeros(50, int))
    assert images.shape == (50, 28, 28, 1) and not target.conditional
    assert -1 <= images.min() < -0.5 and 0.5 < images.max() <= 1
    np.testing.assert_array_equal(target.draw(seeds[7:8], np.zeros(1, int))[0], images[7])
    document = evaluate.evaluate(
        tmp_path / "model", data, CONFIG, cache_dir=cache, value_range=(0.0, 1.0)
    )
    assert document["metrics"]["relative_fid"] > 10


def test_what_is_nothing_of_the_kind_is_refused(data, tmp_path):
    with pytest.raises(evaluate.EvaluateError, match=r"neither a folder nor an \.npz"):
        evaluate.evaluate(tmp_path / "none", data, CONFIG)
    with pytest.raises(evaluate.EvaluateError, match="neither a SavedModel nor images"):
        evaluate.evaluate(tmp_path, data, CONFIG)
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(evaluate.EvaluateError, match=r"a\.npz can't be read"):
        evaluate.evaluate(tmp_path / "a.npz", data, CONFIG)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.png").write_bytes(b"no")
    with pytest.raises(evaluate.EvaluateError, match=r"0 usable images.*1 could not.*x\.png"):
        evaluate.evaluate(tmp_path / "images", data, CONFIG)


def test_a_model_that_draws_images_of_another_size_is_named(data, cache, tmp_path, held_out):
    model = generators.export(tmp_path / "model", *held_out, image_shape=(14, 14, 1))
    told = "model draws 14x14 grey images, the data set has 28x28 grey ones"
    with pytest.raises(evaluate.EvaluateError, match=told):
        evaluate.evaluate(model, data, CONFIG, cache_dir=cache)


def test_a_generator_of_nan_is_refused_and_not_an_empty_table(data, cache, tmp_path, held_out):
    model = generators.export(tmp_path / "model", *held_out, generators.not_a_number)
    with pytest.raises(evaluate.EvaluateError, match="values that are not finite"):
        evaluate.evaluate(model, data, CONFIG, cache_dir=cache)


def test_a_disk_that_fills_up_while_writing_loses_no_metrics(data, cache, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(evaluate.sheets, "draw", full)
    images = np.random.default_rng(0).integers(0, 255, (200, 28, 28), np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    with pytest.raises(evaluate.OutputError, match="no space left on device under") as caught:
        evaluate.evaluate(
            tmp_path / "a.npz", data, CONFIG, output_dir=tmp_path / "out", cache_dir=cache
        )
    assert caught.value.document["metrics"]["fid"] > 0


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(data, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(evaluate.EvaluateError, match=r"out can't be written"):
        evaluate.evaluate(tmp_path, data, CONFIG, output_dir=tmp_path / "out")
