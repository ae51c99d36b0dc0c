"""One step of a GAN as a book has it, in one piece: what `train_loop.GanLoop` does, to read first.

The loop does the same with a compiled graph, fewer passes through the discriminator, bfloat16 and
shifted images, and takes other losses than this one, the default's (`losses.py`). A test holds both
to the same weights.
"""

import keras
import tensorflow as tf
from tensorflow.nn import softplus


def reference_step(
    generator: keras.Model,
    discriminator: keras.Model,
    generator_optimizer: keras.optimizers.Optimizer,
    discriminator_optimizer: keras.optimizers.Optimizer,
    real: tf.Tensor,
    labels: tf.Tensor,
    latents: tf.Tensor,
    penalty_weight: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Updates the discriminator, then the generator; returns their losses.

    Args:
      generator: latents and labels to images; discriminator: images and labels to logits [N, 1].
      generator_optimizer, discriminator_optimizer: of the two.
      real: float32 [N, H, W, C] in [-1, 1]; labels: int64 [N]; latents: float32 [N, latent_dim].
      penalty_weight: of R1 in this step; 0 for none.
    """
    with tf.GradientTape() as generator_tape:  # it is needed below, when the fakes are judged
        fakes = generator([latents, labels], training=True)

    # The discriminator's turn: high logits for real images, low ones for fakes.
    with tf.GradientTape() as tape:
        loss_real = tf.reduce_mean(softplus(-discriminator([real, labels], training=True)))
        loss_fake = tf.reduce_mean(softplus(discriminator([fakes, labels], training=True)))
        discriminator_loss = loss_real + loss_fake
        if penalty_weight > 0:  # R1: its logit may not be steep at real images
            with tf.GradientTape() as slope_tape:
                slope_tape.watch(real)
                logits = discriminator([real, labels], training=True)
            slopes = slope_tape.gradient(logits, real)
            penalty = tf.reduce_mean(tf.reduce_sum(slopes**2, axis=[1, 2, 3])) / 2
            discriminator_loss += penalty_weight * penalty
    weights = discriminator.trainable_variables
    discriminator_optimizer.apply(tape.gradient(discriminator_loss, weights), weights)

    # The generator's turn: the same fakes are to get high logits from the new discriminator.
    with generator_tape:
        logits = discriminator([fakes, labels], training=True)
        generator_loss = tf.reduce_mean(softplus(-logits))
    weights = generator.trainable_variables
    generator_optimizer.apply(generator_tape.gradient(generator_loss, weights), weights)
    return discriminator_loss, generator_loss
