"""Where a generator starts from: random vectors that are a function of a key alone."""

import tensorflow as tf


def draw_latents(shape: list[int], key: tf.Tensor, distribution: str) -> tf.Tensor:
    """Random numbers, the same for the same key on every machine (Philox).

    Args:
      shape: of the result.
      key: integers [2].
      distribution: "normal" (standard normal) or "uniform" (on [-1, 1]).

    Returns:
      float32, of that shape.
    """
    if distribution == "uniform":
        return tf.random.stateless_uniform(shape, key, -1.0, 1.0, alg="philox")
    return tf.random.stateless_normal(shape, key, alg="philox")
