import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.conftest import TINY_OF
from trainer import models
from trainer.networks import network_table
from trainer.training import LOOPS
from trainer.training_config import make_config


@pytest.mark.parametrize(("num_classes", "precision"), [(2, "float32"), (345, "bfloat16")])
def test_networks_take_any_number_of_classes_and_give_float32(tiny_config, num_classes, precision):
    networks = models.build_networks(tiny_config, num_classes, precision)
    latent = np.zeros([3, tiny_config.latent_dim], np.float32)
    label = np.array([0, 1, num_classes - 1])
    image = networks.generator([latent, label], training=False).numpy()
    assert image.shape == (3, 28, 28, 1) and image.dtype == np.float32
    assert np.abs(image).max() <= 1.0
    logit = networks.discriminator([image, label], training=False).numpy()
    assert logit.shape == (3, 1) and logit.dtype == np.float32
    dtypes = {w.dtype for n in (networks.generator, networks.discriminator) for w in n.weights}
    assert dtypes == {"float32"}


@pytest.mark.parametrize("model", LOOPS)
@pytest.mark.parametrize("shape", [(32, 32, 1), (28, 28, 3), (64, 64, 3)])
def test_networks_grow_with_the_image_and_take_colours(model, shape):
    config, architecture = make_config(**TINY_OF[model]), LOOPS[model].architecture
    networks = models.build_networks(config, 2, "float32", architecture, shape)
    labels, latents = tf.constant([0, 1], tf.int64), tf.zeros([2, config.latent_dim])
    image = networks.generator(architecture.inputs(latents, labels), training=False)
    assert image.shape == (2, *shape) and np.abs(image).max() <= 1.0
    logit = networks.discriminator(architecture.inputs(image, labels), training=False)
    assert logit.shape == (2, 1)


def test_there_is_one_block_for_each_doubling():
    assert models.grid_sizes((28, 28, 1)) == [7, 14, 28]
    assert models.grid_sizes((32, 32, 3)) == [8, 16, 32]
    assert models.grid_sizes((64, 64, 3)) == [8, 16, 32, 64]


def test_the_label_changes_image_and_logit(tiny_config):
    keras.utils.set_random_seed(0)
    networks = models.build_networks(tiny_config, 4, "float32")
    latent = np.ones([2, tiny_config.latent_dim], np.float32)
    label = np.array([0, 3])
    image = networks.generator([latent, label], training=False).numpy()
    assert np.abs(image[0] - image[1]).max() > 0
    same = np.repeat(image[:1], 2, 0)
    logit = networks.discriminator([same, label], training=False).numpy()
    assert logit[0] != logit[1]


def test_building_leaves_the_global_policy_as_it_was(tiny_config):
    before = keras.config.dtype_policy()
    models.build_networks(tiny_config, 2, "bfloat16")
    assert keras.config.dtype_policy() == before


def test_a_table_counts_every_parameter_says_which_are_trained_and_what_feeds_a_layer(tiny_config):
    networks = models.build_networks(tiny_config, 4, "float32")
    tables = [network_table(n) for n in (networks.generator, networks.discriminator)]
    for network, table in zip((networks.generator, networks.discriminator), tables, strict=True):
        assert table["parameters"] == network.count_params()
        assert len(table["layers"]) == len(network.layers)
    untrained = tables[0]["parameters"] - tables[0]["trainable_parameters"]
    # Mean and variance of two batch normalisations; the curve and the white of the grey levels.
    assert untrained == 2 * (16 + 8) + 1021 + 2 * 256
    inputs = {row["name"]: row["inputs"] for row in tables[1]["layers"]}
    assert inputs["image"] == []
    assert inputs["logit"] == ["realness", "projection"]
    assert set(inputs["projection"]) == {"label_embedding", "leaky_features"}
