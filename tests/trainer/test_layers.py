import keras
import numpy as np
import pytest
import tensorflow as tf

from common.images import to_uint8
from trainer.layers import (
    FusedBatchNormalization,
    GreyLevels,
    LeakyReLU,
    PixelShuffle,
    PixelUnshuffle,
    white_levels,
)


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


@pytest.fixture(scope="module")
def saturated() -> np.ndarray:
    """Black with grey and white strokes; a third saturates at 252, the others at 254."""
    images = np.zeros([300, 8, 8, 1], np.uint8)
    images[:, 0, :, 0] = np.random.default_rng(0).integers(1, 250, [300, 8])
    images[:100, 1] = 252
    images[100:, 1] = 254
    images[:, 2, 2] = 255  # the brightest pixel of each
    return images


def fitted(saturated, random) -> tuple[GreyLevels, np.ndarray, np.ndarray]:
    """A fitted layer, foggy fakes and latents that it was not fitted to."""
    layer = GreyLevels()
    fakes = np.tanh(random.normal(-1.5, 1.5, [6000, 8, 8, 1])).astype(np.float32)
    latents = random.normal(size=[3000, 2]).astype(np.float32)
    layer(fakes[:1], latents[:1])
    layer.fit(fakes[:3000], saturated)
    return layer, fakes[3000:], latents


def test_fitted_grey_levels_are_distributed_as_in_the_train_images(saturated):
    layer, fakes, latents = fitted(saturated, np.random.default_rng(1))
    shares = [
        np.bincount(x.ravel(), minlength=256) / x.size
        for x in (to_uint8(fakes), to_uint8(layer(fakes, latents).numpy()), saturated)
    ]
    foggy, curved, real = (np.cumsum(share) for share in shares)
    assert np.abs(foggy - real).max() > 0.3
    assert np.abs(curved - real).max() < 0.01
    assert shares[1][0] == pytest.approx(shares[2][0], abs=0.01)


def test_the_curve_keeps_the_order_of_the_pixels(saturated):
    layer, fakes, latents = fitted(saturated, np.random.default_rng(1))
    assert np.all(np.diff(layer.curve.numpy()) >= 0)
    after = layer(fakes[:1], latents[:1]).numpy().ravel()
    assert np.all(np.diff(after[np.argsort(fakes[0].ravel())]) >= 0)


def test_an_image_saturates_at_one_level_and_has_one_brightest_pixel(saturated):
    layer, fakes, latents = fitted(saturated, np.random.default_rng(1))
    levels = to_uint8(layer(fakes, latents).numpy()).reshape(3000, -1)
    assert np.all((levels == 255).sum(1) <= 1)
    low, high = ((levels == level).sum(1) > 1 for level in (252, 254))
    assert not np.any(low & high & ((levels == 253).sum(1) > 3))
    assert np.mean(levels.max(1) == 255) > 0.95


def test_in_training_and_before_it_is_fitted_the_layer_changes_nothing(saturated):
    layer, fakes, latents = fitted(saturated, np.random.default_rng(1))
    np.testing.assert_array_equal(layer(fakes, latents, training=True), fakes)
    np.testing.assert_allclose(GreyLevels()(fakes, latents), fakes, atol=1e-6)


def test_images_that_never_saturate_leave_white_at_255():
    np.testing.assert_array_equal(white_levels(np.full([5, 4, 4, 1], 200, np.uint8)), 1.0)
