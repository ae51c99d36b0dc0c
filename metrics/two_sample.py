"""A two-sample test by a classifier: can a small network tell fake images from real ones?

Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests", section 3. It needs no feature
extractor, so a generator can't have been tuned to it, and its result is a number that anybody can
read: 50 % is perfect.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from common.images import ImageShape, check_images, shape_of
from metrics import checks

EPOCHS = 10
FEWEST_STEPS = 250  # few images are seen more often, else the network has no time to learn
BATCH = 128
RATE = 3e-3
SURE = 0.995
INK = 128
# Of 28x28: -> 14 -> 7. Size, stride, filters of the convolutions; then a dense layer.
CONVOLUTIONS = ((4, 2, 16), (4, 2, 32))
DENSE = 64


@dataclasses.dataclass(frozen=True)
class TwoSample:
    """`two_sample`'s result, all of the held-out halves.

    Attributes:
      accuracy: share of images told right, fake and real counting alike; 0.5 is chance.
      accuracy_low, accuracy_high: its interval.
      auc: how often a fake looks more fake than a real image; 0.5 is chance.
      auc_low, auc_high: its interval.
      sure: share of fakes that look more fake than 99.5 % of the real images; 0.005 is chance.
        A fault that only a few fakes have shows here first.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    auc: float
    auc_low: float
    auc_high: float
    sure: float


def binarised(images: np.ndarray) -> np.ndarray:
    """uint8 images as black and white: 255 from grey level 128 on, else 0. Shape without shade."""
    return np.where(check_images("images", images) >= INK, 255, 0).astype(np.uint8)


