"""The networks of the default, `cdcgan`: functional Keras models, to be read from top to bottom.

A generator maps a latent vector and a label to an image in [-1, 1]; a discriminator maps an image
and a label to one logit, high for "real". Those of the models that this project descends from are
in `trainer/variants`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from keras.initializers import RandomNormal

from common.images import IMAGE_SHAPE
from trainer.layers import (
    FusedBatchNormalization,
    GreyLevels,
    LeakyReLU,
    PixelShuffle,
    PixelUnshuffle,
)
from trainer.training_config import CdcganConfig, TrainingConfig

FEATURES = 256  # length of the vector on which the discriminator decides


def build_generator(config: CdcganConfig, num_classes: int) -> keras.Model:
    """A class-conditional DCGAN generator: 7x7, 14x14, 28x28."""
    channels = config.generator_channels
    latent = keras.Input([config.latent_dim], name="latent")
    label = keras.Input([], dtype="int64", name="label")

    embedding = layers.Embedding(
        num_classes, 32, embeddings_initializer=RandomNormal(0.0, 1.0), name="label_embedding"
    )(label)
    x = layers.Concatenate(name="latent_and_label")([latent, embedding])
    x = layers.Dense(7 * 7 * 2 * channels, use_bias=False, name="project")(x)
    x = layers.Reshape([7, 7, 2 * channels], name="to_7x7")(x)
    x = FusedBatchNormalization(name="norm_7x7")(x)
    x = layers.ReLU(name="relu_7x7")(x)
    # A kernel of twice the stride: every output pixel is covered equally, no checkerboard
    # (Odena et al. 2016).
    x = layers.Conv2DTranspose(
        channels, 4, strides=2, padding="same", use_bias=False, name="up_14x14"
    )(x)
    x = FusedBatchNormalization(name="norm_14x14")(x)
    x = layers.ReLU(name="relu_14x14")(x)
    x = layers.Conv2D(4, 3, padding="same", name="to_blocks")(x)
    x = PixelShuffle(name="up_28x28")(x)
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    image = GreyLevels(dtype="float32", name="image")(x, latent)
    return keras.Model([latent, label], image, name="generator")


def build_discriminator(config: CdcganConfig, num_classes: int) -> keras.Model:
    """A DCGAN discriminator without normalisation, conditioned by projection.

    Logit = w.f(x) + embedding(label).f(x) (Miyato & Koyama 2018, equation 3).
    """
    channels = config.discriminator_channels
    image = keras.Input(IMAGE_SHAPE, name="image")
    label = keras.Input([], dtype="int64", name="label")

    x = PixelUnshuffle(name="to_blocks")(image)
    x = layers.Conv2D(channels, 3, padding="same", name="conv_14x14")(x)
    x = LeakyReLU(name="leaky_14x14")(x)
    x = layers.Conv2D(2 * channels, 4, strides=2, padding="same", name="down_7x7")(x)
    x = LeakyReLU(name="leaky_7x7")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(FEATURES, name="features")(x)
    features = LeakyReLU(name="leaky_features")(x)
    logit = layers.Dense(1, dtype="float32", name="realness")(features)
    embedding = layers.Embedding(
        num_classes,
        FEATURES,
        embeddings_initializer=RandomNormal(0.0, 0.05),
        dtype="float32",
        name="label_embedding",
    )(label)
    projection = layers.Dot(axes=1, dtype="float32", name="projection")([embedding, features])
    logit = layers.Add(dtype="float32", name="logit")([logit, projection])
    return keras.Model([image, label], logit, name="discriminator")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A pair of networks, unbuilt, and what they take.

    Attributes:
      build_generator: (config, num_classes) -> network of [N, latent_dim] float32, and where
        conditional of [N] int64 labels, to [N, 28, 28, 1] float32 in [-1, 1].
      build_discriminator: (config, num_classes) -> network of such images, and where conditional
        of labels, to [N, 1] float32 logits.
      conditional: whether the label is an input of both networks.
      latent_distribution: where latents come from, as `draw_latents` takes it.
    """

    build_generator: Callable[[Any, int], keras.Model]
    build_discriminator: Callable[[Any, int], keras.Model]
    conditional: bool
    latent_distribution: str

    def inputs(self, first: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        """The inputs of a network: latents or images, and labels if it is conditional."""
        return [first, labels] if self.conditional else [first]


CDCGAN = Architecture(
    build_generator, build_discriminator, conditional=True, latent_distribution="normal"
)


@dataclasses.dataclass(frozen=True)
class Networks:
    """Generator and discriminator."""

    generator: keras.Model
    discriminator: keras.Model


def build_networks(
    config: TrainingConfig, num_classes: int, precision: str, architecture: Architecture = CDCGAN
) -> Networks:
    """Builds generator and discriminator with fresh weights from Keras' global random seed.

    Args:
      config: how wide they are.
      num_classes: labels run from 0 to num_classes - 1.
      precision: "float32" or "bfloat16"; weights are float32 in both.
      architecture: which networks.
    """
    with _dtype_policy(precision):
        return Networks(
            generator=architecture.build_generator(config, num_classes),
            discriminator=architecture.build_discriminator(config, num_classes),
        )


def float32_generator(
    config: TrainingConfig, num_classes: int, architecture: Architecture = CDCGAN
) -> keras.Model:
    """A generator that computes in float32 whatever precision training has."""
    with _dtype_policy("float32"):
        return architecture.build_generator(config, num_classes)


@contextlib.contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    """Layers made inside compute in `precision` and keep float32 weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
