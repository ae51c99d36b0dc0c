"""`blocks5`: five blocks of convolution, normalisation and activation on each side.

Published with 100,352 parameters in the generator and 100,137 in the discriminator, widths unknown.
These have 100,401 and 100,241 that are trained (0.05 % and 0.1 % more), with either normalisation.
"""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import layers
from keras.initializers import GlorotUniform, RandomNormal

from common.images import IMAGE_SHAPE, ImageShape
from trainer.layers import FusedBatchNormalization, LeakyReLU
from trainer.models import Architecture, grid_sizes
from trainer.training_config import Blocks5Config
from trainer.variants.loop import UnconditionalLoop

GROUPS = 4  # of channels, where each is normalised by itself


def build_generator(
    config: Blocks5Config, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """[N, latent_dim] as one pixel, by five blocks to 4x4, 7x7, 14x14, 28x28 and an image.

    32x32 images come by 8x8 and 16x16, and for 64x64 the last block doubles too.
    """
    first = grid_sizes(shape)[0]
    latent = keras.Input([config.latent_dim], name="latent")
    x = layers.Reshape([1, 1, config.latent_dim], name="to_1x1")(latent)
    x = _block(config, 1, layers.Conv2DTranspose, 16, kernel_size=4, padding="valid")(x)
    x = _block(config, 2, layers.Conv2DTranspose, 48, kernel_size=first - 3, padding="valid")(x)
    x = _block(config, 3, layers.Conv2DTranspose, 28, kernel_size=4, strides=2)(x)
    x = _block(config, 4, layers.Conv2DTranspose, 24, kernel_size=4, strides=2)(x)
    if shape[0] == 4 * first:
        x = _block(config, 5, layers.Conv2D, 24, kernel_size=3)(x)
    else:
        x = _block(config, 5, layers.Conv2DTranspose, 24, kernel_size=4, strides=2)(x)
    x = layers.Conv2D(
        shape[2], 3, padding="same", kernel_initializer=_initializer(config), name="to_image"
    )(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model([latent], image, name="generator")


def build_discriminator(
    config: Blocks5Config, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """28x28x1 by five blocks to 4x4x80, and one logit."""
    image = keras.Input(shape, name="image")
    x = _block(config, 1, layers.Conv2D, 16, kernel_size=4, strides=2)(image)
    x = _block(config, 2, layers.Conv2D, 16, kernel_size=3)(x)
    x = _block(config, 3, layers.Conv2D, 32, kernel_size=4, strides=2)(x)
    x = _block(config, 4, layers.Conv2D, 56, kernel_size=3)(x)
    x = _block(config, 5, layers.Conv2D, 80, kernel_size=4, strides=2)(x)
    x = layers.Flatten(name="flatten")(x)
    logit = layers.Dense(1, kernel_initializer=_initializer(config), dtype="float32", name="logit")(
        x
    )
    return keras.Model([image], logit, name="discriminator")


def _block(
    config: Blocks5Config, number: int, convolution: type, channels: int, **shape: int | str
) -> Callable:
    """Convolution, normalisation, activation, as the settings say."""
    stack = [
        convolution(
            channels,
            **{"padding": "same", **shape},
            use_bias=False,  # the normalisation adds one
            kernel_initializer=_initializer(config),
            name=f"convolution_{number}",
        ),
        FusedBatchNormalization(name=f"norm_{number}")
        if config.normalization == "batch"
        else layers.GroupNormalization(GROUPS, name=f"norm_{number}"),
        LeakyReLU(name=f"activation_{number}")
        if config.activation == "leaky_relu"
        else layers.ReLU(name=f"activation_{number}"),
    ]

    def apply(x):
        for layer in stack:
            x = layer(x)
        return x

    return apply


def _initializer(config: Blocks5Config) -> keras.initializers.Initializer:
    return RandomNormal(0.0, 0.02) if config.initializer == "normal" else GlorotUniform()


class Blocks5Loop(UnconditionalLoop):
    """Adam or plain SGD; every step also measures how far the fakes are from real images."""

    architecture = Architecture(
        build_generator, build_discriminator, conditional=False, latent_distribution="normal"
    )
    metrics = (*UnconditionalLoop.metrics, "g_reconstruction")

    def make_optimizer(self, rate: float) -> keras.optimizers.Optimizer:
        """Adam with beta_1 = 0.5, or gradient descent without momentum."""
        if self.config.optimizer == "sgd":
            return keras.optimizers.SGD(rate)
        return keras.optimizers.Adam(rate, beta_1=0.5)

    def discriminator_step(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """As the others', with the reconstruction loss of the fakes beside it."""
        measured = super().discriminator_step(real, fake, labels)
        return {**measured, "g_reconstruction": reconstruction_loss(fake, real)}


def reconstruction_loss(fake: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """How well the fakes reproduce real images: squared distance to the nearest one of the batch.

    A GAN's generator has no image that it should reproduce, so each fake is held against the real
    image of the batch that it comes nearest to. Measured, not trained on: minimising it would
    collapse the generator onto few images.

    Args:
      fake: float32 [N, H, W, C].
      real: float32 [M, H, W, C].

    Returns:
      Scalar: the mean over fakes of the mean squared difference of pixels; 0 is a copy.
    """
    a, b = (tf.reshape(images, [tf.shape(images)[0], -1]) for images in (fake, real))
    # |a - b|^2 = |a|^2 - 2 a.b + |b|^2, without a tensor of N x M images.
    squares = (
        tf.reduce_sum(a * a, 1)[:, tf.newaxis]
        - 2.0 * tf.matmul(a, b, transpose_b=True)
        + tf.reduce_sum(b * b, 1)
    )
    nearest = tf.maximum(tf.reduce_min(squares, 1), 0.0)
    return tf.reduce_mean(nearest) / tf.cast(tf.shape(a)[1], tf.float32)
