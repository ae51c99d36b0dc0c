"""From images to the features on which generators are judged.

One extractor is easily fooled, so there are several, in `metrics/weights/` with their digest and
card, so that numbers compare across users and runs as Inception's do. They differ in architecture,
training and what they see (`EXTRACTORS`). Other data has extractors of its own
(`metrics/own_extractors.py`). Features of different extractors are on different scales; whoever
reports a number reports `name` and `digest` with it.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from common.images import IMAGE_SHAPE, check_images
from metrics import checks

WEIGHTS = pathlib.Path(__file__).parent / "weights"
PINNED = WEIGHTS / "mnist_classifier.npz"
# Name of an extractor to the file of its weights. The first is the one that also reads digits.
EXTRACTORS: dict[str, pathlib.Path] = {
    "classifier": PINNED,
    "pooled": WEIGHTS / "mnist_pooled.npz",
    "autoencoder": WEIGHTS / "mnist_autoencoder.npz",
    "random": WEIGHTS / "random.npz",
}

# Every call of a network sees this many images, the last ones padded: the features of an image
# then do not depend on how the caller batches.
CHUNK = 256


class ExtractorError(ValueError):
    """An extractor's weights are missing, altered or unusable; the message says which and how."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """A trained network as arrays, batch normalisation folded in, one file on disk.

    Attributes:
      layers: one dictionary per layer, in order: `kind` ("convolution" or "dense"); for
        convolutions `stride` and `padding`, and `pool` if the mean over all places follows;
        `relu` if the layer ends in one though it is the last.
      kernels: one float32 array per layer, as `tf.nn.conv2d` and `tf.matmul` take them.
      biases: one float32 vector per layer.
      facts: what the weights are (`name`, `dataset`, `class_names`, seed, versions); JSON types.
        With `class_names` the last layer gives logits and the one before it the features, else
        the last layer gives the features. All layers but the last end in a ReLU.
    """

    layers: tuple[dict, ...]
    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    facts: dict

    def to_bytes(self) -> bytes:
        """The `.npz` file: arrays as float16, `layers` and `facts` as JSON text."""
        arrays: dict[str, Any] = {
            "layers": np.array(json.dumps(self.layers)),
            "facts": np.array(json.dumps(self.facts, sort_keys=True)),
        }
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            arrays[f"kernel_{index}"] = kernel.astype(np.float16)
            arrays[f"bias_{index}"] = bias.astype(np.float16)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Weights":
        """The inverse of `to_bytes`.

        Raises:
          ExtractorError: `content` is not such a file.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                layers = tuple(json.loads(str(file["layers"])))
                count = range(len(layers))
                return cls(
                    layers=layers,
                    kernels=tuple(file[f"kernel_{i}"].astype(np.float32) for i in count),
                    biases=tuple(file[f"bias_{i}"].astype(np.float32) for i in count),
                    facts=json.loads(str(file["facts"])),
                )
        except Exception as error:  # NumPy and zipfile raise a dozen kinds for a broken file
            raise ExtractorError(f"not a file of an extractor's weights ({error})") from None


