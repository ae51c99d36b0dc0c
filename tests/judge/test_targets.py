"""What `mnist-gan evaluate` is given: the right pixels, or one message."""

import os
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from judge import local_generator, targets

NAMES = tuple("0123456789")


@pytest.fixture
def digit(digits) -> np.ndarray:
    """One real digit, uint8 [28, 28]."""
    return digits[0][0, ..., 0]


@pytest.fixture
def folder(tmp_path, digits):
    """200 real digits in folders by class."""
    root = tmp_path / "digits"
    for i, (image, label) in enumerate(zip(digits[0][:200], digits[1][:200], strict=True)):
        place = root / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(place / f"{i}.png")
    return root


def test_a_linked_class_folder_counts_and_a_loop_ends(folder, tmp_path, digits):
    os.rename(folder / "3", tmp_path / "elsewhere")
    (folder / "3").symlink_to(tmp_path / "elsewhere")
    (folder / "4" / "loop").symlink_to(folder)
    target = targets.open_target(folder, NAMES)
    expected = np.bincount(digits[1][:200], minlength=10)
    np.testing.assert_array_equal(np.bincount(target.labels, minlength=10), expected)


def test_a_class_folder_that_cannot_be_read_is_an_error(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("/7"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(targets.EvaluateError, match="/7 can't be read: Permission denied"):
        targets.open_target(folder, NAMES)


def test_a_stray_image_is_left_out_by_name_and_the_labels_stay(folder, digit):
    Image.fromarray(digit).save(folder / "stray.png")
    target = targets.open_target(folder, NAMES)
    assert len(target.images) == len(target.labels) == 200 and target.conditional
    assert set(target.unreadable) == {"stray.png"}
    assert any("names of the folders" in sentence for sentence in target.assumed)


def test_names_that_are_not_utf8_are_told_all_the_same(folder, digit):
    broken = os.fsencode(folder) + b"/3/\xff\xfe.png"
    with open(broken, "wb") as file:
        file.write(b"no image")
    (name,) = targets.open_target(folder, NAMES).unreadable
    assert name == "3/\\xff\\xfe.png"
    name.encode()


def test_files_that_are_no_images_by_their_names_are_named_and_hidden_ones_are_not(folder):
    (folder / "3" / "digit.jp2").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"")
    (sentence,) = (s for s in targets.open_target(folder, NAMES).assumed if "left out" in s)
    assert sentence.endswith("left out: 3/digit.jp2")


def test_folders_that_are_called_after_no_class_are_said_to_give_none(folder):
    for name in NAMES:
        (folder / name).rename(folder / f"digit_{name}")
    target = targets.open_target(folder, NAMES)
    assert not target.conditional and any("no classes" in s for s in target.assumed)


def test_black_ink_on_white_is_taken_as_it_is_and_said(tmp_path, digits):
    np.savez(tmp_path / "a.npz", images=255 - digits[0][:150])
    target = targets.open_target(tmp_path / "a.npz", NAMES)
    assert any("white is ink" in sentence for sentence in target.assumed)


def test_an_npz_of_several_arrays_is_asked_which_and_says_what_it_leaves_out(tmp_path, digits):
    images = digits[0][:150]
    np.savez(tmp_path / "a.npz", x_train=images, x_test=images)
    with pytest.raises(targets.EvaluateError, match=r"x_train, x_test; it takes one"):
        targets.open_target(tmp_path / "a.npz", NAMES)
    np.savez(tmp_path / "a.npz", latents=np.zeros((150, 3)), fakes=images)
    target = targets.open_target(tmp_path / "a.npz", NAMES)
    np.testing.assert_array_equal(target.images, images)
    assert target.assumed == ["arrays that are left out: latents"]


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({}, "holds no array"),
        ({"images": np.zeros((0, 28, 28), np.uint8)}, "0 usable images"),
        ({"images": np.zeros((150, 784), np.uint8)}, r"shape \[150, 784\]"),
        ({"images": np.zeros((150, 28, 28), bool)}, "holds bool"),
        ({"images": np.zeros((150, 28, 28), np.uint8), "labels": np.zeros(150)}, "integers"),
        ({"images": np.zeros((150, 28, 28), np.uint8), "labels": np.full(150, 10)}, r"0\.\.9"),
        ({"images": np.zeros((150, 28, 28), np.uint8), "y": np.zeros(149, int)}, r"takes \[150\]"),
        ({"images": np.array([None] * 150)}, r"shape \[150\]"),
    ],
)
def test_an_npz_that_is_no_set_of_images_gives_one_message(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(targets.EvaluateError, match=message):
        targets.open_target(tmp_path / "a.npz", NAMES)


def test_floats_in_an_npz_take_a_range(tmp_path, digits):
    floats = digits[0][:150].astype(np.float32) / 127.5 - 1.0
    np.savez(tmp_path / "a.npz", images=floats)
    target = targets.open_target(tmp_path / "a.npz", NAMES, (-1.0, 1.0))
    np.testing.assert_array_equal(target.images, digits[0][:150])
    with pytest.raises(targets.EvaluateError, match="outside the range 0 to 255"):
        targets.open_target(tmp_path / "a.npz", NAMES, (0.0, 255.0))
    floats[0] = np.nan
    np.savez(tmp_path / "a.npz", images=floats)
    with pytest.raises(targets.EvaluateError, match="not finite"):
        targets.open_target(tmp_path / "a.npz", NAMES, (-1.0, 1.0))


def test_an_npz_is_refused_by_its_header(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)}
        )
    monkeypatch.setattr(np, "load", None)  # would fail if it were decoded
    with pytest.raises(targets.EvaluateError, match=r"1,000,000,000 images; at most"):
        targets.open_target(tmp_path / "a.npz", NAMES)


class Foreign(tf.Module):
    """Pixels of a range, flat, from latents; takes `training` as Keras models do."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], tf.float32, name="z"),
            tf.TensorSpec([], tf.bool, name="training"),
        ]
    )
    def __call__(self, z, training):
        pixels = tf.sigmoid(4.0 * tf.tile(z, [1, 784 // 3 + 1])[:, :784])
        spoilt = tf.cast(training, tf.float32) * float("nan")
        return {"out": self.low + pixels * (self.high - self.low) + tf.where(training, spoilt, 0.0)}


def foreign(tmp_path, low: float, high: float, value_range=None) -> targets.Target:
    module = Foreign(low, high)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    return targets.open_target(tmp_path / "model", NAMES, value_range)


def test_a_foreign_generator_says_its_range_or_is_asked(tmp_path):
    seeds, classes = np.arange(50), np.zeros(50, np.int64)
    target = foreign(tmp_path, -1.0, 1.0)
    images = target.draw(seeds, classes)
    assert images.min() < -0.9 and images.max() > 0.9
    assert "training is False" in target.assumed and "values run from -1 to 1" in target.assumed
    with pytest.raises(local_generator.GeneratorError, match="--value-range"):
        foreign(tmp_path, 0.0, 1.0).draw(seeds, classes)
    same = foreign(tmp_path, 0.0, 255.0, (0.0, 255.0)).draw(seeds, classes)
    np.testing.assert_allclose(same, images, atol=1e-4)
    with pytest.raises(local_generator.GeneratorError, match="outside the range 0 to 1"):
        foreign(tmp_path, 0.0, 255.0, (0.0, 1.0)).draw(seeds, classes)
