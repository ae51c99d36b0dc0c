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

from common.images import IMAGE_SHAPE, ImageShape
from trainer.layers import (
    FusedBatchNormalization,
    GreyLevels,
    LeakyReLU,
    PixelShuffle,
    PixelUnshuffle,
)
from trainer.training_config import CdcganConfig, TrainingConfig

FEATURES = 256  # length of the vector on which the discriminator decides


def grid_sizes(shape: ImageShape) -> list[int]:
    """From the smallest grid to the image, a block for each doubling.

    7, 14, 28 for images of 28x28; 8, 16, 32 for 32x32; 8, 16, 32, 64 for 64x64.
    """
    sizes = [shape[0]]
    while sizes[0] > 8:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def build_generator(
    config: CdcganConfig, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """A class-conditional DCGAN generator: 7x7, 14x14, 28x28 or as `grid_sizes` says."""
    first, *between, size = grid_sizes(shape)
    channels = 2 * config.generator_channels
    latent = keras.Input([config.latent_dim], name="latent")
    label = keras.Input([], dtype="int64", name="label")

    embedding = layers.Embedding(
        num_classes, 32, embeddings_initializer=RandomNormal(0.0, 1.0), name="label_embedding"
    )(label)
    x = layers.Concatenate(name="latent_and_label")([latent, embedding])
    x = layers.Dense(first * first * channels, use_bias=False, name="project")(x)
    x = layers.Reshape([first, first, channels], name=f"to_{first}x{first}")(x)
    x = FusedBatchNormalization(name=f"norm_{first}x{first}")(x)
    x = layers.ReLU(name=f"relu_{first}x{first}")(x)
    for grid in between:
        channels = max(1, channels // 2)
        # A kernel of twice the stride: every output pixel is covered equally, no checkerboard
        # (Odena et al. 2016).
        x = layers.Conv2DTranspose(
            channels, 4, strides=2, padding="same", use_bias=False, name=f"up_{grid}x{grid}"
        )(x)
        x = FusedBatchNormalization(name=f"norm_{grid}x{grid}")(x)
        x = layers.ReLU(name=f"relu_{grid}x{grid}")(x)
    x = layers.Conv2D(4 * shape[2], 3, padding="same", name="to_blocks")(x)
    x = PixelShuffle(name=f"up_{size}x{size}")(x)
    if shape[2] == 1:
        x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
        image = GreyLevels(dtype="float32", name="image")(x, latent)
    else:  # colours have no one curve, and a photograph no level that most of it has
        image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model([latent, label], image, name="generator")


def build_discriminator(
    config: CdcganConfig, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """A DCGAN discriminator without normalisation, conditioned by projection.

    Logit = w.f(x) + embedding(label).f(x) (Miyato & Koyama 2018, equation 3).
    """
    grids = grid_sizes(shape)[-2::-1]  # from half the image's size down
    widths = [max(1, 2 * config.discriminator_channels >> i) for i in range(len(grids))][::-1]
    image = keras.Input(shape, name="image")
    label = keras.Input([], dtype="int64", name="label")

    x = PixelUnshuffle(name="to_blocks")(image)
    x = layers.Conv2D(widths[0], 3, padding="same", name=f"conv_{grids[0]}x{grids[0]}")(x)
    x = LeakyReLU(name=f"leaky_{grids[0]}x{grids[0]}")(x)
    for grid, width in zip(grids[1:], widths[1:], strict=True):
        x = layers.Conv2D(width, 4, strides=2, padding="same", name=f"down_{grid}x{grid}")(x)
        x = LeakyReLU(name=f"leaky_{grid}x{grid}")(x)
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
      build_generator: (config, num_classes, shape of an image) -> network of [N, latent_dim]
        float32, and where conditional of [N] int64 labels, to [N, *shape] float32 in [-1, 1].
      build_discriminator: (config, num_classes, shape) -> network of such images, and where
        conditional of labels, to [N, 1] float32 logits.
      conditional: whether the label is an input of both networks.
      latent_distribution: where latents come from, as `draw_latents` takes it.
    """

    build_generator: Callable[[Any, int, ImageShape], keras.Model]
    build_discriminator: Callable[[Any, int, ImageShape], keras.Model]
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
    config: TrainingConfig,
    num_classes: int,
    precision: str,
    architecture: Architecture = CDCGAN,
    shape: ImageShape = IMAGE_SHAPE,
) -> Networks:
    """Builds generator and discriminator with fresh weights from Keras' global random seed.

    Args:
      config: how wide they are.
      num_classes: labels run from 0 to num_classes - 1.
      precision: "float32" or "bfloat16"; weights are float32 in both.
      architecture: which networks.
      shape: of one image.
    """
    with _dtype_policy(precision):
        return Networks(
            generator=architecture.build_generator(config, num_classes, shape),
            discriminator=architecture.build_discriminator(config, num_classes, shape),
        )


def float32_generator(
    config: TrainingConfig,
    num_classes: int,
    architecture: Architecture = CDCGAN,
    shape: ImageShape = IMAGE_SHAPE,
) -> keras.Model:
    """A generator that computes in float32 whatever precision training has."""
    with _dtype_policy("float32"):
        return architecture.build_generator(config, num_classes, shape)


@contextlib.contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    """Layers made inside compute in `precision` and keep float32 weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
