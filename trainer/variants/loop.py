"""What the variants' training has in common: no labels, no penalty, a constant learning rate."""

import keras
import tensorflow as tf

from trainer import losses
from trainer.train_loop import GanLoop


class UnconditionalLoop(GanLoop):
    """The training of Goodfellow et al. 2014, with the generator's loss of its section 3.

    The discriminator sees real images and fakes in batches of their own, since its batch
    normalisation would mix the two (Radford et al. 2015 and their code).
    """

    metrics: tuple[str, ...] = (
        *("d_loss_real", "d_loss_fake", "g_loss"),
        *("d_gradient_norm", "g_gradient_norm"),
    )

    # Binary cross-entropy for both networks. The discriminator ends with a logit and not with a
    # sigmoid: the logarithm of a sigmoid that has rounded to 0 or 1 is infinite or has no
    # gradient, the softplus of the logit is the same number and stays finite.
    loss = losses.LOSSES["non_saturating"]
    discriminator_rate_ratio = 1.0

    def make_optimizer(self, rate: float) -> keras.optimizers.Optimizer:
        """Adam with a constant learning rate."""
        return keras.optimizers.Adam(rate, beta_1=self.config.beta_1, beta_2=self.config.beta_2)

    def discriminator_logits(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The discriminator's logits of real images and of fakes, float32 [N] each."""
        return self.logits(real, labels), self.logits(fake, labels)

    def gradient_penalty(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, float]:
        """None."""
        return tf.constant(0.0), 0.0

    def augment(self, images: tf.Tensor, stream: int) -> tf.Tensor:
        """The images as they are."""
        return images
