"""The naive recipe that `benchmarks/training.py` sets beside ours, with and without R1.

Its loop is what tutorials describe: a `tf.data` pipeline and one graph call a step, in float32.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from common.images import to_floats

_BATCH = 500  # images drawn at a time


def _cross_entropy(logits: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=logits))


class Naive:
    """A conditional DCGAN as one writes it down: 0.44 M parameters against 0.19 M, no care taken.

    Latents and one-hot label into a dense layer, transposed convolutions with batch norm;
    convolutions without, a projection of the label. Batch 128, the same rate on both sides, an
    average of the generator with decay 0.999 from the first step on.

    Args:
      images: uint8 [N, 28, 28, 1] to learn from.
      labels: int64 [N], 0..9.
      seed: of weights, order and latents.
    """

    batch_size = 128
    latent_dim = 100
    learning_rate = 2e-4
    r1_weight, r1_interval = 0.0, 16
    decay = 0.999

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int):
        keras.utils.set_random_seed(seed)
        self.steps = 0
        data = tf.data.Dataset.from_tensor_slices((images, labels))
        data = data.shuffle(len(images), seed=seed).repeat()
        data = data.batch(self.batch_size, drop_remainder=True)
        data = data.map(lambda x, y: (to_floats(tf.cast(x, tf.float32)), y), num_parallel_calls=2)
        self._batches = iter(data.prefetch(tf.data.AUTOTUNE))
        self.generator, self.average = self._generator(), self._generator()
        self.average.set_weights(self.generator.get_weights())
        self.discriminator = self._discriminator()
        self.optimizers = [keras.optimizers.Adam(self.learning_rate, beta_1=0.5) for _ in range(2)]
        for optimizer, network in zip(
            self.optimizers, (self.generator, self.discriminator), strict=True
        ):
            optimizer.build(network.trainable_variables)

    def _generator(self) -> keras.Model:
        latent, label = keras.Input([self.latent_dim]), keras.Input([10])
        x = layers.Concatenate()([latent, label])
        x = layers.Dense(7 * 7 * 64, use_bias=False)(x)
        x = layers.Reshape([7, 7, 64])(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        for channels in (64, 32):
            x = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(1, 3, padding="same", activation="tanh")(x)
        return keras.Model([latent, label], x)

    def _discriminator(self) -> keras.Model:
        image, label = keras.Input([28, 28, 1]), keras.Input([10])
        x = image
        for channels in (32, 64, 128):
            x = layers.Conv2D(channels, 4, strides=2, padding="same")(x)
            x = layers.LeakyReLU(negative_slope=0.2)(x)
        x = layers.Flatten()(x)
        projection = layers.Dot(1)([layers.Dense(x.shape[-1], use_bias=False)(label), x])
        return keras.Model([image, label], layers.Add()([layers.Dense(1)(x), projection]))

    def advance(self, seconds: float, clock: Callable[[], float]) -> float:
        """Trains for about so long by `clock`; returns the seconds that it took."""
        began = clock()
        while (elapsed := clock() - began) < seconds:
            self.train_step(*next(self._batches))
            self.steps += 1
        return elapsed

    @tf.function
    def train_step(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        labels = tf.one_hot(labels, 10)
        latents = tf.random.normal([self.batch_size, self.latent_dim])
        with tf.GradientTape() as tape:
            fakes = self.generator([latents, labels], training=True)
        with tf.GradientTape() as d_tape:
            real = self.discriminator([images, labels], training=True)
            fake = self.discriminator([fakes, labels], training=True)
            loss = _cross_entropy(real, tf.ones_like(real))
            loss += _cross_entropy(fake, tf.zeros_like(fake))
            if self.r1_weight and self._iteration() % self.r1_interval == 0:
                loss += self.r1_weight * self.r1_interval * self._r1(images, labels)
        self._apply(1, d_tape.gradient(loss, self.discriminator.trainable_variables))
        with tape:
            fake = self.discriminator([fakes, labels], training=True)
            loss = _cross_entropy(fake, tf.ones_like(fake))
        self._apply(0, tape.gradient(loss, self.generator.trainable_variables))
        for average, weight in zip(self.average.weights, self.generator.weights, strict=True):
            average.assign_add((1.0 - self.decay) * (weight - average))

    def _iteration(self) -> tf.Tensor:
        return tf.cast(self.optimizers[1].iterations.value, tf.int64)

    def _r1(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = tf.reduce_sum(self.discriminator([images, labels], training=True))
        gradients = tape.gradient(logits, images)
        return 0.5 * tf.reduce_mean(tf.reduce_sum(gradients**2, [1, 2, 3]))

    def _apply(self, side: int, gradients: list) -> None:
        network = (self.generator, self.discriminator)[side]
        self.optimizers[side].apply(gradients, network.trainable_variables)

    def generate(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """float32 [len(labels), 28, 28, 1] in [-1, 1]."""
        parts = []
        for start in range(0, len(labels), _BATCH):
            part = tf.one_hot(labels[start : start + _BATCH], 10)
            latents = tf.random.stateless_normal([len(part), self.latent_dim], [seed, start])
            parts.append(self.average([latents, part], training=False).numpy())
        return np.concatenate(parts)


class NaiveR1(Naive):
    """The same with the rate 5e-4 and a gradient penalty of weight 0.02 every 16 steps."""

    learning_rate = 5e-4
    r1_weight = 0.02


CONTENDERS: dict[str, type[Naive]] = {"naive": Naive, "naive_r1": NaiveR1}
