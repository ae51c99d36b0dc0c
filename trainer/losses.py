"""GAN losses on logits, and the gradient penalty.

Logits are float32 [N]: high means "real". All losses are means over the batch, scalars.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class GanLoss(NamedTuple):
    """The losses of a GAN as three functions of logits."""

    real: Callable[[tf.Tensor], tf.Tensor]  # discriminator, on logits of real images
    fake: Callable[[tf.Tensor], tf.Tensor]  # discriminator, on logits of fakes
    generator: Callable[[tf.Tensor], tf.Tensor]  # generator, on logits of fakes


def _mean_softplus(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.softplus(logits))


def _mean_relu(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.relu(values))


LOSSES = {
    # Goodfellow et al. 2014, section 3: -log D(x), -log(1 - D(G(z))), and for the generator
    # -log D(G(z)), with D = sigmoid(logit): log-sigmoids written as softplus to stay finite.
    "non_saturating": GanLoss(
        real=lambda logits: _mean_softplus(-logits),
        fake=_mean_softplus,
        generator=lambda logits: _mean_softplus(-logits),
    ),
    # Lim & Ye 2017, section 3; Miyato et al. 2018, equations 16 and 17.
    "hinge": GanLoss(
        real=lambda logits: _mean_relu(1.0 - logits),
        fake=lambda logits: _mean_relu(1.0 + logits),
        generator=lambda logits: -tf.reduce_mean(logits),
    ),
}


def r1_penalty(logits_of: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Half the mean squared gradient of the logit at real images (Mescheder et al. 2018, eq. 9).

    Args:
      logits_of: the discriminator as a function of images alone, [N, H, W, C] to [N].
      images: real images, float32 [N, H, W, C].

    Returns:
      Scalar float32, to be multiplied by gamma.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = tf.reduce_sum(logits_of(images))
    gradients = tf.cast(tape.gradient(logits, images), tf.float32)
    return 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3]))
