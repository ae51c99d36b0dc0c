"""What the discriminator is shown instead of an image, so that it can't learn the images by heart.

A discriminator that has seen the same real images for a hundred epochs tells them from others of
their kind, and what it then teaches the generator is no longer about digits (Karras et al. 2020,
"Training Generative Adversarial Networks with Limited Data", section 2). Real images and fakes pass
through the same shifts, and the generator's gradient through them too (Zhao et al. 2020,
"Differentiable Augmentation"), so the generator is still asked for images that are not shifted: an
image is left as it is often enough that it would be noticed if they were (Karras et al., section
2.2).
"""

import tensorflow as tf


def shift_some(images: tf.Tensor, key: tf.Tensor, share: float, pixels: int) -> tf.Tensor:
    """Moves some of the images by whole pixels; what comes in from outside is background, -1.

    Args:
      images: float32 [N, H, W, C] in [-1, 1].
      key: integers [2]; the same key moves the same images by the same.
      share: how likely an image is to be moved, 0..1.
      pixels: each way by at most so many, each number alike, none included.

    Returns:
      float32 [N, H, W, C], differentiable by `images`.
    """
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    shift_key, choice_key = tf.unstack(tf.random.experimental.stateless_split(key, 2))
    shifts = tf.random.stateless_uniform(
        [count, 2], shift_key, -pixels, pixels + 1, tf.int32, alg="philox"
    )
    chosen = tf.random.stateless_uniform([count, 1], choice_key, alg="philox") < share
    shifts = tf.where(chosen, shifts, 0)
    # As products with matrices of zeros and ones, whose gradient is one too; a row that none of
    # its columns reaches is 0, and so is background here.
    rows = tf.one_hot(tf.range(height) - shifts[:, :1], height)  # [N, to, from]
    columns = tf.one_hot(tf.range(width) - shifts[:, 1:], width)
    planes = tf.transpose(images + 1.0, [0, 3, 1, 2])
    moved = tf.matmul(rows[:, None], tf.matmul(planes, columns[:, None], transpose_b=True))
    return tf.transpose(moved, [0, 2, 3, 1]) - 1.0
