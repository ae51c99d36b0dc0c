"""GAN losses on logits, and the penalties on the discriminator's slope.

Logits are float32 [N]: high means "real". All losses are means over the batch, scalars.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

Logits = Callable[[tf.Tensor], tf.Tensor]  # of images alone, [N, ...] to [N]


def _squared_slopes(logits_of: Logits, images: tf.Tensor) -> tf.Tensor:
    """The squared length of the logit's gradient at each image, float32 [N]."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = tf.reduce_sum(logits_of(images))
    gradients = tf.cast(tape.gradient(logits, images), tf.float32)
    return tf.reduce_sum(tf.square(gradients), axis=list(range(1, images.shape.rank)))


def r1_penalty(logits_of: Logits, real: tf.Tensor, fake: tf.Tensor | None = None) -> tf.Tensor:
    """Half the mean squared slope at real images (Mescheder et al. 2018, equation 9).

    Args:
      logits_of: the discriminator as a function of images.
      real: float32 [N, ...]; `fake` is not looked at.

    Returns:
      Scalar float32, to be multiplied by gamma.
    """
    return 0.5 * tf.reduce_mean(_squared_slopes(logits_of, real))


def wgan_penalty(logits_of: Logits, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """How far slopes between real and fake are from 1 (Gulrajani et al. 2017, equation 3).

    Args:
      logits_of: the discriminator as a function of images.
      real, fake: float32 [N, ...], of the same labels. Each pair is mixed, in shares spread evenly
        over [0, 1] instead of drawn from it, since the pairs are random already.

    Returns:
      Scalar float32, to be multiplied by lambda.
    """
    shares = tf.linspace(0.0, 1.0, tf.shape(real)[0])
    shares = tf.reshape(shares, [-1] + [1] * (real.shape.rank - 1))
    slopes = tf.sqrt(_squared_slopes(logits_of, real + shares * (fake - real)) + 1e-12)
    return tf.reduce_mean(tf.square(slopes - 1.0))


class GanLoss(NamedTuple):
    """The losses of a GAN as functions of logits, and the penalty that goes with them."""

    real: Callable[[tf.Tensor], tf.Tensor]  # discriminator, on logits of real images
    fake: Callable[[tf.Tensor], tf.Tensor]  # discriminator, on logits of fakes
    generator: Callable[[tf.Tensor], tf.Tensor]  # generator, on logits of fakes
    penalty: Callable[[Logits, tf.Tensor, tf.Tensor], tf.Tensor] = r1_penalty


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
    # The same game as it is first written down (equation 1): the generator's gradient vanishes
    # where the discriminator is sure. To study, not to use.
    "saturating": GanLoss(
        real=lambda logits: _mean_softplus(-logits),
        fake=_mean_softplus,
        generator=lambda logits: -_mean_softplus(logits),
    ),
    # Lim & Ye 2017, section 3; Miyato et al. 2018, equations 16 and 17.
    "hinge": GanLoss(
        real=lambda logits: _mean_relu(1.0 - logits),
        fake=lambda logits: _mean_relu(1.0 + logits),
        generator=lambda logits: -tf.reduce_mean(logits),
    ),
    # Arjovsky et al. 2017, Gulrajani et al. 2017, algorithm 1: the logit is no probability but a
    # height, and the difference of both means estimates the Wasserstein distance.
    "wgan-gp": GanLoss(
        real=lambda logits: -tf.reduce_mean(logits),
        fake=tf.reduce_mean,
        generator=lambda logits: -tf.reduce_mean(logits),
        penalty=wgan_penalty,
    ),
}
