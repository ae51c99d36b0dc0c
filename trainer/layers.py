"""Layers that Keras lacks, or that its own cost too much time on a CPU in bfloat16."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("mnist_gan")
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation over [N, H, W, C] by TensorFlow's fused kernel (Ioffe & Szegedy 2015).

    In bfloat16 it takes about a quarter of the time of `keras.layers.BatchNormalization`, which
    goes through float32 and one kernel for each operation.

    Args:
      momentum: share of the moving statistics that a training step keeps.
      epsilon: added to the variance.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-4, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        def weight(name: str, initializer: str, trainable: bool) -> keras.Variable:
            # The kernel takes these in float32 whatever the images are.
            return self.add_weight(
                name=name,
                shape=[input_shape[-1]],
                initializer=initializer,
                trainable=trainable,
                autocast=False,
            )

        self.gamma = weight("gamma", "ones", True)
        self.beta = weight("beta", "zeros", True)
        self.moving_mean = weight("moving_mean", "zeros", False)
        self.moving_variance = weight("moving_variance", "ones", False)

    def call(self, inputs, training=False):
        moving = [self.moving_mean.value, self.moving_variance.value]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=tf.zeros([0]) if training else moving[0],
            variance=tf.zeros([0]) if training else moving[1],
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            moving[0].assign_add((1.0 - self.momentum) * (mean - moving[0]))
            moving[1].assign_add((1.0 - self.momentum) * (variance - moving[1]))
        return outputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


@tf.custom_gradient
def _leaky_relu(x: tf.Tensor) -> tuple[tf.Tensor, object]:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # Through float32: bfloat16's own kernel is not vectorised and takes six times as long.
        result = tf.raw_ops.LeakyReluGrad(
            gradients=tf.cast(upstream, tf.float32),
            features=tf.cast(x, tf.float32),
            alpha=LeakyReLU.SLOPE,
        )
        return tf.cast(result, x.dtype)

    return tf.nn.leaky_relu(x, LeakyReLU.SLOPE), gradient


@keras.saving.register_keras_serializable("mnist_gan")
class LeakyReLU(keras.layers.Layer):
    """x where positive, 0.2 x elsewhere."""

    SLOPE = 0.2

    def call(self, inputs):
        return _leaky_relu(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("mnist_gan")
class PixelShuffle(keras.layers.Layer):
    """[N, H, W, 4 C] to [N, 2 H, 2 W, C]: four channels become a block of 2x2 pixels.

    A convolution before it does what a transposed one of stride 2 would (Shi et al. 2016), and is
    several times as fast on a CPU where C is small.
    """

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, 2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, 2 * height, 2 * width, channels // 4)


@keras.saving.register_keras_serializable("mnist_gan")
class PixelUnshuffle(keras.layers.Layer):
    """[N, 2 H, 2 W, C] to [N, H, W, 4 C], the inverse of `PixelShuffle`."""

    def call(self, inputs):
        return tf.nn.space_to_depth(inputs, 2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // 2, width // 2, 4 * channels)