def two_sample(
    fake: np.ndarray,
    real: np.ndarray,
    *,
    level: float = 0.95,
) -> TwoSample:
    """Trains a classifier on a random half of each side and asks it about the other half.

    The same arguments give the same result, to the last bit, on one machine with as many threads;
    another number of threads rounds otherwise, and training makes that another classifier.
    The intervals are about which images are held out, for the classifier as it was trained.

    Args:
      fake: uint8 [N, H, W, C].
      real: uint8 [M, H, W, C]; the larger side is cut to the size of the smaller. Give both with
        the same shares of classes.
      level: of the intervals.

    Raises:
      ValueError: wrong dtypes or shapes, or fewer than 100 images on a side.
    """
    fake, real = check_images("fake", fake), check_images("real", real)
    count = min(len(fake), len(real))
    if count < 100:
        raise ValueError(f"there must be at least 100 images on each side, got {count}")
    random = np.random.default_rng(0)
    learn, ask = [], []
    for images in (real, fake):
        chosen = random.permutation(len(images))[:count]
        learn.append(images[chosen[: count // 2]])
        ask.append(images[chosen[count // 2 :]])
    images = np.concatenate(learn)
    seen = BATCH * max(FEWEST_STEPS, EPOCHS * len(images) // BATCH)
    passes = [random.permutation(len(images)) for _ in range(-(-seen // len(images)))]
    train, score = _network(shape_of(images))
    weights = train(
        images,
        np.repeat(np.array([0, 1], np.float32), [len(part) for part in learn]),
        np.concatenate(passes)[:seen].reshape(-1, BATCH),
        _initial_weights(random, shape_of(images)),
    )
    scores = [
        np.concatenate([score(part[i : i + 1000], weights) for i in range(0, len(part), 1000)])
        for part in ask
    ]
    return from_scores(scores[1], scores[0], level=level)


def _initial_weights(
    random: np.random.Generator, image_shape: ImageShape
) -> tuple[np.ndarray, ...]:
    """Kernel and bias of every layer, float32; the kernels as He et al. 2015 draw them."""
    shapes: list[tuple[int, ...]] = []
    side, _, channels = image_shape
    for size, stride, filters in CONVOLUTIONS:
        shapes.append((size, size, channels, filters))
        side, channels = -(-side // stride), filters
    shapes += [(side * side * channels, DENSE), (DENSE, 1)]
    found: list[np.ndarray] = []
    for shape in shapes:
        deviation = math.sqrt(2 / math.prod(shape[:-1]))
        found.append(random.normal(0, deviation, shape).astype(np.float32))
        found.append(np.zeros(shape[-1], np.float32))
    return tuple(found)


@functools.cache
def _network(image_shape: ImageShape) -> tuple[Callable, Callable]:
    """The two functions of the network: its training and its scores.

    One trace serves all calls, which Keras' `fit` would trace again each time. All state is passed
    in and out, and nothing is drawn in the graph, so that the same arguments give the same result.
    """
    import tensorflow as tf

    def logits(images: tf.Tensor, weights: tuple) -> tf.Tensor:
        value = tf.cast(images, tf.float32) / 255.0
        for layer, (_, stride, _) in enumerate(CONVOLUTIONS):
            kernel, bias = weights[2 * layer : 2 * layer + 2]
            value = tf.nn.relu(tf.nn.conv2d(value, kernel, stride, "SAME") + bias)
        kernel, bias, last, last_bias = weights[-4:]
        value = tf.nn.relu(tf.reshape(value, [-1, kernel.shape[0]]) @ kernel + bias)
        return (value @ last + last_bias)[:, 0]

    def train(images: tf.Tensor, targets: tf.Tensor, order: tf.Tensor, weights: tuple) -> tuple:
        """AdamW, the rate rising over a twentieth of the steps and falling along a cosine."""
        steps = tf.shape(order)[0]
        total = tf.cast(steps, tf.float32)

        def step(number: tf.Tensor, weights: tuple, means: tuple, squares: tuple) -> tuple:
            rows = order[number]
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = tf.reduce_mean(
                    tf.nn.sigmoid_cross_entropy_with_logits(
                        tf.gather(targets, rows), logits(tf.gather(images, rows), weights)
                    )
                )
            gradients = tape.gradient(loss, weights)
            done = tf.cast(number + 1, tf.float32)
            rate = RATE * tf.minimum(1.0, 20 * done / total)
            rate *= 0.5 * (1 + tf.cos(math.pi * done / total))
            means = tuple(0.9 * m + 0.1 * g for m, g in zip(means, gradients, strict=True))
            squares = tuple(
                0.999 * s + 0.001 * g * g for s, g in zip(squares, gradients, strict=True)
            )
            weights = tuple(
                w * (1 - rate * 1e-3)
                - rate * (m / (1 - 0.9**done)) / (tf.sqrt(s / (1 - 0.999**done)) + 1e-7)
                for w, m, s in zip(weights, means, squares, strict=True)
            )
            return number + 1, weights, means, squares

        zeros = tuple(tf.zeros_like(w) for w in weights)
        return tf.while_loop(lambda number, *_: number < steps, step, (0, weights, zeros, zeros))[1]

    def score(images: tf.Tensor, weights: tuple) -> tf.Tensor:
        return tf.sigmoid(logits(images, weights))

    pixels = tf.TensorSpec([None, *image_shape], tf.uint8)
    state = tuple(
        tf.TensorSpec(w.shape) for w in _initial_weights(np.random.default_rng(0), image_shape)
    )
    return (
        tf.function(
            train,
            autograph=False,
            input_signature=[
                pixels,
                tf.TensorSpec([None]),
                tf.TensorSpec([None, BATCH], tf.int64),
                state,
            ],
        ),
        tf.function(score, autograph=False, input_signature=[pixels, state]),
    )


def from_scores(fake: np.ndarray, real: np.ndarray, *, level: float = 0.95) -> TwoSample:
    """Accuracy and AUC, with intervals, of scores that are meant to be above 0.5 for fakes.

    The AUC's standard error is DeLong's (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
      fake, real: in 0..1, [N] and [M], at least two each.
      level: of the intervals.
    """
    fake, real = checks.finite("fake", fake), checks.finite("real", real)
    z = NormalDist().inv_cdf((1 + level) / 2)
    right = [fake > 0.5, real <= 0.5]
    accuracy = float(np.mean([part.mean() for part in right]))
    accuracy_error = sum(part.var(ddof=1) / len(part) for part in right) ** 0.5 / 2

    def placed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Share of `b` below each of `a`, ties counting half."""
        b = np.sort(b)
        return (np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")) / (2 * len(b))

    above, below = placed(fake, real), placed(real, fake)
    auc = float(above.mean())
    auc_error = (above.var(ddof=1) / len(fake) + below.var(ddof=1) / len(real)) ** 0.5
    return TwoSample(
        accuracy,
        max(0.0, accuracy - z * accuracy_error),
        min(1.0, accuracy + z * accuracy_error),
        auc,
        max(0.0, auc - z * auc_error),
        min(1.0, auc + z * auc_error),
        float(np.mean(fake > np.quantile(real, SURE))),
    )
