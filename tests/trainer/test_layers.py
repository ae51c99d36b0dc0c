import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import FusedBatchNormalization, LeakyReLU, PixelShuffle, PixelUnshuffle


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(1.0, 2.0, [6, 4, 4, 8]).astype(np.float32)


def test_fused_batch_normalization_is_keras_own_in_training_and_inference(images):
    ours = FusedBatchNormalization(momentum=0.5, epsilon=1e-3)
    theirs = keras.layers.BatchNormalization(momentum=0.5, epsilon=1e-3)
    for training in (True, True, False):
        np.testing.assert_allclose(
            ours(images, training=training), theirs(images, training=training), atol=2e-2
        )
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5)
    # The kernel's variance is the unbiased one.
    unbiased = images.reshape(-1, 8).var(0, ddof=1)
    np.testing.assert_allclose(ours.moving_variance, 0.25 + 0.75 * unbiased, rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_leaky_relu_and_its_gradient(policy):
    x = tf.constant([-2.0, -0.5, 0.5, 3.0])
    layer = LeakyReLU(dtype=policy)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x) * tf.constant([1.0, 2.0, 3.0, 4.0], layer.compute_dtype)
    np.testing.assert_allclose(tf.cast(y, tf.float32), [-0.4, -0.2, 1.5, 12.0], rtol=1e-2)
    np.testing.assert_allclose(tape.gradient(y, x), [0.2, 0.4, 3.0, 4.0], rtol=1e-2)


def test_leaky_relu_has_the_second_derivatives_that_a_gradient_penalty_needs():
    x = tf.constant([-2.0, 3.0])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(LeakyReLU()(x) ** 2)
        gradient = inner.gradient(y, x)
    np.testing.assert_allclose(outer.gradient(gradient, x), [2 * 0.2**2, 2.0], rtol=1e-6)


def test_pixel_shuffle_makes_blocks_of_channels_and_unshuffle_undoes_it(images):
    block = np.arange(4, dtype=np.float32).reshape([1, 1, 1, 4])
    np.testing.assert_array_equal(PixelShuffle()(block)[0, ..., 0], [[0, 1], [2, 3]])
    shuffled = PixelShuffle()(images)
    assert shuffled.shape == (6, 8, 8, 2)
    np.testing.assert_array_equal(PixelUnshuffle()(shuffled), images)
