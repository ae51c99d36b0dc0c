"""`dcgan`: the deep convolutional GAN (Radford et al. 2015, section 3), without labels.

Strided convolutions on both sides, batch normalisation everywhere but at the image, Adam with
beta_1 = 0.5, first weights from normal(0, 0.02).
"""

import keras
from keras import layers
from keras.initializers import RandomNormal

from common.images import IMAGE_SHAPE, ImageShape
from trainer.layers import FusedBatchNormalization, LeakyReLU
from trainer.models import Architecture, grid_sizes
from trainer.training_config import TrainingConfig
from trainer.variants.loop import UnconditionalLoop

STRIDED = {"kernel_size": 5, "strides": 2, "padding": "same"}


def build_generator(
    config: TrainingConfig, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """[N, latent_dim] to 7x7x128, by transposed convolutions to 14x14x64 and 28x28x1.

    64x64 images begin with 8x8x256, one doubling more.
    """
    start, *between, size = grid_sizes(shape)
    channels = 64 * 2 ** len(between)
    first = RandomNormal(0.0, 0.02)
    latent = keras.Input([config.latent_dim], name="latent")
    x = layers.Dense(
        start * start * channels, use_bias=False, kernel_initializer=first, name="project"
    )(latent)
    x = layers.Reshape([start, start, channels], name=f"to_{start}x{start}")(x)
    x = FusedBatchNormalization(name=f"norm_{start}x{start}")(x)
    x = layers.ReLU(name=f"relu_{start}x{start}")(x)
    for grid in between:
        channels //= 2
        x = layers.Conv2DTranspose(
            channels,
            **STRIDED,
            use_bias=False,
            kernel_initializer=first,
            name=f"up_{grid}x{grid}",
        )(x)
        x = FusedBatchNormalization(name=f"norm_{grid}x{grid}")(x)
        x = layers.ReLU(name=f"relu_{grid}x{grid}")(x)
    x = layers.Conv2DTranspose(
        shape[2], **STRIDED, kernel_initializer=first, name=f"up_{size}x{size}"
    )(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model([latent], image, name="generator")


def build_discriminator(
    config: TrainingConfig, num_classes: int, shape: ImageShape = IMAGE_SHAPE
) -> keras.Model:
    """28x28x1 to 14x14x32, 7x7x64, 4x4x128, which is the vector of 2,048, and one logit of it.

    64x64 images have one halving more.
    """
    first = RandomNormal(0.0, 0.02)
    image = keras.Input(shape, name="image")
    half, *grids = [*grid_sizes(shape)[-2::-1], 4]
    x = layers.Conv2D(32, **STRIDED, kernel_initializer=first, name=f"down_{half}x{half}")(image)
    x = LeakyReLU(name=f"leaky_{half}x{half}")(x)
    for doubling, size in enumerate(grids, 1):
        channels = 32 * 2**doubling
        x = layers.Conv2D(
            channels,
            **STRIDED,
            use_bias=False,
            kernel_initializer=first,
            name=f"down_{size}x{size}",
        )(x)
        x = FusedBatchNormalization(name=f"norm_{size}x{size}")(x)
        x = LeakyReLU(name=f"leaky_{size}x{size}")(x)
    x = layers.Flatten(name="vector")(x)
    logit = layers.Dense(1, kernel_initializer=first, dtype="float32", name="logit")(x)
    return keras.Model([image], logit, name="discriminator")


class DcganLoop(UnconditionalLoop):
    """The variants' common step; the latents are uniform on [-1, 1]."""

    architecture = Architecture(
        build_generator, build_discriminator, conditional=False, latent_distribution="uniform"
    )
