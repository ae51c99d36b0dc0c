"""The models that this project descends from are what was published of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.conftest import TINY_OF
from trainer import models
from trainer.training import LOOPS
from trainer.training_config import make_config
from trainer.variants import blocks5

VARIANTS = ("dcgan", "blocks5", "gaussian_mlp")


def loop_of(tiny_data, model, **changes):
    config = make_config(**{**TINY_OF[model], **changes})
    return LOOPS[model](*tiny_data, config, 4, 3)


def networks_of(model, precision="float32", **settings):
    config = make_config(model=model, **settings)
    architecture = LOOPS[model].architecture
    return config, models.build_networks(config, 10, precision, architecture)


def trained(network) -> int:
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


@pytest.mark.parametrize("model", VARIANTS)
def test_networks_map_latents_to_images_and_images_to_one_logit_without_labels(model):
    config, networks = networks_of(model, "bfloat16")
    image = networks.generator([np.zeros([3, config.latent_dim], np.float32)], training=False)
    assert image.shape == (3, 28, 28, 1) and image.dtype == tf.float32
    assert np.abs(image).max() <= 1.0
    logit = networks.discriminator([image], training=False)
    assert logit.shape == (3, 1) and logit.dtype == tf.float32


def test_dcgan_is_transposed_convolutions_against_convolutions_down_to_2048():
    config, networks = networks_of("dcgan")
    assert (config.latent_dim, config.batch_size) == (100, 256)
    shapes = [tuple(layer.output.shape[1:]) for layer in networks.discriminator.layers]
    assert shapes[0] == (28, 28, 1) and shapes[-2:] == [(2048,), (1,)]
    kinds = [type(layer).__name__ for layer in networks.generator.layers]
    assert kinds.count("Conv2DTranspose") == 2 and "Conv2D" not in kinds
    assert networks.generator.layers[-1].output.shape[1:] == (28, 28, 1)


def test_dcgan_draws_uniform_latents(tiny_data):
    loop = loop_of(tiny_data, "dcgan", batch_size=256)
    latents = loop.latent_batch().numpy()
    assert -1 <= latents.min() < -0.9 and 0.9 < latents.max() <= 1
    assert np.std(latents) == pytest.approx(3**-0.5, rel=0.1)


@pytest.mark.parametrize(
    ("normalization", "activation", "initializer"),
    [("batch", "relu", "xavier"), ("group", "leaky_relu", "normal")],
)
def test_blocks5_has_five_blocks_a_side_and_the_published_size(
    normalization, activation, initializer
):
    config, networks = networks_of(
        "blocks5", normalization=normalization, activation=activation, initializer=initializer
    )
    assert (config.latent_dim, config.batch_size) == (196, 32)
    norm = {"batch": "FusedBatchNormalization", "group": "GroupNormalization"}[normalization]
    act = {"relu": "ReLU", "leaky_relu": "LeakyReLU"}[activation]
    for network, published in ((networks.generator, 100_352), (networks.discriminator, 100_137)):
        kinds = [type(layer).__name__ for layer in network.layers]
        blocks = [
            kinds[i : i + 3] for i, kind in enumerate(kinds) if kinds[i + 1 : i + 2] == [norm]
        ]
        assert len(blocks) == 5
        for convolution, normalised, activated in blocks:
            assert convolution.startswith("Conv2D") and (normalised, activated) == (norm, act)
        assert trained(network) == pytest.approx(published, rel=0.002)
    kernel = networks.generator.get_layer("convolution_2").kernel.numpy()
    if initializer == "normal":
        assert kernel.std() == pytest.approx(0.02, rel=0.05) and np.abs(kernel).max() > 0.06
    else:  # Glorot & Bengio 2010: uniform within sqrt(6 / (fan in + fan out))
        limit = (6 / (4 * 4 * (16 + 48))) ** 0.5
        assert kernel.std() == pytest.approx(limit / 3**0.5, rel=0.05)
        assert np.abs(kernel).max() <= limit


def test_blocks5_takes_the_optimizer_and_the_rate_of_the_settings(tiny_data):
    adam = loop_of(tiny_data, "blocks5", learning_rate=0.0001).generator_optimizer
    assert isinstance(adam, keras.optimizers.Adam)
    assert float(adam.learning_rate) == pytest.approx(1e-4)
    sgd = loop_of(tiny_data, "blocks5", optimizer="sgd").discriminator_optimizer
    assert isinstance(sgd, keras.optimizers.SGD)
    assert float(sgd.learning_rate) == pytest.approx(1e-3)


def test_the_reconstruction_loss_is_the_error_against_the_nearest_real_image():
    random = np.random.default_rng(0)
    real = random.uniform(-1, 1, [4, 28, 28, 1]).astype(np.float32)
    assert float(blocks5.reconstruction_loss(real[[2, 0]], real)) == pytest.approx(0, abs=1e-6)
    fake = random.uniform(-1, 1, [3, 28, 28, 1]).astype(np.float32)
    errors = ((fake[:, None] - real[None]) ** 2).mean((2, 3, 4))
    found = blocks5.reconstruction_loss(fake, real)
    np.testing.assert_allclose(found, errors.min(1).mean(), rtol=1e-5)


def test_gaussian_mlp_is_dense_and_its_discriminator_sees_half_real_half_fake(tiny_data):
    loop = loop_of(tiny_data, "gaussian_mlp", batch_size=32)
    for network in (loop.generator, loop.discriminator):
        assert not [layer for layer in network.layers if "Conv" in type(layer).__name__]
    latents = loop_of(tiny_data, "gaussian_mlp", batch_size=512).latent_batch().numpy()
    assert np.std(latents) == pytest.approx(1, rel=0.05) and latents.max() > 2
    real, labels = loop.real_batch()
    fake = loop.generator([loop.latent_batch()])
    assert (len(real), len(fake)) == (16, 32)
    seen = []
    loop.logits = lambda images, labels: seen.append(images) or tf.zeros(len(images))
    real_logits, fake_logits = loop.discriminator_logits(real, fake, labels)
    assert (len(real_logits), len(fake_logits)) == (16, 16)
    (batch,) = seen
    np.testing.assert_array_equal(batch, np.concatenate([real, fake[:16]]))


@pytest.mark.parametrize("model", VARIANTS)
def test_without_an_average_the_generator_itself_is_kept(tiny_data, model):
    loop = loop_of(tiny_data, model)
    for weight in loop.generator.weights:
        weight.assign(weight + 1.0)
    loop.update_average()
    for average, weight in zip(loop.average.weights, loop.generator.weights, strict=True):
        np.testing.assert_array_equal(average.numpy(), weight.numpy())
