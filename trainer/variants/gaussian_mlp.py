"""`gaussian_mlp`: dense networks, Gaussian noise, batches of half real and half generated images.

It counts in epochs: samples are saved after each (`sample_epochs`), the generator itself after
every tenth (`model_epochs`).
"""

import math

import keras
import tensorflow as tf
from keras import layers

from common.images import IMAGE_SHAPE, ImageShape
from trainer.layers import LeakyReLU
from trainer.models import Architecture
from trainer.training_config import TrainingConfig
from trainer.variants.loop import UnconditionalLoop

WIDTHS = (256, 512, 1024)


def build_generator(
    config: TrainingConfig, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """[N, latent_dim] by ever wider dense layers to an image."""
    latent = x = keras.Input([config.latent_dim], name="latent")
    for width in WIDTHS:
        x = layers.Dense(width, name=f"dense_{width}")(x)
        x = LeakyReLU(name=f"leaky_{width}")(x)
    x = layers.Dense(math.prod(shape), name="pixels")(x)
    x = layers.Reshape(shape, name="to_image")(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model([latent], image, name="generator")


def build_discriminator(
    config: TrainingConfig, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """An image by ever narrower dense layers to one logit."""
    image = keras.Input(shape, name="image")
    x = layers.Flatten(name="pixels")(image)
    for width in reversed(WIDTHS):
        x = layers.Dense(width, name=f"dense_{width}")(x)
        x = LeakyReLU(name=f"leaky_{width}")(x)
    logit = layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model([image], logit, name="discriminator")


class GaussianMlpLoop(UnconditionalLoop):
    """The discriminator's batch is half real and half fake, the generator's is all fakes."""

    architecture = Architecture(
        build_generator, build_discriminator, conditional=False, latent_distribution="normal"
    )

    @property
    def real_batch_size(self) -> int:
        return self.config.batch_size // 2

    @property
    def sample_interval(self) -> int:
        return self.config.sample_epochs * self.steps_per_epoch

    @property
    def model_interval(self) -> int:
        return self.config.model_epochs * self.steps_per_epoch

    def discriminator_logits(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits of one batch: the real images and as many of the fakes."""
        logits = self.logits(tf.concat([real, fake[: self.real_batch_size]], 0), labels)
        return tuple(tf.split(logits, 2))
