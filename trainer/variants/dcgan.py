"""`dcgan`: the deep convolutional GAN (Radford et al. 2015, section 3), without labels.

Strided convolutions on both sides, batch normalisation everywhere but at the image, Adam with
beta_1 = 0.5, first weights from normal(0, 0.02).
"""

import keras
from keras import layers
from keras.initializers import RandomNormal

from common.images import IMAGE_SHAPE
from trainer.layers import FusedBatchNormalization, LeakyReLU
from trainer.models import Architecture
from trainer.training_config import TrainingConfig
from trainer.variants.loop import UnconditionalLoop

STRIDED = {"kernel_size": 5, "strides": 2, "padding": "same"}


def build_generator(config: TrainingConfig, num_classes: int) -> keras.Model:
    """[N, latent_dim] to 7x7x128, by transposed convolutions to 14x14x64 and 28x28x1."""
    first = RandomNormal(0.0, 0.02)
    latent = keras.Input([config.latent_dim], name="latent")
    x = layers.Dense(7 * 7 * 128, use_bias=False, kernel_initializer=first, name="project")(latent)
    x = layers.Reshape([7, 7, 128], name="to_7x7")(x)
    x = FusedBatchNormalization(name="norm_7x7")(x)
    x = layers.ReLU(name="relu_7x7")(x)
    x = layers.Conv2DTranspose(
        64, **STRIDED, use_bias=False, kernel_initializer=first, name="up_14x14"
    )(x)
    x = FusedBatchNormalization(name="norm_14x14")(x)
    x = layers.ReLU(name="relu_14x14")(x)
    x = layers.Conv2DTranspose(1, **STRIDED, kernel_initializer=first, name="up_28x28")(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model([latent], image, name="generator")


def build_discriminator(config: TrainingConfig, num_classes: int) -> keras.Model:
    """28x28x1 to 14x14x32, 7x7x64, 4x4x128, which is the vector of 2,048, and one logit of it."""
    first = RandomNormal(0.0, 0.02)
    image = keras.Input(IMAGE_SHAPE, name="image")
    x = layers.Conv2D(32, **STRIDED, kernel_initializer=first, name="down_14x14")(image)
    x = LeakyReLU(name="leaky_14x14")(x)
    for size, channels in ((7, 64), (4, 128)):
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
