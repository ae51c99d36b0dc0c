"""The one reader of images and labels: from prepared TFDS records, and from TFX Examples.

An example has three features: `image` (bytes of a PNG file), `label` (int64) and `id` (bytes,
TFDS's own: name of the record file and number in it). Needs TensorFlow, neither TFX nor Beam.
"""

import dataclasses
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from common import mapped
from common.images import BETWEEN, IMAGE_SHAPE, ImageShape, tile
from datasets import image_files, png, tfds_store
from datasets.source import DataSource

UNREADABLE = "unreadable record: "  # how the message of a damaged file begins
FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "id": tf.io.FixedLenFeature([], tf.string),
}
_BATCH = 1_000
_LOOKED_AT = 5_000


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of the data, in the order of the examples' ids.

    Attributes:
      images: uint8 [N, H, W, C], read-only where they do not fit in memory (`common/mapped.py`).
      labels: int64 [N].
    """

    images: np.ndarray
    labels: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self.images, self.labels


@dataclasses.dataclass(frozen=True)
class Records:
    """A batch of records as they are stored: `images` are PNG files, object [n] of bytes."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def read_records(
    prepared_dir: str | os.PathLike, split_slice: str, shape: ImageShape | None = None
) -> Iterator[Records]:
    """Reads records of a prepared TFDS set, in TFDS's order.

    Args:
      prepared_dir: folder that TFDS wrote.
      split_slice: TFDS slice, such as "train[50000:60000]".
      shape: of `DataSource.image_shape`: what images of another shape are made to have. None
        takes them as they are.

    Yields:
      `Records`, at most 1,000 per batch. Images that need no conversion are not decoded; that
      each is a PNG file of the right size is checked. Labels are 0 where the set has none.

    Raises:
      DataError: a file is missing or damaged.
    """
    try:
        builder = tfds.builder_from_directory(os.fspath(prepared_dir))
        instructions = builder.info.splits[split_slice].file_instructions
        image_name, label_name = tfds_store.feature_names(builder)
        own = tfds_store.image_shape(builder)
        is_jpeg = builder.info.features[image_name].encoding_format == "jpeg"
        wanted = shape or own
    except Exception as error:  # TFDS raises nearly anything here
        raise _unreadable(prepared_dir, prepared_dir, error) from error
    features = {image_name: FEATURES["image"]}
    features |= {label_name: FEATURES["label"]} if label_name else {}
    for part in instructions:
        name, position = os.path.basename(part.filename), part.skip
        try:
            dataset = tf.data.TFRecordDataset(part.filename).skip(part.skip).take(part.take)
            for batch in dataset.batch(_BATCH):
                parsed = tf.io.parse_example(batch, features)
                images = parsed[image_name].numpy()
                if wanted != own or is_jpeg:
                    images = _converted(images, position, wanted)
                _check_png(images, position, wanted)
                labels = parsed[label_name].numpy() if label_name else np.zeros(len(images), int)
                ids = [f"{name}__{i}".encode() for i in range(position, position + len(images))]
                yield Records(images, labels, np.array(ids, object))
                position += len(images)
            if position != part.skip + part.take:
                raise ValueError(f"it ends after {position} records")
        except Exception as error:
            raise _unreadable(part.filename, prepared_dir, error) from error


def read_prepared(data: DataSource, split: str) -> Split:
    """Decodes one split ("train", "eval", "test") of a prepared data set.

    Raises:
      DataError: a file is missing or damaged.
    """
    return ordered(
        (
            (_decode(records.images, data.image_shape), records.labels, records.ids)
            for records in read_records(
                data.prepared_dir, data.split_slices[split], data.image_shape
            )
        ),
        data.prepared_dir,
    )


def read_examples(files: Sequence[str], shape: ImageShape = IMAGE_SHAPE) -> Split:
    """Decodes gzipped TFRecords of tf.train.Examples, images of `shape`.

    Raises:
      ValueError: there is no example in `files`, or one lacks a feature.
    """

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for batch in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_BATCH):
            try:
                parsed = tf.io.parse_example(batch, FEATURES)
            except tf.errors.InvalidArgumentError as error:
                reason = error.message.splitlines()[0]
                raise ValueError(f"an example can't be read: {reason}") from None
            images, labels, ids = (parsed[name].numpy() for name in ("image", "label", "id"))
            yield _decode(images, shape), labels, ids

    return ordered(batches(), ", ".join(map(str, files)) or "no file")


