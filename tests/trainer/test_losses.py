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
