"""Trainers that `benchmarks/training.py` sets beside ours: a naive recipe and two tutorials'.

Written from what is described, to the letter of networks, losses, batch sizes and optimisers,
with the loop that each describes: a `tf.data` pipeline and one graph call a step. They train in
float32, as they do where they come from.
"""

import abc
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from common.images import to_floats

_BATCH = 500  # images drawn at a time


class Contender(abc.ABC):
    """A GAN in training.

    Attributes:
      conditional: whether it obeys labels.
      batch_size: real images a step.
      generator, discriminator: for their sizes.
      steps: made so far.
    """

    conditional = True
    batch_size = 128
    generator: keras.Model
    discriminator: keras.Model

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int):
        """
        Args:
          images: uint8 [N, 28, 28, 1] to learn from.
          labels: int64 [N], 0..9.
          seed: of weights, order and latents.
        """
        keras.utils.set_random_seed(seed)
        self.steps = 0
        self._batches = self._pipeline(images, labels, seed)

    def _pipeline(self, images: np.ndarray, labels: np.ndarray, seed: int) -> Iterator:
        dataset = tf.data.Dataset.from_tensor_slices((images, labels))
        dataset = dataset.shuffle(len(images), seed=seed).repeat()
        dataset = dataset.batch(self.batch_size, drop_remainder=True)
        dataset = dataset.map(lambda x, y: (self.scaled(x), y), num_parallel_calls=2)
        return iter(dataset.prefetch(tf.data.AUTOTUNE))

    def scaled(self, images: tf.Tensor) -> tf.Tensor:
        """uint8 pixels as the networks see them."""
        return to_floats(tf.cast(images, tf.float32))

    def advance(self, seconds: float, clock: Callable[[], float]) -> float:
        """Trains for about so long by `clock`; returns the seconds that it took."""
        began = clock()
        while (elapsed := clock() - began) < seconds:
            self.train_step(*next(self._batches))
            self.steps += 1
        return elapsed

    @abc.abstractmethod
    def train_step(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        """Updates both players once."""

    @abc.abstractmethod
    def draw(self, latents: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Images in [-1, 1] from the generator that is judged."""

    def generate(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """float32 [len(labels), 28, 28, 1] in [-1, 1]."""
        parts = []
        for start in range(0, len(labels), _BATCH):
            part = tf.constant(labels[start : start + _BATCH])
            latents = tf.random.stateless_normal([len(part), self.latent_dim], [seed, start])
            parts.append(self.draw(latents, part).numpy())
        return np.concatenate(parts)


def _cross_entropy(logits: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=tf.cast(logits, tf.float32))
    )


class Naive(Contender):
    """A conditional DCGAN as one writes it down: 0.44 M parameters against 0.19 M, no care taken.

    Latents and one-hot label into a dense layer, transposed convolutions with batch norm;
    convolutions without, a projection of the label. Batch 128, the same rate on both sides, an
    average of the generator with decay 0.999 from the first step on.
    """

    latent_dim = 100
    learning_rate = 2e-4
    r1_weight, r1_interval = 0.0, 16
    decay = 0.999

    def __init__(self, *args):
        super().__init__(*args)
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

    def draw(self, latents: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self.average([latents, tf.one_hot(labels, 10)], training=False)


class NaiveR1(Naive):
    """The same with the rate 5e-4 and a gradient penalty of weight 0.02 every 16 steps."""

    learning_rate = 5e-4
    r1_weight = 0.02


class TensorFlowTutorial(Contender):
    """TensorFlow's DCGAN tutorial: no labels, kernels of 5x5, dropout, batch 256, Adam 1e-4.

    Both networks learn from the same forward pass; the generator as it is, is judged.
    """

    conditional = False
    batch_size = 256
    latent_dim = 100

    def __init__(self, *args):
        super().__init__(*args)
        self.generator = keras.Sequential([keras.Input([self.latent_dim])])
        self.generator.add(layers.Dense(7 * 7 * 256, use_bias=False))
        self._normalised()
        self.generator.add(layers.Reshape([7, 7, 256]))
        for channels, stride in ((128, 1), (64, 2)):
            self.generator.add(self._up(channels, stride))
            self._normalised()
        self.generator.add(self._up(1, 2, activation="tanh"))
        self.discriminator = keras.Sequential([keras.Input([28, 28, 1])])
        for channels in (64, 128):
            self.discriminator.add(layers.Conv2D(channels, 5, strides=2, padding="same"))
            self.discriminator.add(layers.LeakyReLU(negative_slope=0.3))
            self.discriminator.add(layers.Dropout(0.3))
        self.discriminator.add(layers.Flatten())
        self.discriminator.add(layers.Dense(1))
        self.optimizers = [keras.optimizers.Adam(1e-4) for _ in range(2)]
        self.optimizers[0].build(self.generator.trainable_variables)
        self.optimizers[1].build(self.discriminator.trainable_variables)

    def _normalised(self) -> None:
        self.generator.add(layers.BatchNormalization())
        self.generator.add(layers.LeakyReLU(negative_slope=0.3))

    def _up(self, channels: int, stride: int, **kwargs) -> layers.Layer:
        return layers.Conv2DTranspose(
            channels, 5, strides=stride, padding="same", use_bias=False, **kwargs
        )

    @tf.function
    def train_step(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        latents = tf.random.normal([self.batch_size, self.latent_dim])
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fakes = self.generator(latents, training=True)
            real = self.discriminator(images, training=True)
            fake = self.discriminator(fakes, training=True)
            g_loss = _cross_entropy(fake, tf.ones_like(fake))
            d_loss = _cross_entropy(real, tf.ones_like(real))
            d_loss += _cross_entropy(fake, tf.zeros_like(fake))
        for tape, loss, network, optimizer in (
            (g_tape, g_loss, self.generator, self.optimizers[0]),
            (d_tape, d_loss, self.discriminator, self.optimizers[1]),
        ):
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)

    def draw(self, latents: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self.generator(latents, training=False)


class KerasExample(Contender):
    """Keras' conditional GAN example: labels as ten more channels, batch 64, Adam 3e-4.

    Pixels are in [0, 1]; the discriminator pools to a vector, learns "generated" as the class 1 and
    from labels with up to 0.05 of noise; the generator's step draws new latents.
    """

    batch_size = 64
    latent_dim = 128

    def __init__(self, *args):
        super().__init__(*args)
        width = self.latent_dim + 10
        self.generator = keras.Sequential(
            [
                keras.Input([width]),
                layers.Dense(7 * 7 * width),
                layers.LeakyReLU(negative_slope=0.2),
                layers.Reshape([7, 7, width]),
                layers.Conv2DTranspose(128, 4, strides=2, padding="same"),
                layers.LeakyReLU(negative_slope=0.2),
                layers.Conv2DTranspose(128, 4, strides=2, padding="same"),
                layers.LeakyReLU(negative_slope=0.2),
                layers.Conv2D(1, 7, padding="same", activation="sigmoid"),
            ]
        )
        self.discriminator = keras.Sequential(
            [
                keras.Input([28, 28, 11]),
                layers.Conv2D(64, 3, strides=2, padding="same"),
                layers.LeakyReLU(negative_slope=0.2),
                layers.Conv2D(128, 3, strides=2, padding="same"),
                layers.LeakyReLU(negative_slope=0.2),
                layers.GlobalMaxPooling2D(),
                layers.Dense(1),
            ]
        )
        self.optimizers = [keras.optimizers.Adam(3e-4) for _ in range(2)]
        self.optimizers[0].build(self.generator.trainable_variables)
        self.optimizers[1].build(self.discriminator.trainable_variables)

    def scaled(self, images: tf.Tensor) -> tf.Tensor:
        return tf.cast(images, tf.float32) / 255.0

    def _fakes(self, latents: tf.Tensor, labels: tf.Tensor, training: bool) -> tf.Tensor:
        return self.generator(tf.concat([latents, labels], 1), training=training)

    def _logits(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        maps = tf.tile(labels[:, tf.newaxis, tf.newaxis], [1, 28, 28, 1])
        return self.discriminator(tf.concat([images, maps], -1), training=True)

    @tf.function
    def train_step(self, images: tf.Tensor, labels: tf.Tensor) -> None:
        labels = tf.one_hot(labels, 10)
        shape = [self.batch_size, self.latent_dim]
        fakes = self._fakes(tf.random.normal(shape), labels, training=False)
        truth = tf.concat([tf.ones([self.batch_size, 1]), tf.zeros([self.batch_size, 1])], 0)
        truth += 0.05 * tf.random.uniform(tf.shape(truth))
        with tf.GradientTape() as tape:
            both = self._logits(tf.concat([fakes, images], 0), tf.concat([labels, labels], 0))
            loss = _cross_entropy(both, truth)
        gradients = tape.gradient(loss, self.discriminator.trainable_variables)
        self.optimizers[1].apply(gradients, self.discriminator.trainable_variables)
        with tf.GradientTape() as tape:
            fakes = self._fakes(tf.random.normal(shape), labels, training=True)
            logits = self._logits(fakes, labels)
            loss = _cross_entropy(logits, tf.zeros_like(logits))
        gradients = tape.gradient(loss, self.generator.trainable_variables)
        self.optimizers[0].apply(gradients, self.generator.trainable_variables)

    def draw(self, latents: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self._fakes(latents, tf.one_hot(labels, 10), training=False) * 2.0 - 1.0


CONTENDERS: dict[str, type[Contender]] = {
    "naive": Naive,
    "naive_r1": NaiveR1,
    "tensorflow_tutorial": TensorFlowTutorial,
    "keras_example": KerasExample,
}
