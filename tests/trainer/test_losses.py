import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import LOSSES, r1_penalty


def test_non_saturating_is_cross_entropy_on_sigmoids():
    logits = np.array([-1.5, 0.0, 2.0], np.float32)
    probability = 1 / (1 + np.exp(-logits))
    loss = LOSSES["non_saturating"]
    np.testing.assert_allclose(loss.real(logits), -np.log(probability).mean(), rtol=1e-6)
    np.testing.assert_allclose(loss.fake(logits), -np.log(1 - probability).mean(), rtol=1e-6)
    np.testing.assert_allclose(loss.generator(logits), -np.log(probability).mean(), rtol=1e-6)


def test_non_saturating_stays_finite_at_logits_where_a_sigmoid_is_0_or_1():
    loss = LOSSES["non_saturating"]
    assert float(loss.real(tf.constant([-200.0]))) == 200.0
    assert float(loss.fake(tf.constant([200.0]))) == 200.0


def test_hinge_stops_at_the_margin():
    loss = LOSSES["hinge"]
    logits = tf.constant([-2.0, 0.5, 3.0])
    assert float(loss.real(logits)) == pytest.approx((3.0 + 0.5 + 0.0) / 3)
    assert float(loss.fake(logits)) == pytest.approx((0.0 + 1.5 + 4.0) / 3)
    assert float(loss.generator(logits)) == pytest.approx(-0.5)


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights():
    weights = np.random.default_rng(1).normal(size=[4, 4, 1]).astype(np.float32)
    images = np.random.default_rng(2).normal(size=[5, 4, 4, 1]).astype(np.float32)

    def logits_of(x):
        return tf.reduce_sum(x * weights, [1, 2, 3])

    penalty = r1_penalty(logits_of, tf.constant(images))
    np.testing.assert_allclose(penalty, 0.5 * (weights**2).sum(), rtol=1e-5)


def test_saturating_is_the_discriminators_loss_turned_round():
    loss, logits = LOSSES["saturating"], tf.constant([-3.0, 1.0])
    assert float(loss.generator(logits)) == -float(loss.fake(logits))


def test_wgan_is_a_difference_of_means():
    loss, logits = LOSSES["wgan-gp"], tf.constant([-3.0, 1.0])
    assert [float(f(logits)) for f in loss[:3]] == [1.0, -1.0, 1.0]


@pytest.mark.parametrize("shape", [[2], [4, 4, 1]])
def test_its_penalty_on_a_linear_discriminator_is_how_far_its_slope_is_from_1(shape):
    generator = np.random.default_rng(1)
    weights = generator.normal(size=shape).astype(np.float32)
    real, fake = generator.normal(size=[2, 5, *shape]).astype(np.float32)

    def logits_of(x):
        return tf.reduce_sum(x * weights, list(range(1, 1 + len(shape))))

    penalty = LOSSES["wgan-gp"].penalty(logits_of, tf.constant(real), tf.constant(fake))
    np.testing.assert_allclose(penalty, (np.sqrt((weights**2).sum()) - 1) ** 2, rtol=1e-4)


def test_its_penalty_looks_between_real_and_fake():
    """The slope of x^2 is 2x: 1 at the middle of 0 and 1, 0 and 2 at the ends."""
    real, fake = tf.zeros([3, 1]), tf.ones([3, 1])
    penalty = LOSSES["wgan-gp"].penalty(lambda x: tf.square(x[:, 0]), real, fake)
    np.testing.assert_allclose(penalty, (1 + 0 + 1) / 3, rtol=1e-4)
