"""Layers that Keras lacks, or that its own cost too much time on a CPU in bfloat16."""

import keras
import numpy as np
import tensorflow as tf

from common.images import to_floats

CURVE_POINTS = 4 * 255 + 1  # four per grey level
WHITE_LEVELS = 256  # pairs of levels that stand for those of all train images
SATURATED = 250  # grey levels from here on count as white


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
class GreyLevels(keras.layers.Layer):
    """The generator's last layer: gives its images the grey levels of the train images.

    tanh reaches -1 in the limit only, so a generator that ends with it draws black as grey levels 1
    to 5 and white too dark. A discriminator under a gradient penalty is too smooth to see either.
    After training, `fit` finds the monotone curve from grey level to grey level that gives fakes
    the distribution of levels that train images have. In training the layer does nothing.

    White differs from image to image: one of MNIST saturates at 252, 253, 254 or 255, and its
    brightest pixel is 254 or 255. The first number of the latent chooses such a pair among those of
    the train images.
    """

    def build(self, inputs_shape, latent_shape):
        def weight(name: str, initial: np.ndarray) -> keras.Variable:
            initializer = keras.initializers.Constant(initial.astype(np.float32))
            return self.add_weight(
                name=name, shape=initial.shape, initializer=initializer, trainable=False
            )

        self.curve = weight("curve", np.linspace(-1.0, 1.0, CURVE_POINTS))
        self.white = weight("white", np.ones([WHITE_LEVELS, 2]))

    def call(self, inputs, latent, training=False):
        """Images in [-1, 1], [N, H, W, 1], and normal latents [N, Z] to such images."""
        if training:
            return inputs
        uniform = 0.5 * (1.0 + tf.math.erf(latent[:, 0] / 2.0**0.5))
        row = tf.minimum(tf.cast(uniform * WHITE_LEVELS, tf.int32), WHITE_LEVELS - 1)
        white = tf.gather(tf.convert_to_tensor(self.white), row)[:, tf.newaxis, tf.newaxis]
        curved = self._curved(inputs)
        pixels = tf.reshape(inputs, [-1, inputs.shape[1] * inputs.shape[2]])
        brightest = tf.one_hot(tf.argmax(pixels, axis=1), pixels.shape[1], True, False)
        brightest = tf.reshape(brightest, tf.shape(inputs)) & (curved > white[..., :1])
        return tf.where(brightest, white[..., 1:], tf.minimum(curved, white[..., :1]))

    def _curved(self, inputs):
        """The curve at `inputs`, linear between its points."""
        curve = tf.convert_to_tensor(self.curve)
        position = (inputs + 1.0) * ((CURVE_POINTS - 1) / 2)
        left = tf.clip_by_value(tf.cast(position, tf.int32), 0, CURVE_POINTS - 2)
        share = position - tf.cast(left, tf.float32)
        return (1.0 - share) * tf.gather(curve, left) + share * tf.gather(curve, left + 1)

    def fit(self, fakes: np.ndarray, images: np.ndarray) -> None:
        """Sets the curve and the pairs of white.

        Args:
          fakes: float32 [N, H, W, 1] in [-1, 1], as the layer gets them.
          images: uint8 [M, H, W, 1], the train images.
        """
        real = np.where(images >= SATURATED, 255, images)
        real_shares = np.cumsum(np.bincount(real.ravel(), minlength=256)) / real.size
        points = np.linspace(-1.0, 1.0, CURVE_POINTS)
        fake_shares = np.searchsorted(np.sort(fakes, axis=None), points, side="right") / fakes.size
        # Level L stands for all that is rounded to it, L - 0.5 to L + 0.5.
        levels = np.interp(fake_shares, [0.0, *real_shares], np.arange(257) - 0.5)
        self.curve.assign(to_floats(np.clip(levels, 0.0, 255.0)))
        self.white.assign(white_levels(images))

    def compute_output_shape(self, inputs_shape, latent_shape):
        return inputs_shape


def white_levels(images: np.ndarray) -> np.ndarray:
    """For `GreyLevels.white`: at which grey levels images saturate.

    Args:
      images: uint8 [N, H, W, 1].

    Returns:
      float32 [WHITE_LEVELS, 2] in [-1, 1], in order: the most frequent level of an image that is
      at least SATURATED, and its highest level; both 255 for an image that has none.
    """
    pixels = images.reshape(len(images), -1)
    levels = np.arange(SATURATED, 256)
    counts = np.stack([np.count_nonzero(pixels == level, axis=1) for level in levels], axis=1)
    white = np.where(counts.any(1), levels[counts.argmax(1)], 255)
    pairs = np.stack([white, np.where(counts.any(1), pixels.max(1), 255)], axis=1)
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    rows = np.linspace(0, len(pairs) - 1, WHITE_LEVELS).round().astype(int)
    return to_floats(pairs[rows].astype(np.float32))


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
