import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import models
from trainer.optimizers import Muon, is_kernel, orthogonalize
from trainer.training_config import make_config


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (12, 12)])
def test_orthogonalize_keeps_directions_and_makes_their_lengths_about_1(shape):
    matrix = np.random.default_rng(0).normal(size=shape) * np.logspace(0, 1, shape[1])
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    result = orthogonalize(tf.constant(1e-5 * matrix, tf.float32)).numpy()
    lengths = left.T @ result @ right.T
    assert np.all((np.diag(lengths) > 0.65) & (np.diag(lengths) < 1.25))
    np.testing.assert_allclose(lengths, np.diag(np.diag(lengths)), atol=1e-3)


def test_a_gradient_of_zeros_changes_nothing():
    assert not orthogonalize(tf.zeros([4, 6])).numpy().any()


def test_kernels_are_those_that_map_vectors_to_vectors():
    networks = models.build_networks(make_config(), 10, "float32")
    variables = networks.generator.trainable_variables + networks.discriminator.trainable_variables
    assert [v.path for v in variables if is_kernel(v)] == [
        "project/kernel",
        "up_14x14/kernel",
        "to_blocks/kernel",
        "conv_14x14/kernel",
        "down_7x7/kernel",
        "features/kernel",
    ]


def test_a_kernel_moves_by_the_learning_rate_and_other_weights_as_with_adam():
    kernel, bias = (keras.Variable(np.zeros(shape, np.float32)) for shape in ([3, 3, 8, 16], [16]))
    other = keras.Variable(np.zeros(16, np.float32))
    settings = {"learning_rate": 0.01, "beta_1": 0.0, "beta_2": 0.99}
    random = np.random.default_rng(1)
    muon, adam = Muon(**settings), keras.optimizers.Adam(**settings)
    for _ in range(2):
        slope = tf.constant(random.normal(size=16), tf.float32)
        before = kernel.numpy()
        muon.apply(
            [tf.constant(random.normal(size=kernel.shape), tf.float32), slope], [kernel, bias]
        )
        adam.apply([slope], [other])
        change = np.sqrt(np.mean(np.square(kernel.numpy() - before)))
        assert change == pytest.approx(1.2 * 0.01, rel=0.25)
    np.testing.assert_array_equal(bias.numpy(), other.numpy())
