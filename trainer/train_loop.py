"""The GAN's training loop, written out: discriminator step, generator step, average, repeat.

Everything random is a function of (seed, step): which images, which latents. So the state of a run
is its weights, its optimizers' slots and its step; `trainer/training.py` saves it.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.images import to_uint8
from trainer import losses, models, own_networks
from trainer.augmentation import shift_some
from trainer.latents import draw_latents
from trainer.layers import GreyLevels
from trainer.optimizers import Muon
from trainer.training_config import TrainingConfig, resolve_precision

GREY_LEVEL_FAKES = 5000  # to which the last layer of the generator is fitted
GREY_LEVEL_REALS = 250_000  # at most, spread over all


class GanLoop:
    """Networks, optimisers and the step that updates them.

    Attributes:
      architecture: the networks.
      metrics: names of what each step measures.

    Args:
      images: float32 [N, H, W, C] in [-1, 1], kept in memory unless they are a mapped file.
      labels: int [N], each in 0..num_classes-1.
      config: the settings of its model.
      num_classes: number of labels.
      seed: decides weights, order of images and latents.
    """

    architecture = models.CDCGAN
    metrics: tuple[str, ...] = (
        "d_loss_real",
        "d_loss_fake",
        "g_loss",
        "r1",
        "d_gradient_norm",
        "g_gradient_norm",
    )

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        config: TrainingConfig,
        num_classes: int,
        seed: int,
    ):
        self.config: Any = config  # of the loop's own model
        self.images = images if _is_mapped(images) else tf.constant(images, tf.float32)
        self.labels = tf.constant(labels, tf.int64)

        own = getattr(config, "networks", None)
        self._own_loss: losses.GanLoss | None = None
        if own is not None:
            self.architecture, self._own_loss = own_networks.load(own)
        keras.utils.set_random_seed(seed % 2**32)
        precision = resolve_precision(config.precision)
        _, height, width, channels = images.shape
        shape = (height, width, channels)
        networks = models.build_networks(config, num_classes, precision, self.architecture, shape)
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.average = models.float32_generator(config, num_classes, self.architecture, shape)
        self.average.set_weights(self.generator.get_weights())

        rate = config.learning_rate
        self.generator_optimizer = self.make_optimizer(rate)
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer = self.make_optimizer(rate * self.discriminator_rate_ratio)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self.seed = tf.constant([seed % 2**63, 0], tf.int64)
        self.step = tf.Variable(0, dtype=tf.int64)
        # Since the last line of history, and of the last step.
        self.metric_sums = tf.Variable(tf.zeros([len(self.metrics)]))
        self.last_metrics = tf.Variable(tf.zeros([len(self.metrics)]))
        self._stopping = tf.Variable(False)

    def make_optimizer(self, rate: float) -> keras.optimizers.Optimizer:
        """Muon or Adam, its learning rate falling linearly from `rate` to 0."""
        config = self.config
        optimizer = {"muon": Muon, "adam": keras.optimizers.Adam}[config.optimizer]
        return optimizer(
            keras.optimizers.schedules.PolynomialDecay(rate, config.steps, 0.0),
            beta_1=config.beta_1,
            beta_2=config.beta_2,
        )

    @property
    def discriminator_rate_ratio(self) -> float:
        """The discriminator's learning rate over the generator's."""
        return self.config.discriminator_rate_ratio

    @property
    def loss(self) -> losses.GanLoss:
        """The losses of both networks."""
        return self._own_loss or losses.LOSSES[self.config.loss]

    @property
    def real_batch_size(self) -> int:
        """Real images that the discriminator sees in one step."""
        return self.config.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every real image was seen."""
        return -(-self.images.shape[0] // self.real_batch_size)

    @property
    def sample_interval(self) -> int:
        """Steps from one sample grid to the next."""
        return self.config.sample_interval

    @property
    def model_interval(self) -> int:
        """Steps from one generator that is saved as a file of its own to the next; 0 is never."""
        return 0

    def network_state(self) -> dict[str, tf.Variable]:
        """The weights of both networks and of the average, by name."""
        owners = {
            "generator": self.generator.weights,
            "discriminator": self.discriminator.weights,
            "average": self.average.weights,
        }
        return _named(owners)

    def state(self) -> dict[str, tf.Variable]:
        """All that a checkpoint must hold, by name."""
        optimizers = {
            "generator_optimizer": self.generator_optimizer.variables,
            "discriminator_optimizer": self.discriminator_optimizer.variables,
        }
        return {
            **self.network_state(),
            # Without their paths, in which later Keras numbers the optimizers of a process.
            **_named(optimizers, "name"),
            "step": self.step,
            "metric_sums": self.metric_sums,
        }

    @tf.function
    def run(self, count: tf.Tensor) -> tf.Tensor:
        """Makes `count` steps (int64 scalar); ends early, with False, at a loss not finite.

        Once `stop` was called, by whatever thread, it ends before the next step.
        """
        finite = tf.constant(True)
        end = self.step + count
        while finite and self.step < end and not self._stopping:
            metrics = self.train_step()
            self.step.assign_add(1)
            self.metric_sums.assign_add(metrics)
            self.last_metrics.assign(metrics)
            finite = tf.reduce_all(tf.math.is_finite(metrics))
        return finite

    def stop(self) -> None:
        """Lets `run` end before its next step, and make none from now on."""
        self._stopping.assign(True)

    def train_step(self) -> tf.Tensor:
        """One update of each network; returns the values of `metrics`, float32."""
        real, labels = self.real_batch()
        latent = self.latent_batch()
        with tf.GradientTape() as tape:
            fake = self.generator(self.architecture.inputs(latent, labels), training=True)
        measured = self.discriminator_step(real, fake, labels)
        with tape:  # the same fakes, seen by the discriminator that has just learnt from them
            g_loss = self.loss.generator(self.logits(self.augment(fake, 2), labels))
        gradients = tape.gradient(g_loss, self.generator.trainable_variables)
        self.generator_optimizer.apply(gradients, self.generator.trainable_variables)
        self.update_average()
        measured |= {"g_loss": g_loss, "g_gradient_norm": tf.linalg.global_norm(gradients)}
        return tf.stack([measured[name] for name in self.metrics])

    def discriminator_step(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Updates the discriminator.

        Args:
          real: float32 [R, H, W, C] in [-1, 1].
          fake: float32 [N, H, W, C] in [-1, 1].
          labels: int64 [N], of both.

        Returns:
          Scalars by name: its losses, the penalty and the norm of its gradient.
        """
        real, fake = self.augment(real, 0), self.augment(fake, 1)
        with tf.GradientTape() as tape:
            real_logits, fake_logits = self.discriminator_logits(real, fake, labels)
            loss_real, loss_fake = self.loss.real(real_logits), self.loss.fake(fake_logits)
            penalty, strength = self.gradient_penalty(real, fake, labels)
            loss = loss_real + loss_fake + strength * penalty
        gradients = tape.gradient(loss, self.discriminator.trainable_variables)
        self.discriminator_optimizer.apply(gradients, self.discriminator.trainable_variables)
        return {
            "d_loss_real": loss_real,
            "d_loss_fake": loss_fake,
            "r1": penalty,
            "d_gradient_norm": tf.linalg.global_norm(gradients),
        }

    def discriminator_logits(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The discriminator's logits of real images and of fakes, float32 [N] each."""
        logits = self.logits(tf.concat([real, fake], 0), tf.concat([labels, labels], 0))
        return tuple(tf.split(logits, 2))

    def gradient_penalty(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, float]:
        """The penalty on the discriminator's slope (the default's is R1) and its weight.

        It is measured at every r1_interval-th step, and is 0 at the others, so it weighs as many
        times as much (Karras et al. 2020, section 4.1).
        """
        config = self.config
        penalty = tf.constant(0.0)
        if config.r1_weight > 0 and self.step % config.r1_interval == 0:
            penalty = self.loss.penalty(lambda images: self.logits(images, labels), real, fake)
        return penalty, config.r1_weight * config.r1_interval

    def augment(self, images: tf.Tensor, stream: int) -> tf.Tensor:
        """Some of the images shifted; each `stream` of a step has random numbers of its own."""
        config = self.config
        if config.augment_share == 0:
            return images
        key = tf.random.experimental.stateless_fold_in(self.seed, self.step)
        key = tf.random.experimental.stateless_fold_in(key, stream)
        return shift_some(images, key, config.augment_share, config.augment_shift)

    def logits(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The discriminator's logits of images in [-1, 1], float32 [N, H, W, C] to [N]."""
        inputs = self.architecture.inputs(images, labels)
        return self.discriminator(inputs, training=True)[:, 0]

    def real_batch(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The step's images, float32 [R, H, W, C] in [-1, 1], and labels, int64 [R].

        Each epoch visits every image once, in an order of its own. The order is a cipher
        of the position, computed for the positions asked for, so there is nothing to store.
        """
        count, batch = self.images.shape[0], self.real_batch_size
        position = self.step * batch + tf.range(batch, dtype=tf.int64)
        epoch = position // count
        # The raw op, since `index_shuffle` pads a matrix of seeds on both sides (TF 2.16).
        order = tf.raw_ops.RandomIndexShuffle(
            index=position % count,
            seed=tf.stack([tf.fill([batch], self.seed[0]), epoch, tf.zeros_like(epoch)], 1),
            max_index=np.int64(count - 1),
            rounds=4,
        )
        images = tf.gather(self.images, order) if not _is_mapped(self.images) else self._read(order)
        return images, tf.gather(self.labels, order)

    def _read(self, rows: tf.Tensor) -> tf.Tensor:
        images = tf.numpy_function(lambda rows: self.images[rows], [rows], tf.float32)
        images.set_shape([*rows.shape, *self.images.shape[1:]])
        return images

    def latent_batch(self) -> tf.Tensor:
        """The step's latents, float32 [batch_size, latent_dim]."""
        key = tf.random.experimental.stateless_fold_in(self.seed, self.step)
        shape = [self.config.batch_size, self.config.latent_dim]
        return draw_latents(shape, key, self.architecture.latent_distribution)

    def update_average(self) -> None:
        """Moves the averaged generator, BatchNorm's statistics included, towards the present one.

        The half-life grows with the steps made, so that the first, bad weights are forgotten
        (Karras et al. 2020, StyleGAN2-ADA, EMA ramp-up).
        """
        config = self.config
        steps = tf.cast(self.step + 1, tf.float32)
        half_life = tf.minimum(config.ema_half_life, config.ema_ramp_up * steps)
        rate = 1.0 - 0.5 ** (1.0 / half_life)
        for average, weight in zip(self.average.weights, self.generator.weights, strict=True):
            if config.ema_half_life > 0:
                average.assign_add(rate * (weight - average))
            else:
                average.assign(weight)

    def fit_grey_levels(self) -> None:
        """Fits the last layer of the averaged generator, if it is a `GreyLevels`, to its fakes."""
        layer = self.average.layers[-1]
        if not isinstance(layer, GreyLevels):
            return
        count = min(GREY_LEVEL_FAKES, self.images.shape[0])
        shape = [count, self.config.latent_dim]
        latents = draw_latents(shape, self.seed + 2, self.architecture.latent_distribution)
        before = keras.Model(self.average.inputs, layer.input[0])
        fakes = [
            before([latents[i : i + 500], self.labels[i : min(i + 500, count)]], training=False)
            for i in range(0, count, 500)
        ]
        images = np.asarray(self.images)
        images = images[:: -(-len(images) // GREY_LEVEL_REALS)]
        parts = np.array_split(images, 1 + len(images) // 10_000)
        layer.fit(tf.concat(fakes, 0).numpy(), np.concatenate([to_uint8(part) for part in parts]))

    def generate(self, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The averaged generator's images, float32 [N, H, W, C] in [-1, 1]."""
        latents, labels = np.asarray(latents, np.float32), np.asarray(labels, np.int64)
        return self.average(self.architecture.inputs(latents, labels), training=False).numpy()


def _is_mapped(images: np.ndarray | tf.Tensor) -> bool:
    return isinstance(images, np.memmap)


def _named(owners: Mapping[str, list], attribute: str = "path") -> dict[str, tf.Variable]:
    return {
        f"{owner}/{index:03d}/{getattr(variable, attribute)}": variable.value
        for owner, variables in owners.items()
        for index, variable in enumerate(variables)
    }
