"""The optimizer of the default model: Muon for the kernels of its networks, Adam for the rest."""

import keras
import tensorflow as tf

# Coefficients and number of the Newton-Schulz steps (Jordan et al. 2024).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonalize(matrix: tf.Tensor) -> tf.Tensor:
    """The nearest matrix whose singular values are all 1, roughly: they are 0.68 to 1.21.

    The iteration of Jordan et al. (2024, "Muon"), on the product of the matrix with itself along
    its longer side, which is small; so it takes a quarter of the time of one on the whole matrix.

    Args:
      matrix: float32 [rows, columns].

    Returns:
      float32 of the same shape; zeros where all of it is 0.
    """
    a, b, c = NEWTON_SCHULZ
    rows, columns = matrix.shape
    tall = rows > columns
    gram = tf.matmul(matrix, matrix, transpose_a=tall, transpose_b=not tall)
    squared_norm = tf.maximum(tf.linalg.trace(gram), 1e-30)
    gram /= squared_norm
    identity = tf.eye(min(rows, columns))
    factor = identity * tf.math.rsqrt(squared_norm)
    for _ in range(STEPS):  # matrix = factor . matrix; all of these commute
        polynomial = a * identity + b * gram + c * tf.matmul(gram, gram)
        factor = tf.matmul(polynomial, factor)
        gram = tf.matmul(tf.matmul(polynomial, polynomial), gram)
    return tf.matmul(matrix, factor) if tall else tf.matmul(factor, matrix)


class Muon(keras.optimizers.Adam):
    """Adam, but kernels are changed along the orthogonalized gradient (Jordan et al. 2024).

    All directions of a kernel, the rare ones too, move by the same length. After a tenth of
    `standard` digits are as good as after a fifth with Adam; after all of it a little better.
    Keras' own Muon leaves kernels of convolutions to Adam.

    Args:
      momentum: share of the earlier gradients in a kernel's update. With 0.9 a GAN is worse.
      update_scale: root mean square of a kernel's update over the learning rate. That of Adam
        with `beta_1` of 0 is about 1.
      **kwargs: of `keras.optimizers.Adam`.
    """

    def __init__(self, *args, momentum: float = 0.5, update_scale: float = 1.2, **kwargs):
        super().__init__(*args, **kwargs)
        self.momentum = momentum
        self.update_scale = update_scale

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if not is_kernel(self._trainable_variables[index]):
            super().update_step(gradient, variable, learning_rate)
            return
        average = self._momentums[index]
        self.assign_add(average, (1.0 - self.momentum) * (gradient - average.value))
        nesterov = gradient + self.momentum * (average.value - gradient)
        matrix = tf.reshape(nesterov, [-1, variable.shape[-1]])
        longer = float(max(matrix.shape))
        update = self.update_scale * longer**0.5 * orthogonalize(matrix)
        rate = tf.cast(learning_rate, tf.float32)
        self.assign_sub(variable, rate * tf.reshape(update, variable.shape))

    def get_config(self):
        own = {"momentum": self.momentum, "update_scale": self.update_scale}
        return {**super().get_config(), **own}


def is_kernel(variable: keras.Variable) -> bool:
    """Whether a variable maps vectors to vectors: of a dense layer or convolution of 4 or more."""
    shape = variable.shape
    if len(shape) not in (2, 4) or "embedding" in variable.path:
        return False
    return min(shape[-1], tf.TensorShape(shape[:-1]).num_elements()) >= 4