def ordered(
    batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], source: str | os.PathLike
) -> Split:
    """Joined, in the order of ids: Beam writes examples in an order that differs between runs.

    Args:
      batches: images [n, H, W, C], integers [n], object [n] of bytes.
      source: where they come from, for the message.

    Returns:
      A Split whose images have the dtype that they came with; past `mapped.IN_MEMORY` bytes they
      lie in a temporary file.

    Raises:
      ValueError: there are none.
      OSError: the disk is full.
    """
    labels, ids = [], []

    def images() -> Iterator[np.ndarray]:
        for some, their_labels, their_ids in batches:
            labels.append(their_labels)
            ids.append(their_ids.astype(bytes))
            yield some

    first = next(parts := images(), None)
    if first is None:
        raise ValueError(f"there is no example in {source}")
    unordered = mapped.joined(itertools.chain([first], parts))
    order = np.argsort(np.concatenate(ids), kind="stable")
    blocks = (order[start : start + _BATCH] for start in range(0, len(order), _BATCH))
    return Split(
        mapped.joined(unordered[rows] for rows in blocks),
        np.concatenate(labels)[order].astype(np.int64),
    )


def _decode(images: np.ndarray, shape: ImageShape) -> np.ndarray:
    """uint8 [n, *shape] from PNG files; grey ones give three equal channels where that is asked."""
    dataset = tf.data.Dataset.from_tensor_slices(images.astype(object))
    decoded = dataset.map(
        lambda image: tf.ensure_shape(tf.io.decode_png(image, channels=shape[2]), shape),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return next(decoded.batch(len(images)).as_numpy_iterator())


def _converted(images: np.ndarray, position: int, shape: tuple[Any, ...]) -> np.ndarray:
    """PNG files of `shape` from image files of others: object [n] of bytes."""
    conversion = image_files.Conversion(image_size=shape[0], channels=shape[2])
    found = np.empty(len(images), object)
    for number, image in enumerate(images):
        try:
            pixels, _ = image_files.read_image(io.BytesIO(image), conversion, shape=shape)
        except image_files.ImageError as error:
            raise ValueError(f"the image of record {position + number}: {error}") from None
        found[number] = png.encode_png(pixels)
    return found


def _check_png(images: np.ndarray, position: int, shape: tuple[Any, ...]) -> None:
    height, width, _ = shape
    for number, image in enumerate(images, position):
        if not png.is_png(image, height, width):
            raise ValueError(
                f"the image of record {number} is not a PNG file of {height}x{width} pixels"
            )


def _unreadable(path: str | os.PathLike, prepared_dir, error: Exception) -> tfds_store.DataError:
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return tfds_store.DataError(
        f"{UNREADABLE}{path}: {lines[0] if lines else type(error).__name__}. Delete the folder "
        f"{prepared_dir} and run again: it is then prepared again"
    )


def first_of_each_class(data: DataSource, split: str, *, per_class: int, most: int) -> np.ndarray:
    """A grid of the first images of each class, one class per row, from the first 5,000 examples.

    Args:
      data: the data set, prepared.
      split: "train", "eval" or "test".
      per_class: images in a row; places that stay empty are grey.
      most: the most classes that are shown.

    Returns:
      uint8 [height, width], of colour images [height, width, 3].

    Raises:
      DataError: a file is missing or damaged.
    """
    shape = data.image_shape
    classes = min(data.num_classes, most)
    rows: list[list[bytes]] = [[] for _ in range(classes)]
    seen = 0
    for records in read_records(data.prepared_dir, data.split_slices[split], shape):
        for image, label in zip(records.images, records.labels, strict=True):
            if label < classes and len(rows[label]) < per_class:
                rows[label].append(image)
        seen += len(records.images)
        if seen >= _LOOKED_AT or all(len(row) == per_class for row in rows):
            break
    grid = np.full([classes * per_class, *shape], BETWEEN, np.uint8)
    for label, row in enumerate(rows):
        if row:
            start = label * per_class
            grid[start : start + len(row)] = _decode(np.array(row, object), shape)
    return tile(grid, per_class)
