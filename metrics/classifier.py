"""Trains the small classifier of images that `metrics/features.py` runs.

It serves as a feature extractor (`metrics/train_extractors.py` makes the weights) and as the
classifier of the classification accuracy score (`metrics/cas.py`). Training is Keras;
what comes out is a handful of arrays with batch normalisation folded in, so that the numbers do
not hang on a Keras version.
"""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from common.images import IMAGE_SHAPE, ImageShape, check_images, shape_of
from metrics import checks
from metrics.features import Weights


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A convolutional classifier.

    Attributes:
      convolutions: filters, stride and padding of the 3x3 convolutions, each followed by batch
        normalisation and a ReLU.
      features: width of the dense layer before the logits; 0: the mean of the last convolution
        over all places takes its place (global average pooling).
    """

    convolutions: tuple[tuple[int, int, str], ...]
    features: int


# Of 28x28x1 images: 28 -> 14 -> 14 -> 7 -> 5x5: 297,000 parameters, 6 million multiply-adds.
FLAT = Architecture(
    ((24, 1, "same"), (40, 2, "same"), (48, 1, "same"), (64, 2, "same"), (64, 1, "valid")), 128
)
# Of 28x28x1 images: 28 -> 14 -> 14 -> 7 -> 7x7 -> mean: 88,000 parameters, 6 million multiply-adds.
POOLED = Architecture(
    ((16, 1, "same"), (32, 2, "same"), (32, 1, "same"), (64, 2, "same"), (96, 1, "same")), 0
)


def build_model(
    architecture: Architecture,
    num_classes: int,
    *,
    seed: int,
    dropout: float,
    image_shape: ImageShape = IMAGE_SHAPE,
) -> keras.Model:
    """The network to train: float32 [N, *image_shape] in [0, 1] -> logits [N, num_classes]."""
    # One seed per layer: layers that share one would start with correlated weights.
    seeds = iter(np.random.SeedSequence(seed).generate_state(16).tolist())

    def normalised(value: tf.Tensor, layer: type, *arguments: int, **options: object) -> tf.Tensor:
        options["kernel_initializer"] = keras.initializers.HeNormal(seed=next(seeds))
        value = layer(*arguments, use_bias=False, **options)(value)
        value = keras.layers.BatchNormalization(momentum=0.98)(value)
        return keras.layers.ReLU()(value)

    inputs = value = keras.Input(image_shape)
    for filters, stride, padding in architecture.convolutions:
        value = normalised(value, keras.layers.Conv2D, filters, 3, strides=stride, padding=padding)
    if architecture.features:
        value = keras.layers.Flatten()(value)
        value = keras.layers.Dropout(dropout, seed=next(seeds))(value)
        value = normalised(value, keras.layers.Dense, architecture.features)
    else:
        value = keras.layers.GlobalAveragePooling2D()(value)
    value = keras.layers.Dropout(dropout, seed=next(seeds))(value)
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.Model(
        inputs, keras.layers.Dense(num_classes, kernel_initializer=initializer)(value)
    )


def fold(model: keras.Model, facts: dict) -> Weights:
    """Takes the arrays out of a `build_model`, batch normalisation folded into the layer before.

    Normalising a layer without bias, gamma (W x - mean) / deviation + beta, is the layer with
    kernel W gamma / deviation and bias beta - mean gamma / deviation.
    """
    layers: list[dict] = []
    kernels: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in layer.get_weights())
            scale = gamma / np.sqrt(variance + layer.epsilon)
            kernels[-1] = kernels[-1] * scale
            biases[-1] = beta - mean * scale
            continue
        if isinstance(layer, keras.layers.Conv2D):
            stride, padding = int(layer.strides[0]), layer.padding.upper()
            layers.append({"kind": "convolution", "stride": stride, "padding": padding})
        elif isinstance(layer, keras.layers.Dense):
            layers.append({"kind": "dense"})
        else:
            if isinstance(layer, keras.layers.GlobalAveragePooling2D):
                layers[-1]["pool"] = True
            continue
        kernel, *bias = (np.asarray(w, np.float64) for w in layer.get_weights())
        kernels.append(kernel)
        biases.append(bias[0] if bias else np.zeros(kernel.shape[-1]))
    return Weights(
        layers=tuple(layers),
        kernels=tuple(kernel.astype(np.float32) for kernel in kernels),
        biases=tuple(bias.astype(np.float32) for bias in biases),
        facts=facts,
    )


def augmented(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Moves, turns, scales and shears every image a little, all at once and bilinearly.

    Args:
      images: float32 [N, H, W, C], background 0.
      seed: integers [2]; the same seed changes the same image in the same way.
    """
    u = tf.random.stateless_uniform([6, tf.shape(images)[0]], seed, -1.0, 1.0)
    angle, scale_x, scale_y, shear = (
        u[0] * math.radians(10.0),
        1.0 + u[1] * 0.08,
        1.0 + u[2] * 0.08,
        u[3] * 0.1,
    )
    # The matrix takes output pixels to input pixels; the middle of the image stays, up to 2
    # pixels of shift.
    a, b = tf.cos(angle) * scale_x, (tf.sin(angle) + shear) * scale_x
    c, d = -tf.sin(angle) * scale_y, tf.cos(angle) * scale_y
    middle = (images.shape[1] - 1) / 2
    shift_x = middle - (a + b) * middle + u[4] * 2.0
    shift_y = middle - (c + d) * middle + u[5] * 2.0
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=1),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def train(
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    epochs: int,
    seed: int,
    architecture: Architecture = FLAT,
    batch_size: int = 250,
    learning_rate: float = 4e-3,
    dropout: float = 0.25,
    augment: bool = True,
    verbose: bool = False,
    facts: dict | None = None,
) -> Weights:
    """Trains the classifier with AdamW and a learning rate that falls to zero along a cosine.

    The same arguments give the same weights on one machine.

    Args:
      images: uint8 [N, H, W, C].
      labels: integers [N] in 0..num_classes-1; a class may be absent.
      num_classes: how many logits.
      epochs: passes over the images.
      seed: of initial weights, order, augmentation and dropout.
      architecture: of the network.
      batch_size: images per step; what is left of an epoch waits for the next one's shuffle.
      learning_rate: the highest, reached after a twentieth of the steps.
      dropout: share of units dropped before and after the feature layer.
      augment: whether images are moved, turned, scaled and sheared a little.
      verbose: whether Keras prints a line for each epoch.
      facts: goes into `Weights.facts`.

    Raises:
      ValueError: wrong shapes, dtypes or labels, or fewer images than one batch.
    """
    images = check_images("images", images)
    labels = checks.labels("labels", labels, count=len(images), num_classes=num_classes)
    if len(images) < batch_size:
        raise ValueError(f"{len(images)} images are fewer than one batch of {batch_size}")

    def prepare(index: tf.Tensor, batch: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(batch[0], tf.float32) / 255.0
        if augment:
            pixels = augmented(pixels, tf.stack([tf.cast(seed, tf.int64), index]))
        return pixels, batch[1]

    model = fit(
        lambda: build_model(
            architecture,
            num_classes,
            seed=seed,
            dropout=dropout,
            image_shape=shape_of(images),
        ),
        (images, labels),
        prepare,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        learning_rate=learning_rate,
        verbose=verbose,
    )
    return fold(model, {**(facts or {}), "image_shape": images.shape[1:]})


def fit(
    build: Callable[[], keras.Model],
    arrays: tuple[np.ndarray, ...],
    prepare: Callable,
    loss: keras.losses.Loss,
    *,
    epochs: int,
    seed: int,
    batch_size: int,
    learning_rate: float,
    verbose: bool = False,
) -> keras.Model:
    """Trains what `build` returns on batches of `arrays`.

    Args:
      build: makes the model, after all seeds are set.
      arrays: of equal length; shuffled together.
      prepare: (step, arrays of a batch) -> (inputs, targets).
      loss: of targets and outputs.
      epochs, seed, batch_size, learning_rate, verbose: as in `train`.
    """
    # Keras draws some seeds (of the shuffle between epochs) from the process's own state.
    keras.utils.set_random_seed(seed)
    count = len(arrays[0])
    steps_per_epoch = count // batch_size
    steps = steps_per_epoch * epochs
    warm_up = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 25,
        max(1, steps - warm_up),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )
    model = build()
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-3), loss=loss, jit_compile=False
    )
    data = (
        tf.data.Dataset.from_tensor_slices(arrays)
        .shuffle(count, seed=seed, reshuffle_each_iteration=True)
        .batch(batch_size, drop_remainder=True)
        .repeat(epochs)
        .enumerate()
        .map(lambda index, batch: prepare(index, batch), num_parallel_calls=1)
        .prefetch(8)
    )

    lines = 2 if verbose else 0
    model.fit(data, epochs=epochs, steps_per_epoch=steps_per_epoch, verbose=lines)
    return model
