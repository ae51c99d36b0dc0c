"""The real images that fakes are measured against, and what they score against each other.

Computed once for each (data, extractor, number of images) and kept in a cache folder, because none
of it changes from one generator to the next.
"""

import dataclasses
import hashlib
import json
import logging
import os
import pathlib

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from metrics import checks, frechet

CACHE_VARIABLE = "MNIST_GAN_CACHE_DIR"
_FORMAT = 1  # of the cache files; raise it when their content changes

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What the Examples artifact says about itself."""

    dataset: str
    dataset_version: str
    fingerprint: str
    num_classes: int
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, examples: standard_artifacts.Examples) -> "Dataset":
        """Reads the custom properties of `examples`."""
        names = examples.get_string_custom_property("class_names") or "[]"
        return cls(
            dataset=examples.get_string_custom_property("dataset"),
            dataset_version=examples.get_string_custom_property("dataset_version"),
            fingerprint=examples.get_string_custom_property("fingerprint"),
            num_classes=examples.get_int_custom_property("num_classes"),
            class_names=tuple(json.loads(names)),
        )


@dataclasses.dataclass(frozen=True)
class RealSplit:
    """One split of the data, in the order of the examples' ids.

    Attributes:
      images: uint8 [N, 28, 28, 1].
      labels: int64 [N].
    """

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reference:
    """The reference split seen through the extractor, and the floor.

    Attributes:
      data: which data set.
      extractor_name, extractor_digest: which features.
      images: uint8 [M, 28, 28, 1], the test split.
      labels: int64 [M].
      features: float32 [M, D].
      predicted: int64 [M], the classes that the extractor sees.
      num_fakes: how many fakes this reference is for: what the config asks for, at most as many
        as the train split holds.
      floor: FID of `num_fakes` real train images, classes as in the fakes, against the test split.
      train_images, train_labels, train_features: the train split.
    """

    data: Dataset
    extractor_name: str
    extractor_digest: str
    images: np.ndarray
    labels: np.ndarray
    features: np.ndarray
    predicted: np.ndarray
    num_fakes: int
    floor: float
    train_images: np.ndarray
    train_labels: np.ndarray
    train_features: np.ndarray

    @property
    def accuracy(self) -> float:
        """The extractor's accuracy on the real reference images."""
        return float(np.mean(self.predicted == self.labels))

    def class_counts(self) -> np.ndarray:
        """int64 [num_classes], how often each class occurs in the reference."""
        return np.bincount(self.labels, minlength=self.data.num_classes)


def read_split(examples: standard_artifacts.Examples, split: str) -> RealSplit:
    """Reads one split of an Examples artifact.

    Raises:
      ValueError: the artifact has no such split or the split is empty.
    """
    if split not in artifact_utils.decode_split_names(examples.split_names):
        raise ValueError(f"the examples have no split {split!r}, only {examples.split_names}")
    folder = artifact_utils.get_split_uri([examples], split)
    files = sorted(os.path.join(folder, name) for name in fileio.listdir(folder) if ".gz" in name)
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
    }

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        example = tf.io.parse_single_example(serialized, features)
        example["image"] = tf.io.decode_png(example["image"], channels=1)
        return example

    records = tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=2)
    batches = list(
        records.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(1000).as_numpy_iterator()
    )
    if not batches:
        raise ValueError(f"the split {split!r} of the examples is empty")
    ids = np.concatenate([batch["id"] for batch in batches])
    order = np.argsort(ids, kind="stable")
    return RealSplit(
        np.concatenate([batch["image"] for batch in batches])[order],
        np.concatenate([batch["label"] for batch in batches])[order],
    )


def load(
    examples: standard_artifacts.Examples, extractor, num_fakes: int, cache_dir: str | None
) -> Reference:
    """The reference for `num_fakes` fakes, from the cache where it is there.

    Args:
      examples: artifact with the splits `train` and `test`.
      extractor: as `metrics.features.load_extractor` returns it.
      num_fakes: as the config asks; lowered to the size of the train split.
      cache_dir: folder for the cache, None for none.
    """
    data = Dataset.of(examples)
    path = None
    if cache_dir and data.fingerprint:
        key = f"{_FORMAT} {data.fingerprint} {extractor.digest} {num_fakes}"
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        path = pathlib.Path(cache_dir, f"reference-{name}.npz")
        if (arrays := _read_cache(path)) is not None:
            return Reference(
                data=data,
                extractor_name=extractor.name,
                extractor_digest=extractor.digest,
                num_fakes=int(arrays.pop("num_fakes")),
                floor=float(arrays.pop("floor")),
                **arrays,
            )
    test, train = read_split(examples, "test"), read_split(examples, "train")
    reference = build(data, extractor, test, train, num_fakes)
    if path is not None:
        _write_cache(path, reference)
    return reference


def build(data: Dataset, extractor, test: RealSplit, train: RealSplit, num_fakes: int) -> Reference:
    """Computes a Reference from images."""
    num_fakes = min(num_fakes, len(train.labels))
    features, probabilities = extractor.features_and_probabilities(test.images)
    train_features = extractor.features(train.images)
    counts = np.bincount(test.labels, minlength=data.num_classes)
    sample = stratified_sample(train.labels, apportion(counts, num_fakes), seed=0)
    floor = frechet.frechet_distance_from_features(train_features[sample], features)
    return Reference(
        data=data,
        extractor_name=extractor.name,
        extractor_digest=extractor.digest,
        images=test.images,
        labels=test.labels,
        features=features,
        predicted=probabilities.argmax(axis=1).astype(np.int64),
        num_fakes=num_fakes,
        floor=floor,
        train_images=train.images,
        train_labels=train.labels,
        train_features=train_features,
    )


def apportion(counts: np.ndarray, total: int) -> np.ndarray:
    """Spreads `total` over classes in proportion to `counts` (largest remainders).

    The same counts again when `total` is their sum.

    Returns:
      int64, as long as `counts`, summing to `total`.
    """
    exact = np.asarray(counts, np.float64) * total / np.sum(counts)
    whole = np.floor(exact).astype(np.int64)
    # Ties go to the lower class, whatever the platform's sort does.
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole


def stratified_sample(labels: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Indices of a random sample without replacement with `counts[c]` examples of class c.

    A class that has too few gives all; the rest is drawn from what other classes have left.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen, left = [], []
    for label, count in enumerate(counts):
        members = order[labels[order] == label]
        chosen.append(members[:count])
        left.append(members[count:])
    missing = int(np.sum(counts)) - sum(len(members) for members in chosen)
    if missing > 0:
        rest = np.random.default_rng(seed).permutation(np.concatenate(left))
        chosen.append(rest[:missing])
    return np.sort(np.concatenate(chosen))


_ARRAYS = (
    "images",
    "labels",
    "features",
    "predicted",
    "num_fakes",
    "floor",
    "train_images",
    "train_labels",
    "train_features",
)


def _read_cache(path: pathlib.Path) -> dict | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in _ARRAYS}
    except FileNotFoundError:
        return None
    except Exception as error:  # a cache that can't be read is made anew, whatever is wrong with it
        _log.warning("%s can't be read (%s); it is computed again", path, error)
        return None


def _write_cache(path: pathlib.Path, reference: Reference) -> None:
    try:
        with checks.atomic_path(path) as temporary:
            np.savez(temporary, **{name: getattr(reference, name) for name in _ARRAYS})
    except OSError as error:
        _log.warning("the judge's reference could not be kept in %s: %s", path, error)
