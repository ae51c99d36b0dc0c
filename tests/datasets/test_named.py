"""TFDS sets by name: the real builders' names, shapes and labels, over a few images of noise."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from datasets import examples, source, tfds_store
from datasets.data_config import DataConfig
from datasets.tfds_store import DataError


@pytest.fixture
def small(monkeypatch):
    """Lets TFDS's own builder of a set make a few images of noise, whatever its files are."""

    def make(name: str, splits: dict[str, int], size: int = 0) -> None:
        def generate(self, split):
            features = dict(self.info.features)
            height, width, channels = features["image"].shape
            random = np.random.default_rng(len(split))
            for number in range(splits[split]):
                shape = (height or size, width or size + 9, channels)
                example = {"image": random.integers(0, 256, shape, np.uint8), "id": str(number)}
                example["label"] = number % getattr(features.get("label"), "num_classes", 1)
                yield number, {key: example.get(key, "x") for key in features}

        builder = tfds.builder_cls(name.partition("/")[0])
        monkeypatch.setattr(builder, "_generate_examples", generate)
        monkeypatch.setattr(
            builder,
            "_split_generators",
            lambda self, dl_manager: {split: self._generate_examples(split) for split in splits},
        )
        monkeypatch.setattr(tfds_store, "unreachable_host", lambda builder: None)

    return make


HALVES = {"train": 320, "test": 80}


@pytest.mark.parametrize(
    ("name", "splits", "shape", "classes"),
    [
        ("fashion_mnist", HALVES, (28, 28, 1), 10),
        ("kmnist", HALVES, (28, 28, 1), 10),
        ("emnist/letters", HALVES, (28, 28, 1), 37),
        ("cifar10", HALVES, (32, 32, 3), 10),
        ("svhn_cropped", {**HALVES, "extra": 10}, (32, 32, 3), 10),
        ("quickdraw_bitmap", {"train": 700}, (28, 28, 1), 345),
        ("imagenet_resized/64x64", {"train": 420, "validation": 80}, (64, 64, 3), 1000),
        ("binarized_mnist", {"train": 320, "validation": 80, "test": 80}, (28, 28, 1), 1),
    ],
)
def test_every_set_of_a_known_shape_is_read_with_or_without_labels(
    small, name, splits, shape, classes, tmp_path
):
    small(name, splits)
    data = source.resolve(DataConfig(dataset=name), tmp_path)
    assert data.image_shape == shape and data.num_classes == classes == len(data.class_names)
    for split, count in data.split_counts.items():
        found = examples.read_prepared(data, split)
        assert found.images.shape == (count, *shape) and found.labels.max() < classes
    assert source.DataSource.from_json(data.to_json()) == data


@pytest.mark.parametrize(("name", "size"), [("stl10", 0), ("cats_vs_dogs", 70)])
def test_other_sizes_are_scaled_on_purpose_only(small, name, size, tmp_path):
    """Those of `cats_vs_dogs` are JPEG files of many sizes."""
    small(name, {"train": 700} if size else HALVES, size)
    with pytest.raises(DataError, match=r"--set image_size=64 scales and crops"):
        source.resolve(DataConfig(dataset=name), tmp_path)
    data = source.resolve(DataConfig(dataset=name, image_size=32, channels=1), tmp_path)
    found = examples.read_prepared(data, "test")
    assert found.images.shape[1:] == data.image_shape == (32, 32, 1)
