"""A folder of spans: the newest is learnt from and compared with the one before, or a message."""

import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from datasets import source
from datasets.data_config import DataConfig
from datasets.source import DataSource
from datasets.tfds_store import DataError

NAMES = ("a", "b")


def write(folder: pathlib.Path, seed: int, count: int = 400, names=NAMES) -> pathlib.Path:
    """Grey noise in folders by class."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        path = folder / names[number % len(names)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (28, 28), np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> pathlib.Path:
    """Spans 1 and 3; not to be changed."""
    root = tmp_path_factory.mktemp("spans") / "shapes"
    write(root / "span-1", 1)
    write(root / "span-03", 3)
    return root


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("tfds")


def resolve(root: pathlib.Path, tfds_dir: pathlib.Path, **settings) -> DataSource:
    return source.resolve(DataConfig(dataset=f"folder:{root}", **settings), tfds_dir)


def test_the_newest_span_is_learnt_from_and_compared_with_the_one_before(two, tfds_dir):
    data = resolve(two, tfds_dir)
    assert data.dataset == "folder/shapes" and data.spans == (3,)
    assert set(data.checksums) == {"span-03/a", "span-03/b"}
    assert sum(data.split_counts.values()) == 400
    newest, before = data.compared
    assert newest.fingerprint == data.fingerprint and before.spans == (1,)
    assert "the span before span 3 is span 1" in data.note
    assert DataSource.from_json(data.to_json()) == data


def test_a_span_is_chosen_and_spans_are_learnt_together(two, tfds_dir):
    first = resolve(two, tfds_dir, span=1)
    assert first.spans == (1,) and not first.compared
    both = resolve(two, tfds_dir, spans=0)
    assert both.spans == (1, 3) and sum(both.split_counts.values()) == 800
    assert [one.spans for one in both.compared] == [(3,), (1,)]
    assert both.compared[1].fingerprint == first.fingerprint
    assert "3 spans were asked for, and 2 are there" in resolve(two, tfds_dir, spans=3).note


def test_spans_older_than_the_two_newest_decide_nothing(two, tfds_dir, tmp_path):
    root = shutil.copytree(two, tmp_path / "shapes")
    shutil.copytree(root / "span-1", root / "span-0")
    found, alone = resolve(root, tfds_dir), resolve(two, tfds_dir)
    assert [d.fingerprint for d in (found, *found.compared)] == [
        d.fingerprint for d in (alone, *alone.compared)
    ]


def test_a_span_before_that_can_not_be_used_is_told_and_stops_nothing(two, tfds_dir, tmp_path):
    root = shutil.copytree(two, tmp_path / "shapes")
    next((root / "span-1" / "a").iterdir()).write_bytes(b"no image")
    data = resolve(root, tfds_dir)
    assert not data.compared and data.spans == (3,)
    assert "span 3 was not compared with the one before: 1 of 400 images" in data.note


@pytest.mark.parametrize(
    ("folders", "settings", "message"),
    [
        (["span-4"], {}, "there are no images in .*span-4: put them there, or learn from another"),
        (["span-4"], {"spans": 2}, "there are no images in .*span-4"),
        (["span-4/a"], {}, "there are no images in .*span-4"),
        (["span-new"], {}, "holds spans and, beside them, span-new: a span is a folder called"),
        (["a"], {}, "holds spans and, beside them, a:"),
        (["span_1"], {}, "holds a span twice: span-03, span-1, span_1"),
        ([], {"span": 2}, "holds no span 2, only 1, 3"),
    ],
)
def test_what_is_no_order_of_spans_is_refused(two, tfds_dir, tmp_path, folders, settings, message):
    root = shutil.copytree(two, tmp_path / "shapes")
    for name in folders:
        (root / name).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        resolve(root, tfds_dir, **settings)


@pytest.mark.parametrize("settings", [{"span": 1}, {"spans": 0}])
def test_a_folder_without_spans_has_none_to_choose(two, tfds_dir, settings):
    with pytest.raises(DataError, match="holds no spans"):
        resolve(two / "span-1", tfds_dir, **settings)
    with pytest.raises(DataError, match="is for folders of images"):
        source.resolve(DataConfig(dataset="digits", **settings), tfds_dir)
