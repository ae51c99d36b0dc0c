"""Prepared sets: whose they are, whether they are as they were prepared, where they may lie."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from datasets import digits, info, source, tfds_store
from datasets.data_config import DataConfig
from datasets.tfds_store import DataError

SHARD = "digits-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> pathlib.Path:
    """A TFDS folder with the digits, prepared by this project."""
    folder = tmp_path_factory.mktemp("tfds")
    source.resolve(DataConfig(dataset="digits"), folder)
    return folder


@pytest.fixture
def copy(prepared, tmp_path) -> pathlib.Path:
    """The same, to be damaged."""
    shutil.copytree(prepared, tmp_path / "tfds")
    return tmp_path / "tfds"


def resolve(folder: pathlib.Path, **config) -> source.DataSource:
    return source.resolve(DataConfig(**{"dataset": "digits", **config}), folder)


def test_what_this_project_prepared_has_the_checksums_of_the_originals(prepared):
    found = resolve(prepared)
    assert found.checksums == digits.source_checksums()
    assert found.checksums_of == info.ORIGINALS


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
            "was altered after it was prepared",
        ),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_records_that_are_not_as_they_were_prepared_are_named(copy, damage, words):
    shard = copy / "digits" / "1.0.0" / SHARD
    damage(shard)
    with pytest.raises(DataError, match=words) as error:
        resolve(copy)
    assert str(shard) in str(error.value)


def test_records_of_someone_else_have_checksums_of_their_own(copy, caplog):
    (copy / "digits" / "1.0.0" / tfds_store.PREPARED_FILE).unlink()
    found = resolve(copy)
    assert "the checksums of their original files are unknown" in caplog.text
    assert set(found.checksums) == {SHARD, SHARD.replace("train", "test")}
    assert found.checksums_of == info.RECORDS
    assert "prepared by someone else" in caplog.text
    # Other records are other data.
    assert found.fingerprint != resolve_original(copy).fingerprint


def resolve_original(folder: pathlib.Path) -> source.DataSource:
    other = folder.parent / "other"
    return resolve(other)


def test_a_folder_of_tfds_is_taken_wherever_in_it_one_points(prepared, tmp_path):
    builder = tfds_store.get_builder("digits", tmp_path)
    for folder in (prepared, prepared / "digits", prepared / "digits" / "1.0.0"):
        assert tfds_store.prepared_root(builder, folder) == prepared
    for folder in (tmp_path, prepared.parent, prepared / "digits" / "1.0.0" / "x"):
        assert tfds_store.prepared_root(builder, folder) is None


def test_tfds_own_variable_names_a_folder(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    found = resolve(tmp_path)
    assert found.tfds_dir == str(prepared)
    assert not (tmp_path / "digits").exists()
    monkeypatch.setenv("TFDS_DATA_DIR", " ")
    assert resolve(tmp_path).tfds_dir == str(tmp_path)


def test_a_prepared_folder_is_taken_as_data_dir(copy, tmp_path, monkeypatch):
    """With a set that has originals: the folder holds none of them."""
    monkeypatch.setattr(tfds_store, "check_files", pytest.fail)
    real = tfds_store.get_builder

    class Renamed:
        """The digits, which are embedded, under a name that takes --data-dir."""

        def __init__(self, builder):
            self._builder = builder

        def __getattr__(self, name):
            return getattr(self._builder, name)

        name = "mnist"

    monkeypatch.setattr(tfds_store, "get_builder", lambda *args: Renamed(real(*args)))
    monkeypatch.setattr(tfds_store, "full_name", lambda builder: "digits")
    monkeypatch.setattr(tfds_store, "registered_files", lambda builder: {"a.gz": "0" * 64})
    found = resolve(tmp_path / "own", data_dir=copy / "digits")
    assert found.tfds_dir == str(copy)
    assert not (tmp_path / "own").exists()


def test_too_few_test_images_are_refused_before_anything_is_trained(prepared):
    with pytest.raises(DataError, match="5 test images are too few") as error:
        resolve(prepared, test_examples=5)
    assert "--set test_examples=N" in str(error.value)


def test_a_feature_of_the_right_shape_and_another_kind_is_told_by_its_kind():
    class Builder:
        name, builder_config = "tensors", None

        class info:
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            )
            supervised_keys = ("image", "label")

    with pytest.raises(DataError, match="it needs a feature of images, its 'image' is a Tensor"):
        tfds_store.feature_names(Builder)
