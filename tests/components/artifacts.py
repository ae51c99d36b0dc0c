"""Artifacts in temporary folders, as the nodes upstream would leave them."""

import io
import json
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn import datasets
from tfx.types import artifact_utils, standard_artifacts


def real_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits at 28x28: uint8 [N, 28, 28, 1] and int64 [N]."""
    bunch = datasets.load_digits()
    images = [
        np.asarray(Image.fromarray((i * 255 / 16).astype(np.uint8)).resize((20, 20), Image.BICUBIC))
        for i in bunch.images
    ]
    return np.pad(np.stack(images), ((0, 0), (4, 4), (4, 4)))[..., None], bunch.target.astype(int)


def examples(
    folder: pathlib.Path,
    splits: dict[str, tuple[np.ndarray, np.ndarray]],
    fingerprint: str = "digits-fingerprint",
) -> standard_artifacts.Examples:
    """An Examples artifact with the given images and labels, as MnistExampleGen writes it."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    names = [str(i) for i in range(10)]
    artifact.set_string_custom_property("dataset", "digits")
    artifact.set_string_custom_property("dataset_version", "1.0.0")
    artifact.set_string_custom_property("fingerprint", fingerprint)
    artifact.set_int_custom_property("num_classes", len(names))
    artifact.set_string_custom_property("class_names", json.dumps(names))
    for split, (images, labels) in splits.items():
        path = folder / f"Split-{split}"
        path.mkdir(parents=True)
        with tf.io.TFRecordWriter(
            str(path / "data_tfrecord-00000-of-00001.gz"), options="GZIP"
        ) as writer:
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                writer.write(_example(image, label, f"{split}-{i:05}").SerializeToString())
    return artifact


def _example(image: np.ndarray, label: int, name: str) -> tf.train.Example:
    png = io.BytesIO()
    Image.fromarray(image[..., 0]).save(png, "PNG")
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png.getvalue()])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
                "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name.encode()])),
            }
        )
    )
