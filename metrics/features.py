"""From images to the features on which generators are judged.

One extractor is easily fooled, so there are several, in `metrics/weights/` with their digest and
card, so that numbers compare across users and runs as Inception's do. They differ in architecture,
training and what they see (`EXTRACTORS`). Other data has extractors of its own
(`metrics/own_extractors.py`). `load_extractor(path)` plugs in another in the first one's place:
Inception-v3 from a file that the user names, or a classifier of
`metrics/train_extractors.py`. Features of different extractors are on
different scales; whoever reports a number reports `name` and `digest` with it.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from common.files import file_digest, folder_digest
from common.images import IMAGE_SHAPE, check_images, to_floats
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
INCEPTION_CHUNK = 16
INCEPTION_SIZE = 299
INCEPTION_DIM = 2048
Pool = Callable[[tf.Tensor], tf.Tensor]


class ExtractorError(ValueError):
    """An extractor's weights are missing, altered or unusable; the message says which and how."""


class Extractor(Protocol):
    """What the judge needs of a feature extractor.

    Attributes:
      name: which network and which layer; part of every result.
      digest: sha256 of the weights, hexadecimal.
      dim: length of a feature vector.
      num_classes: columns of the probabilities; 0 where the network knows no classes of digits.
      dataset: name of the data set whose classes the probabilities are about; "" for none.
    """

    name: str
    digest: str
    dim: int
    num_classes: int
    dataset: str

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, *image_shape] -> float32 [N, dim]."""

    def features_and_probabilities(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 images -> float32 [N, dim] and float32 [N, num_classes], rows sum to 1."""


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
        features, probabilities = _in_chunks(self._run, images, CHUNK, 2)
        # No image at all: the widths are known all the same.
        return features.reshape(-1, self.dim), probabilities.reshape(-1, self.num_classes)

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, *image_shape] -> float32 [N, dim]."""
        images = check_images("images", images, self.image_shape)
        found = _in_chunks(self._run, images, CHUNK, 2 if self.num_classes else 1)
        return found[0].reshape(-1, self.dim)

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


class InceptionExtractor:
    """Inception-v3's last pooling layer (`pool_3`), from weights that the user has.

    Grey images become three equal channels, are enlarged to 299x299 inside the graph and scaled
    as the variant was trained. Its thousand classes are not digits, so it gives no probabilities.
    """

    num_classes = 0
    dataset = ""

    def __init__(self, variant: str, digest: str, pool: Callable[[tf.Tensor], tf.Tensor]):
        """
        Args:
          variant: becomes `name` if the features have Inception's width.
          digest: sha256 of the weights.
          pool: float32 [N, H, W, 3] in 0..255 -> [N, dim] or [N, 1, 1, dim].

        Raises:
          ExtractorError: `pool` gives another shape.
        """
        self.digest = digest

        def run(images: tf.Tensor) -> tuple[tf.Tensor]:
            pixels = tf.cast(images, tf.float32)
            if images.shape[-1] == 1:
                pixels = tf.image.grayscale_to_rgb(pixels)
            return (pool(pixels),)

        self._run = tf.function(run, autograph=False)
        probe = self._run(tf.zeros([INCEPTION_CHUNK, *IMAGE_SHAPE], tf.uint8))[0]
        if probe.shape[0] != INCEPTION_CHUNK or int(np.prod(probe.shape[1:-1])) != 1:
            raise ExtractorError(
                f"the pooling layer gives shape {list(probe.shape)} for {INCEPTION_CHUNK} "
                "images; it takes one vector per image"
            )
        self.dim = int(probe.shape[-1])
        self.name = variant if self.dim == INCEPTION_DIM else f"not_{variant}_dim_{self.dim}"

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 1 or 3] -> float32 [N, dim].

        Raises:
          ValueError: another dtype or shape.
        """
        images = np.asarray(images)
        shape = images.shape[1:] if images.ndim == 4 and images.shape[3] in (1, 3) else None
        images = check_images("images", images, shape or IMAGE_SHAPE)
        return _in_chunks(self._run, images, INCEPTION_CHUNK, 1)[0].reshape(-1, self.dim)

    def features_and_probabilities(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Refuses: ask the pinned classifier for probabilities of classes."""
        raise ValueError(f"{self.name} knows no classes of digits; use load_extractor() for those")


def _in_chunks(
    run: Callable, images: np.ndarray, chunk: int, outputs: int
) -> tuple[np.ndarray, ...]:
    """Calls `run` on `chunk` images at a time, the last ones padded, and joins its outputs."""
    parts: list[list[np.ndarray]] = [[] for _ in range(outputs)]
    for start in range(0, len(images), chunk):
        batch = images[start : start + chunk]
        count = len(batch)
        if count < chunk:
            batch = np.concatenate([batch, np.zeros((chunk - count, *batch.shape[1:]), np.uint8)])
        for part, value in zip(parts, run(tf.constant(batch)), strict=True):
            part.append(value.numpy()[:count])
    return tuple(np.concatenate(part) if part else np.empty((0,), np.float32) for part in parts)


def load_extractor(
    spec: str | os.PathLike | None = None,
    *,
    digest_required: bool = False,
) -> Extractor:
    """Loads the pinned classifier, or the network that `spec` names.

    Args:
      spec: one of
        - None: the pinned classifier of MNIST digits, its digest checked;
        - `X.npz`: weights made by `metrics/train_extractors.py`; where `X.npz.sha256` lies beside
          it, the digest is checked;
        - `X.pb`: a frozen graph of Inception-v3, made for the one of 2015 that published FIDs
          use (`classify_image_graph_def.pb`, or TF-GAN's cut of it);
        - `X.keras`, `X.h5`: a whole Keras model 299x299x3 in [-1, 1] -> pooled features, or the
          weights of `keras.applications.InceptionV3`, with or without its top;
        - a SavedModel folder: 299x299x3 in [-1, 1] -> pooled features, in an output called
          `pool_3` or in its only one.
      digest_required: whether an `X.npz` without an `X.npz.sha256` is refused.

    Raises:
      ExtractorError: the file is missing, altered, or is none of these.
    """
    if spec is None:
        return _load_network(PINNED, digest_required=True)
    path = pathlib.Path(spec)
    if not path.exists():
        raise ExtractorError(f"there is no extractor at {path}")
    if path.suffix == ".npz":
        return _load_network(path, digest_required=digest_required)
    try:
        if path.suffix == ".pb":
            variant, pool = _frozen_graph(path)
        elif path.suffix in (".keras", ".h5"):
            variant, pool = _keras_file(path)
        elif (path / "saved_model.pb").is_file():
            variant, pool = _saved_model(path)
        else:
            raise ExtractorError(
                f"{path} is no extractor: it takes a classifier (.npz), a frozen graph (.pb), "
                "a Keras file (.keras, .h5) or a SavedModel folder"
            )
        return InceptionExtractor(
            variant, (file_digest(path) if path.is_file() else folder_digest(path)), pool
        )
    except ExtractorError as error:
        raise ExtractorError(f"{path}: {error}") from None
    except Exception as error:
        raise ExtractorError(f"{path} can't be used as an extractor: {error}") from error


def _load_network(path: pathlib.Path, *, digest_required: bool) -> NetworkExtractor:
    noted = path.with_name(path.name + ".sha256")
    try:
        content = path.read_bytes()
        expected = noted.read_text().split()[0] if digest_required or noted.exists() else None
    except (OSError, IndexError) as error:
        raise ExtractorError(f"the extractor {path} or its digest can't be read: {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if expected not in (None, found):
        raise ExtractorError(
            f"the extractor {path} was altered: {noted.name} says sha256 {expected}, "
            f"the file has {found}; restore both from the repository"
        )
    try:
        return NetworkExtractor(Weights.from_bytes(content), found)
    except ExtractorError as error:
        raise ExtractorError(f"{path}: {error}") from None


def _enlarged_2015(pixels: tf.Tensor) -> tf.Tensor:
    """0..255 -> [-1, 1) at 299x299 as the graph of 2015 does it: its bilinear resize puts pixel
    centres at whole numbers, which today's `tf.image.resize` does not."""
    size = [INCEPTION_SIZE, INCEPTION_SIZE]
    return (tf.compat.v1.image.resize_bilinear(pixels, size) - 128.0) / 128.0


def _enlarged(pixels: tf.Tensor) -> tf.Tensor:
    """0..255 -> [-1, 1] at 299x299."""
    return to_floats(tf.image.resize(pixels, [INCEPTION_SIZE, INCEPTION_SIZE]))


def _frozen_graph(path: pathlib.Path) -> tuple[str, Pool]:
    input_tensor, output_tensor = "Mul:0", "pool_3:0"
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    names = {node.name for node in graph.node}
    for tensor in (input_tensor, output_tensor):
        if tensor.split(":")[0] not in names:
            raise ExtractorError(f"the frozen graph has no tensor {tensor}")

    def pool(pixels: tf.Tensor) -> tf.Tensor:
        return tf.graph_util.import_graph_def(
            graph,
            input_map={input_tensor: _enlarged_2015(pixels)},
            return_elements=[output_tensor],
            name="",
        )[0]

    return "inception_v3_2015_pool3", pool


def _keras_file(path: pathlib.Path) -> tuple[str, Pool]:
    import h5py
    import keras  # here, because only this plug needs it and it costs a second

    if path.suffix == ".keras":
        model = keras.models.load_model(path, compile=False)
    else:
        with h5py.File(path, "r") as file:
            whole = "model_config" in file.attrs
            layers = [str(name) for name in file.attrs.get("layer_names", [])]
        if whole:
            model = keras.models.load_model(path, compile=False)
        else:
            top = any("predictions" in name for name in layers)
            model = keras.applications.InceptionV3(
                include_top=top, weights=None, pooling=None if top else "avg"
            )
            model.load_weights(path)
    if "avg_pool" in {layer.name for layer in model.layers}:
        model = keras.Model(model.inputs, model.get_layer("avg_pool").output)

    def pool(pixels: tf.Tensor) -> tf.Tensor:
        return model(_enlarged(pixels), training=False)

    return "inception_v3_keras_avg_pool", pool


def _saved_model(path: pathlib.Path) -> tuple[str, Pool]:
    model = tf.saved_model.load(str(path))
    function = model.signatures.get("serving_default")
    if function is None:
        raise ExtractorError("the SavedModel has no signature serving_default")
    arguments = function.structured_input_signature[1]
    outputs = list(function.structured_outputs)
    if len(arguments) != 1 or ("pool_3" not in outputs and len(outputs) != 1):
        raise ExtractorError(
            "the SavedModel must take one input and give an output pool_3 or just one; "
            f"it has inputs {sorted(arguments)} and outputs {sorted(outputs)}"
        )
    argument = next(iter(arguments))
    output = "pool_3" if "pool_3" in outputs else outputs[0]

    def pool(pixels: tf.Tensor) -> tf.Tensor:
        return function(**{argument: _enlarged(pixels)})[output]

    # The model must outlive its function, whose variables it holds.
    pool.model = model  # type: ignore[attr-defined]
    return "inception_v3_savedmodel_pool3", pool
