"""MnistExampleGen: the data that was asked for, checked, or one message that says what is wrong."""

import dataclasses
import fcntl
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common.images import CONVERSIONS_FILE
from components import mnist_example_gen
from components.mnist_example_gen import serialized_examples
from datasets import digits, png, source
from datasets.data_config import DataConfig
from datasets.source import DataSource
from datasets.tfds_store import DataError
from tests.components import data_nodes, sketches
from tests.conftest import MNIST_FILES, REPOSITORY


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory) -> pathlib.Path:
    """A folder in which sets once prepared stay prepared for this file's tests."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def digits_source(tfds_dir) -> DataSource:
    """The embedded digits, prepared."""
    return source.resolve(DataConfig(dataset="digits"), tfds_dir)


@pytest.fixture(scope="module")
def mnist_source(tfds_dir, mnist_dir) -> DataSource:
    """All of MNIST, prepared from the original files."""
    return source.resolve(DataConfig(dataset="mnist", data_dir=mnist_dir), tfds_dir)


@pytest.fixture
def no_network(monkeypatch):
    """Nothing answers, and nothing waits for it."""

    def refuse(*args, **kwargs):
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def read_split(examples, split: str) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
    """Images, labels and ids of a split, read without this project's own code."""
    files = sorted(pathlib.Path(examples.uri, f"Split-{split}").iterdir())
    records = [
        tf.train.Example.FromString(record).features.feature
        for record in tf.data.TFRecordDataset(
            [str(file) for file in files], "GZIP"
        ).as_numpy_iterator()
    ]
    images = np.stack([tf.io.decode_png(r["image"].bytes_list.value[0]).numpy() for r in records])
    labels = np.array([r["label"].int64_list.value[0] for r in records])
    return images, labels, [r["id"].bytes_list.value[0] for r in records]


# --- which data


def test_mnist_splits_are_those_of_the_house(mnist_source):
    assert mnist_source.split_slices == {
        "train": "train[0:50000]",
        "eval": "train[50000:60000]",
        "test": "test[0:10000]",
    }
    assert mnist_source.split_counts == {"train": 50_000, "eval": 10_000, "test": 10_000}
    assert (mnist_source.dataset, mnist_source.dataset_version) == ("mnist", "3.0.1")
    assert set(mnist_source.checksums) == set(MNIST_FILES)


