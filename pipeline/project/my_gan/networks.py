"""Your generator and discriminator: edit them, and the next run trains them.

A network grows with the image: the generator doubles the sides of a small grid until it is there,
the discriminator halves them again. Both know the class that is asked for. Everything downstream
(training, export, server, judge) only asks that the two functions below return Keras models with
these inputs and outputs. A `LOSS` here would take the place of the setting `loss`.
"""

import keras
from keras import layers

CHANNELS = 64  # of the generator's largest inner grid; more is slower and draws finer
FEATURES = 128  # numbers on which the discriminator decides


def build_generator(config, num_classes, shape) -> keras.Model:
    """Latents [N, latent_dim] and labels [N] to images [N, *shape] in [-1, 1]."""
    latent = keras.Input([config.latent_dim], name="latent")
    label = keras.Input([], dtype="int64", name="label")
    # The class becomes 32 numbers, learnt like weights, beside those of the latent.
    x = layers.Concatenate()([latent, layers.Embedding(num_classes, 32)(label)])

    # A grid of a quarter of the sides: 7x7 for images of 28x28, 16x16 for 64x64.
    side, channels = shape[0] // 4, 2 * CHANNELS
    x = layers.Dense(side * side * channels, use_bias=False)(x)
    x = layers.Reshape([side, side, channels])(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    # Doubled once. A kernel of twice the stride covers every pixel alike: no checkerboard.
    x = layers.Conv2DTranspose(CHANNELS, 4, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    # Doubled again, to the image. tanh keeps it in [-1, 1]; float32 whatever the rest computes in.
    x = layers.Conv2DTranspose(shape[2], 4, strides=2, padding="same")(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model([latent, label], image, name="generator")


def build_discriminator(config, num_classes, shape) -> keras.Model:
    """Images [N, *shape] and labels [N] to one logit [N, 1], high for "real"."""
    image = keras.Input(shape, name="image")
    label = keras.Input([], dtype="int64", name="label")

    # Halved twice. No normalisation: the gradient penalty (the setting r1_weight) does its work.
    x = layers.Conv2D(CHANNELS // 2, 4, strides=2, padding="same")(image)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2D(CHANNELS, 4, strides=2, padding="same")(x)
    x = layers.LeakyReLU(0.2)(x)
    features = layers.LeakyReLU(0.2)(layers.Dense(FEATURES)(layers.Flatten()(x)))

    # How real it looks, and how well it fits its class (Miyato & Koyama 2018).
    logit = layers.Dense(1, dtype="float32")(features)
    fits = layers.Dot(axes=1, dtype="float32")(
        [features, layers.Embedding(num_classes, FEATURES, dtype="float32")(label)]
    )
    logit = layers.Add(dtype="float32", name="logit")([logit, fits])
    return keras.Model([image, label], logit, name="discriminator")
