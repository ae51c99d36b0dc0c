"""A folder of image files as a data set, or one message that says what is wrong with it."""

import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from datasets import examples, image_folder, source
from datasets.data_config import DataConfig
from datasets.tfds_store import DataError

NAMES = ("zero", "one", "two")


def write(images, labels, root: pathlib.Path, names=NAMES, ending: str = "png") -> pathlib.Path:
    """A file each in the folder of its class; all in one where `names` is empty."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if label < max(len(names), 1):
            folder = root / names[label] if names else root
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(folder / f"{number}.{ending}")
    return root


@pytest.fixture(scope="session")
def many(digits, tmp_path_factory) -> pathlib.Path:
    """Real digits 0 to 2 in folders of these names, without splits; not to be changed."""
    return write(*digits, tmp_path_factory.mktemp("many") / "My Digits!")


@pytest.fixture
def folder(many, tmp_path) -> pathlib.Path:
    """A copy of `many`."""
    return shutil.copytree(many, tmp_path / "My Digits!")


def resolve(folder: pathlib.Path, tfds_dir: pathlib.Path, **settings) -> source.DataSource:
    return source.resolve(DataConfig(dataset=f"folder:{folder}", **settings), tfds_dir / "tfds")


def pixels(data: source.DataSource, split: str) -> dict[bytes, str]:
    """{pixels: class} of a split as it was prepared."""
    found = examples.read_prepared(data, split)
    return {
        image.tobytes(): data.class_names[label]
        for image, label in zip(found.images, found.labels, strict=True)
    }


def test_classes_are_folders_and_every_image_is_in_one_split(many, digits, tmp_path):
    data = resolve(many, tmp_path)
    assert data.dataset == "folder/my_digits" and data.class_names == ("one", "two", "zero")
    splits = [pixels(data, split) for split in ("train", "eval", "test")]
    images, labels = digits
    expected = {
        image.tobytes(): NAMES[label]
        for image, label in zip(images, labels, strict=True)
        if label < 3
    }
    assert {**splits[0], **splits[1], **splits[2]} == expected
    assert sum(map(len, splits)) == len(expected) == sum(data.split_counts.values())
    shares = [len(split) / len(expected) for split in splits]
    np.testing.assert_allclose(shares, [5 / 7, 1 / 7, 1 / 7], atol=0.05)
    assert set(data.checksums) == set(NAMES) and data.checksums_of == "original files"


def test_an_image_stays_in_its_split_when_images_are_added(folder, many, digits, tmp_path):
    before = resolve(many, tmp_path)
    (folder / "three").mkdir()
    for number in np.flatnonzero(digits[1] == 3):
        Image.fromarray(digits[0][number, ..., 0]).save(folder / "three" / f"{number}.png")
    after = resolve(folder, tmp_path)
    assert after.fingerprint != before.fingerprint
    for split in ("train", "eval", "test"):
        assert pixels(before, split).keys() <= pixels(after, split).keys()


def test_a_second_call_reads_nothing_anew_and_an_edit_is_seen(folder, tmp_path, monkeypatch):
    first = resolve(folder, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("datasets.image_files.read_image", None)  # would fail if it were called
        assert resolve(folder, tmp_path) == first
    path = next((folder / "two").iterdir())
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert resolve(folder, tmp_path).fingerprint != first.fingerprint


def test_splits_that_are_given_are_kept(digits, tmp_path):
    images, labels = digits
    write(images[:900], labels[:900], tmp_path / "set" / "train", names=tuple("0123456789"))
    write(images[900:1500], labels[900:1500], tmp_path / "set" / "test", tuple("0123456789"))
    data = resolve(tmp_path / "set", tmp_path)
    assert data.class_names == tuple("0123456789")
    assert pixels(data, "test").keys() == {image.tobytes() for image in images[900:1500]}
    assert data.split_counts["train"] + data.split_counts["eval"] == 900
    assert 100 < data.split_counts["eval"] < 200  # a sixth, by content


def test_numbers_are_classes_in_the_order_of_their_values(digits, tmp_path):
    write(*digits, tmp_path / "set", names=("10", "9", "100"))
    assert resolve(tmp_path / "set", tmp_path).class_names == ("9", "10", "100")


def test_without_folders_of_classes_there_is_one_class(digits, tmp_path):
    images, _ = digits
    write(images[:500], np.zeros(500, int), tmp_path / "shapes", names=())
    data = resolve(tmp_path / "shapes", tmp_path)
    assert data.class_names == ("shapes",) and data.num_classes == 1


def test_an_image_that_is_there_twice_lands_in_one_split_and_is_told(folder, tmp_path, caplog):
    for path in list((folder / "two").iterdir())[:20]:
        Image.open(path).convert("RGB").save(folder / "one" / f"copy{path.stem}.bmp")
    with caplog.at_level("WARNING", "mnist_gan.progress"):
        data = resolve(folder, tmp_path)
        resolve(folder, tmp_path)  # what is prepared already tells it again
    told = [r.getMessage() for r in caplog.records if r.name == "mnist_gan.progress"]
    assert len(told) == 2 and told[0] == told[1]
    assert "20 images" in told[0] and "0 of them in another split" in told[0]
    assert "20 in another class" in told[0]
    splits = [pixels(data, split).keys() for split in ("train", "eval", "test")]
    assert not (splits[0] & splits[1] or splits[0] & splits[2] or splits[1] & splits[2])


def test_images_in_two_given_splits_are_counted(digits, tmp_path, caplog):
    images, labels = digits
    write(images[:600], labels[:600], tmp_path / "set" / "train")
    write(images[500:1500], labels[500:1500], tmp_path / "set" / "test")
    both = int((labels[500:600] < 3).sum())
    with caplog.at_level("WARNING", "mnist_gan.progress"):
        resolve(tmp_path / "set", tmp_path)
    assert (
        f"{both} images repeat" in caplog.text and f"{both} of them in another split" in caplog.text
    )


def test_what_can_not_be_used_is_named_and_stops_unless_it_may_be_left_out(
    folder, tmp_path, caplog
):
    (folder / "one" / "broken.png").write_bytes(b"no image")
    os.mkfifo(folder / "one" / "pipe.png")
    (folder / "two" / "gone.png").symlink_to(folder / "nowhere.png")
    Image.new("L", (30, 28)).save(folder / "two" / "wide.png")
    with open(os.fsencode(folder / "two") + b"/\xff.png", "wb") as file:
        file.write(b"no image either")
    with pytest.raises(
        DataError, match=r"5 of [\d,]+ images .*--set skip_unreadable=true"
    ) as error:
        resolve(folder, tmp_path)
    for name in ("one/broken.png", "one/pipe.png", "two/gone.png", "two/wide.png", r"two/\xff.png"):
        assert name in str(error.value)
    assert "image_size=28" in str(error.value)
    with caplog.at_level("WARNING", "mnist_gan.progress"):
        data = resolve(folder, tmp_path, skip_unreadable=True)
        assert "5 of" in data.note and str(tmp_path) not in data.note
    assert "5 of" in caplog.text and "left out" in caplog.text
    assert not any(name.startswith("incomplete") for name in os.listdir(data.prepared_dir.parent))


def test_a_conversion_is_another_version_of_the_data(folder, tmp_path):
    for path in folder.rglob("*.png"):
        image = Image.open(path)
        image.resize((32, 40)).save(path)
    with pytest.raises(DataError, match=r"32x40 pixels.*image_size=32"):
        resolve(folder, tmp_path)
    scaled = resolve(folder, tmp_path, image_size=28)
    again = resolve(folder, tmp_path, image_size=64, channels=3)
    assert scaled.image_shape == (28, 28, 1) and again.image_shape == (64, 64, 3)
    assert scaled.fingerprint != again.fingerprint
    shown = [image_folder.conversions_file(data.prepared_dir) for data in (scaled, again)]
    assert all(path.is_file() for path in shown) and shown[0] != shown[1]


def test_images_keep_their_own_size_and_colours(digits, tmp_path):
    """One grey image among colours is taken as one of them, and that is told."""
    folder = write(digits[0][:600], np.zeros(600, int), tmp_path / "set", names=())
    for path in list(folder.iterdir())[1:]:
        grey = Image.open(path).resize((32, 32))
        Image.merge("RGB", [grey, Image.new("L", (32, 32), 99), grey]).save(path)
    grey.save(path)
    next(folder.iterdir()).unlink()
    data = resolve(folder, tmp_path)
    assert data.image_shape == (32, 32, 3) and "598 of 599 images are in colour" in data.note
    split = examples.read_prepared(data, "train")
    assert split.images.shape[1:] == (32, 32, 3)
    assert not image_folder.conversions_file(data.prepared_dir).exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one/", "no images in one of"),
        ("stray.png", "beside them, stray.png"),
        ("train/x/1.png test/x/1.png", "train and test, and beside them one, two, zero"),
        ("\udcff/1.png", r"\\xff'? can't name a class"),
        ("a\nb/1.png", "can't name a class"),
    ],
)
def test_a_folder_that_can_be_understood_in_two_ways_is_refused(folder, name, message, tmp_path):
    if name == "one/":
        for path in (folder / "one").iterdir():
            path.unlink()
        name = ".hidden/1.png"
    some = next((folder / "two").iterdir())
    for path in name.split(" "):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(some, folder / path)
    with pytest.raises(DataError, match=message) as error:
        resolve(folder, tmp_path)
    str(error.value).encode()
    assert not (tmp_path / "tfds").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("train/a/1.png", "both train and test are needed.*train draws splits from it"),
        ("train/a/1.png test/b/1.png", "no train images of b"),
        ("train/a/1.png test/1.png", "some splits have folders of classes"),
        ("notes.txt", "holds no images"),
        ("data/train/a/1.png data/test/a/1.png", "deeper than in a folder of a class"),
        ("a/1.png a/more/2.png", "a/more/2.png of .* lie deeper"),
        ("a/1.png", "holds too few images"),
        ("a/1.png b/2.HEIC", "no images in b .*.png, .*, only b/2.HEIC: remove"),
        ("K\u00e4se/1.png Ka\u0308se/2.png", "look alike"),
    ],
)
def test_a_folder_without_what_is_needed_is_refused(files, message, many, tmp_path):
    some = next((many / "two").iterdir())
    for path in files.split(" "):
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(some, tmp_path / "set" / path)
    with pytest.raises(DataError, match=message):
        resolve(tmp_path / "set", tmp_path)


def test_a_name_that_is_no_folder_is_refused(tmp_path, many):
    with pytest.raises(DataError, match="does not exist"):
        resolve(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="names no folder"):
        source.resolve(DataConfig(dataset="folder: "), tmp_path)
    with pytest.raises(DataError, match=f"say --dataset folder:{many}"):
        source.resolve(DataConfig(dataset=str(many)), tmp_path)
    with pytest.raises(DataError, match="leave --data-dir"):
        resolve(many, tmp_path, data_dir=tmp_path)
    with pytest.raises(DataError, match="'background' is for folders"):
        source.resolve(DataConfig(dataset="digits", background=0), tmp_path)