def test_prepared_mnist_is_the_original_pixel_for_pixel(mnist_source, mnist_dir):
    def original(name: str, offset: int) -> np.ndarray:
        content = gzip.decompress((mnist_dir / name).read_bytes())
        return np.frombuffer(content, np.uint8, offset=offset)

    images = original("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784)
    expected = sorted(
        (image.tobytes(), int(label))
        for image, label in zip(images, original("t10k-labels-idx1-ubyte.gz", 8), strict=True)
    )
    found = []
    for record in serialized_examples(str(mnist_source.prepared_dir), "test[0:10000]"):
        feature = tf.train.Example.FromString(record).features.feature
        image = tf.io.decode_png(feature["image"].bytes_list.value[0]).numpy()
        found.append((image.tobytes(), feature["label"].int64_list.value[0]))
    assert sorted(found) == expected


def test_a_second_call_prepares_nothing_anew(digits_source, tfds_dir):
    def files():
        return {path: path.stat().st_mtime_ns for path in tfds_dir.rglob("*.tfrecord*")}

    before = files()
    assert source.resolve(DataConfig(dataset="digits"), tfds_dir) == digits_source
    assert before and files() == before


def test_caps_take_the_start_of_each_split(digits_source, tfds_dir):
    capped = source.resolve(
        DataConfig(dataset="digits", train_examples=100, eval_examples=20, test_examples=9999),
        tfds_dir,
    )
    start = digits_source.split_counts["train"]
    assert capped.split_slices == {
        "train": "train[0:100]",
        "eval": f"train[{start}:{start + 20}]",
        "test": "test[0:257]",
    }
    assert capped.fingerprint != digits_source.fingerprint


def test_a_set_with_345_classes_and_no_test_split_is_cut_from_train_alone(tmp_path):
    found = source.resolve(DataConfig(dataset="sketches"), tmp_path)
    total = sketches.CLASSES * sketches.PER_CLASS
    assert found.num_classes == len(found.class_names) == 345
    assert found.class_names[344] == "thing 344"
    assert sum(found.split_counts.values()) == total
    assert found.split_slices == {
        "train": "train[0:1725]",
        "eval": "train[1725:2070]",
        "test": "train[2070:2415]",
    }
    (name,) = found.checksums  # TFDS knows no originals, so it is the prepared file's
    content = (found.prepared_dir / name).read_bytes()
    assert found.checksums[name] == hashlib.sha256(content).hexdigest()


def test_a_huge_train_split_is_capped_with_a_message(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(source, "MAX_TRAIN_VALUES", 1000 * 28 * 28)
    with caplog.at_level("WARNING", "mnist_gan.progress"):
        found = source.resolve(DataConfig(dataset="sketches"), tmp_path)
    assert found.split_counts["train"] == 1000
    assert "first 1,000 of 1,725" in caplog.text
    more = source.resolve(DataConfig(dataset="sketches", train_examples=1500), tmp_path)
    assert more.split_counts["train"] == 1500


def test_auto_takes_the_original_files_then_what_is_prepared(mnist_source, mnist_dir, tmp_path):
    with_files = source.resolve(DataConfig(data_dir=mnist_dir), pathlib.Path(mnist_source.tfds_dir))
    assert with_files == dataclasses.replace(mnist_source, requested="auto")


def test_auto_takes_prepared_mnist_without_files_and_network(mnist_source, no_network):
    found = source.resolve(DataConfig(), pathlib.Path(mnist_source.tfds_dir))
    assert (found.dataset, found.note) == ("mnist", "")
    assert found.fingerprint == mnist_source.fingerprint


def test_auto_falls_back_to_digits_and_says_why(tmp_path, no_network, caplog):
    with caplog.at_level("WARNING", "mnist_gan.progress"):
        found = source.resolve(DataConfig(), tmp_path)
    assert (found.requested, found.dataset) == ("auto", "digits")
    assert "MNIST is not at hand" in found.note
    assert found.note in caplog.text


def test_without_network_a_named_set_gives_one_message_at_once(tmp_path, no_network):
    with pytest.raises(DataError) as error:
        source.resolve(DataConfig(dataset="fashion_mnist"), tmp_path)
    assert "fashion_mnist is not in" in str(error.value)
    assert "does not answer" in str(error.value) and "--dataset digits" in str(error.value)
    assert not (tmp_path / "fashion_mnist").exists()


def test_a_folder_of_mnist_is_not_taken_for_that_of_fashion_mnist(mnist_dir, tmp_path, no_network):
    with pytest.raises(DataError, match="does not answer"):
        source.resolve(DataConfig(dataset="fashion_mnist", data_dir=mnist_dir), tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnst", "did you mean 'mnist'"),
        ("emnist/lettrs", "it has 'letters'"),
        ("mnist/letters", "it has none"),
        ("mnist:1.0.0", "in version 3.0.1, not 1.0.0"),
        ("somebody:mnist", "no data set called 'somebody'"),
        ("colours", r"8-bit images, grey or RGB, these are uint8 \(28, 28, 4\)"),
        ("stl10", r"are 96x96 colour; 28x28, .*--set image_size=64 scales"),
        ("wikipedia", "it has none"),
    ],
)
def test_a_name_that_can_not_be_used_says_why(name, message, tmp_path):
    with pytest.raises(DataError, match=message):
        source.resolve(DataConfig(dataset=name), tmp_path)
    assert not any(tmp_path.iterdir())


# --- the original files


@pytest.fixture
def copied_mnist(mnist_dir, tmp_path) -> pathlib.Path:
    folder = tmp_path / "originals"
    shutil.copytree(mnist_dir, folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def test_an_altered_file_is_named_with_both_checksums(copied_mnist, tmp_path):
    path = copied_mnist / MNIST_FILES[0]
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    content = bytearray(path.read_bytes())
    content[5_000_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        source.resolve(DataConfig(dataset="mnist", data_dir=copied_mnist), tmp_path / "tfds")
    message = str(error.value)
    assert str(path) in message and "altered" in message
    assert expected in message and hashlib.sha256(content).hexdigest() in message
    assert not (tmp_path / "tfds").exists()


def test_a_truncated_file_is_named_even_if_mnist_is_prepared(copied_mnist, mnist_source):
    path = copied_mnist / MNIST_FILES[3]
    os.truncate(path, 1000)
    with pytest.raises(DataError, match=f"{MNIST_FILES[3]} is not the original.*truncated"):
        source.resolve(
            DataConfig(dataset="auto", data_dir=copied_mnist), pathlib.Path(mnist_source.tfds_dir)
        )


def test_missing_files_are_named(tmp_path):
    for name in MNIST_FILES[:2]:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as error:
        source.resolve(DataConfig(dataset="mnist", data_dir=tmp_path), tmp_path / "tfds")
    assert all(name in str(error.value) for name in MNIST_FILES[2:])
    assert not any(name in str(error.value) for name in MNIST_FILES[:2])


def test_a_data_folder_that_does_not_exist_is_an_error_for_auto_too(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        source.resolve(DataConfig(data_dir=tmp_path / "nowhere"), tmp_path)


# --- preparing

KILLED_HALFWAY = """
import os, pathlib, signal, sys
from datasets import data_config as config
from datasets import png
from datasets import source
encode, done = png.encode_png, []
def encode_some(image):
    if len(done) == 700:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(image)
    return encode(image)
png.encode_png = encode_some
source.resolve(config.DataConfig(dataset="digits"), pathlib.Path(sys.argv[1]))
"""


def test_a_killed_preparation_leaves_nothing_in_the_way(tmp_path, digits_source):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_HALFWAY, str(tmp_path)], cwd=REPOSITORY, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    assert [path.name.partition(".")[0] for path in (tmp_path / "digits").iterdir()] == [
        "incomplete"
    ]
    found = source.resolve(DataConfig(dataset="digits"), tmp_path)
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]
    assert found.fingerprint == digits_source.fingerprint


def test_two_preparations_in_one_folder_wait_for_each_other(tmp_path):
    def prepare():
        source.resolve(DataConfig(dataset="digits"), tmp_path)

    with open(tmp_path / ".lock", "w") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(prepare)
        with pytest.raises(FutureTimeoutError):
            waiting.result(timeout=1)
        assert not (tmp_path / "digits").exists()
        fcntl.flock(held, fcntl.LOCK_UN)
        waiting.result(timeout=120)
    assert (tmp_path / "digits" / "1.0.0").is_dir()


def test_nothing_is_printed_on_stdout(tmp_path, capfd):
    source.resolve(DataConfig(dataset="digits"), tmp_path)
    assert capfd.readouterr().out == ""


def test_a_failure_inside_tfds_is_one_line(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(png, "encode_png", full)
    with pytest.raises(DataError) as error:
        source.resolve(DataConfig(dataset="digits"), tmp_path)
    assert "could not prepare digits" in str(error.value)
    assert "No space left on device" in str(error.value)
    assert not (tmp_path / "digits" / "1.0.0").exists()


def test_encoded_images_are_png_files_of_the_same_pixels():
    random = np.random.default_rng(0)
    for shape in ((28, 28, 1), (1, 1, 1), (3, 17, 1), (64, 32, 3)):
        image = random.integers(0, 256, shape, dtype=np.uint8)
        data = png.encode_png(image)
        np.testing.assert_array_equal(tf.io.decode_png(data).numpy(), image)
        assert png.is_png(data, shape[0], shape[1])
        assert not png.is_png(data[:-1], shape[0], shape[1])
        assert not png.is_png(data, shape[0] + 1, shape[1])
        assert not png.is_png(b"GIF" + data, shape[0], shape[1])


def test_digits_are_drawn_as_mnist_draws_its_own():
    from sklearn.datasets import load_digits

    drawn = np.stack([digits.as_mnist(image) for image in load_digits().images])[..., 0]
    rows, columns = drawn.any(axis=2).sum(axis=1), drawn.any(axis=1).sum(axis=1)
    assert rows.max() <= 20 and columns.max() <= 20
    weights = drawn / drawn.sum(axis=(1, 2), keepdims=True)
    centres = np.stack(
        [
            (weights.sum(axis=2) * np.arange(28)).sum(axis=1),
            (weights.sum(axis=1) * np.arange(28)).sum(axis=1),
        ]
    )
    assert np.abs(centres - 13.5).max() <= 0.5
    assert len(np.unique(drawn)) > 200  # antialiased, not 17 levels in blocks


# --- the node


@pytest.fixture(scope="module")
def generate(digits_source, tmp_path_factory):
    """Runs the node on the digits, with several files to the train split."""

    def run():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mnist_example_gen, "_EXAMPLES_PER_FILE", 300)
            return data_nodes.generate_examples(digits_source, tmp_path_factory.mktemp("node"))

    return run


@pytest.fixture(scope="module")
def generated(generate):
    """The examples of one run."""
    return generate()


def test_the_node_writes_every_example_once_with_its_facts(digits_source, generated):
    examples = generated
    ids = []
    for split, count in digits_source.split_counts.items():
        images, labels, found = read_split(examples, split)
        assert images.shape == (count, 28, 28, 1)
        assert set(labels) == set(range(10))
        ids += found
    assert len(set(ids)) == 1797
    assert json.loads(examples.split_names) == ["train", "eval", "test"]
    assert examples.get_string_custom_property("dataset") == "digits"
    assert examples.get_string_custom_property("dataset_version") == "1.0.0"
    assert examples.get_int_custom_property("num_classes") == 10
    assert examples.get_string_custom_property("fingerprint") == digits_source.fingerprint
    for name in ("class_names", "split_slices", "split_counts", "checksums"):
        value = getattr(digits_source, name)
        value = list(value) if isinstance(value, tuple) else value
        assert json.loads(examples.get_string_custom_property(name)) == value


def test_a_folder_of_colours_leaves_what_was_done_to_it_and_how_much_repeats(tmp_path, caplog):
    """Every image twice, the second a level brighter: about two in seven fall into other splits."""
    random = np.random.default_rng(0)
    for number in range(300):
        small = random.integers(0, 255, (5, 5, 3), np.uint8)
        for name, more in (("a", 0), ("b", 1)):
            picture = Image.fromarray(small + np.uint8(more)).resize((50, 40), Image.Resampling.BOX)
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / "set" / name / f"{number}.png")
    config = DataConfig(dataset=f"folder:{tmp_path / 'set'}", image_size=32)
    with caplog.at_level("WARNING", "mnist_gan.progress"):
        examples = data_nodes.generate_examples(
            source.resolve(config, tmp_path / "tfds"), tmp_path / "node"
        )
    assert json.loads(examples.get_string_custom_property("image_shape")) == [32, 32, 3]
    assert read_split(examples, "test")[0].shape[1:] == (32, 32, 3)
    told = examples.get_string_custom_property("near_duplicates")
    assert "nearly repeat a train image" in told and told in caplog.text
    assert 30 < int(told.split(" ")[0]) < 90  # 5/7 of the eval split's 86
    with Image.open(pathlib.Path(examples.uri, CONVERSIONS_FILE)) as shown:
        assert shown.mode == "RGB" and shown.width > 900


def test_two_runs_write_the_same_examples_in_the_same_places(generated, generate):
    def places(examples) -> dict[str, list[bytes]]:
        files = sorted(pathlib.Path(examples.uri, "Split-train").iterdir())
        records = [tf.data.TFRecordDataset(str(f), "GZIP").as_numpy_iterator() for f in files]
        ids = [
            [
                tf.train.Example.FromString(r).features.feature["id"].bytes_list.value[0]
                for r in part
            ]
            for part in records
        ]
        return dict(zip([file.name for file in files], ids, strict=True))

    assert places(generated) == places(generate())
    assert [len(ids) for ids in places(generated).values()] == [300, 300, 300, 300, 84]


def damage_flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def damage_truncate(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage_whole_records(path: pathlib.Path) -> None:
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records[:-10]:
            writer.write(record)


def damage_image(path: pathlib.Path) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        feature = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"no image"])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[3])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        for _ in range(1540):
            writer.write(example.SerializeToString())