class NetworkExtractor:
    """A small network: features of images, and class probabilities if it reads classes.

    Attributes:
      name: which network and which layer; part of every result.
      digest: sha256 of the weights, hexadecimal.
      dim: length of a feature vector.
      num_classes: columns of the probabilities; 0 where the network reads no classes.
      dataset: name of the data set whose classes the probabilities are about; "" for none.
      image_shape: height, width and channels of the images that it takes.

    The network is traced once for a fixed number of images; a call of any size goes through it
    in chunks.
    """

    def __init__(self, weights: Weights, digest: str = ""):
        self.weights = weights
        self.name = weights.facts.get("name", "classifier")
        self.dataset = weights.facts.get("dataset", "")
        self.digest = digest
        self.num_classes = (
            weights.kernels[-1].shape[-1] if weights.facts.get("class_names", True) else 0
        )
        self.dim = weights.kernels[-2 if self.num_classes else -1].shape[-1]
        self.image_shape = tuple(weights.facts.get("image_shape", IMAGE_SHAPE))
        self._run = tf.function(
            self._forward,
            input_signature=[tf.TensorSpec([CHUNK, *self.image_shape], tf.uint8)],
            autograph=False,
        )

    def _forward(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        weights = self.weights
        value = tf.cast(images, tf.float32) / 255.0
        outputs = [value]
        for layer, kernel, bias in zip(
            weights.layers, weights.kernels, weights.biases, strict=True
        ):
            if layer["kind"] == "convolution":
                value = tf.nn.conv2d(value, kernel, layer["stride"], layer["padding"])
            else:
                value = tf.matmul(tf.reshape(value, [CHUNK, kernel.shape[0]]), kernel)
            value = tf.nn.bias_add(value, bias)
            if len(outputs) < len(weights.layers) or layer.get("relu"):
                value = tf.nn.relu(value)
            if layer.get("pool"):
                value = tf.reduce_mean(value, axis=[1, 2])
            outputs.append(value)
        if self.num_classes:
            return outputs[-2], tf.nn.softmax(outputs[-1])
        return (outputs[-1],)

    def features_and_probabilities(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features and class probabilities of images.

        Args:
          images: uint8 [N, *image_shape].

        Returns:
          float32 [N, dim] and float32 [N, num_classes] whose rows sum to 1.

        Raises:
          ValueError: another dtype or shape, or a network without classes.
        """
        images = check_images("images", images, self.image_shape)
        if not self.num_classes:
            raise ValueError(f"{self.name} knows no classes")
        features, probabilities = self._in_chunks(images)
        # No image at all: the widths are known all the same.
        return features.reshape(-1, self.dim), probabilities.reshape(-1, self.num_classes)

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, *image_shape] -> float32 [N, dim]."""
        images = check_images("images", images, self.image_shape)
        return self._in_chunks(images)[0].reshape(-1, self.dim)

    def _in_chunks(self, images: np.ndarray) -> list[np.ndarray]:
        """What `_forward` gives for CHUNK images at a time, the last ones padded."""
        parts: list[list[np.ndarray]] = [[] for _ in range(2 if self.num_classes else 1)]
        for start in range(0, len(images), CHUNK):
            batch = images[start : start + CHUNK]
            missing = CHUNK - len(batch)
            padded = np.concatenate([batch, np.zeros((missing, *self.image_shape), np.uint8)])
            for part, value in zip(parts, self._run(tf.constant(padded)), strict=True):
                part.append(value.numpy()[: len(batch)])
        return [np.concatenate(part) if part else np.empty(0, np.float32) for part in parts]

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of `images` (uint8 [N, *image_shape]) whose likeliest class is the one in `labels`.

        Raises:
          ValueError: wrong dtypes, shapes or labels, or no image.
        """
        images = check_images("images", images, self.image_shape)
        if not len(images):
            raise ValueError("images must hold at least one image")
        labels = checks.labels("labels", labels, count=len(images), num_classes=self.num_classes)
        return float(np.mean(self.features_and_probabilities(images)[1].argmax(axis=1) == labels))


def load_extractor(path: str | os.PathLike | None = None) -> NetworkExtractor:
    """Loads an extractor and checks its digest.

    Args:
      path: the `.npz` of its weights, beside which `PATH.sha256` lies; None: the pinned classifier
        of MNIST digits.

    Raises:
      ExtractorError: a file is missing or altered, or is none of an extractor.
    """
    path = pathlib.Path(path or PINNED)
    noted = path.with_name(path.name + ".sha256")
    try:
        content, expected = path.read_bytes(), noted.read_text().split()[0]
    except (OSError, IndexError) as error:
        raise ExtractorError(f"the extractor {path} or its digest can't be read: {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ExtractorError(
            f"the extractor {path} was altered: {noted.name} says sha256 {expected}, "
            f"the file has {found}; restore both from the repository"
        )
    try:
        return NetworkExtractor(Weights.from_bytes(content), found)
    except ExtractorError as error:
        raise ExtractorError(f"{path}: {error}") from None