@pytest.fixture
def copied_digits(digits_source, tmp_path) -> DataSource:
    """The prepared digits, free to be damaged."""
    shutil.copytree(digits_source.prepared_dir, tmp_path / "digits" / "1.0.0")
    return dataclasses.replace(digits_source, tfds_dir=str(tmp_path))


@pytest.mark.parametrize(
    "damage", [damage_flip, damage_truncate, damage_whole_records, damage_image, os.remove]
)
def test_a_damaged_prepared_file_is_named_with_the_cure(damage, copied_digits):
    path = copied_digits.prepared_dir / "digits-train.tfrecord-00000-of-00001"
    damage(path)
    with pytest.raises(DataError) as error:
        list(serialized_examples(str(copied_digits.prepared_dir), "train[0:1540]"))
    assert f"{path}: " in str(error.value)
    assert f"Delete the folder {copied_digits.prepared_dir}" in str(error.value)


def test_the_node_says_what_is_damaged_in_one_line_without_beam(copied_digits, tmp_path):
    path = copied_digits.prepared_dir / "digits-train.tfrecord-00000-of-00001"
    damage_truncate(path)
    with pytest.raises(DataError) as error:
        data_nodes.generate_examples(copied_digits, tmp_path)
    message = str(error.value)
    assert message.startswith(str(path)) and message.endswith("prepared again")
    assert "\n" not in message


def test_the_cache_key_holds_the_content_and_not_the_way_to_it(digits_source):
    def key(**changes) -> str:
        return mnist_example_gen.content_of(dataclasses.replace(digits_source, **changes))

    assert key(requested="auto") == key()
    assert key(data_dir="/somewhere/else") == key()
    assert key(note="a host does not answer") == key()
    assert key(checksums={"digits.csv.gz": "0" * 64}) != key()
    assert key(dataset_version="1.0.1") != key()
    assert key(split_slices={**digits_source.split_slices, "test": "test[0:100]"}) != key()


def test_a_source_survives_json(digits_source):
    assert DataSource.from_json(digits_source.to_json()) == digits_source
    moved = dataclasses.replace(digits_source, tfds_dir="/elsewhere", data_dir="/originals")
    assert moved.fingerprint == digits_source.fingerprint
