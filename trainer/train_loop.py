"""The GAN's training loop, written out: discriminator step, generator step, average, repeat.

Everything random is a function of (seed, step): which images, which latents. So the state of a run
is its weights, its optimisers' slots and its step, and a run that was killed and resumed ends with
the same weights, bit for bit, as one that was not.
"""

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from trainer import losses, models
from trainer.checkpoints import CheckpointStore, TrainingInterrupted, stop_on_signals
from trainer.config import TrainingConfig, resolve_precision
from trainer.summaries import RunRecorder

logger = logging.getLogger(__name__)
progress = logging.getLogger("mnist_gan.progress")

METRICS = ("d_loss_real", "d_loss_fake", "g_loss", "r1", "d_gradient_norm", "g_gradient_norm")
SAMPLE_CLASSES = 10  # a sample grid has a row for each of so many classes
SAMPLES_A_CLASS = 10

Generate = Callable[[np.ndarray, np.ndarray], np.ndarray]


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the message holds step, losses and last good checkpoint."""


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What training made.

    Attributes:
      generator: the averaged generator, float32: the one to export.
      weights: all weights of the networks by name, from which another run can start.
      steps: steps made in all.
      resumed_step: step of the checkpoint that this run went on from; 0 is from the start.
      seconds: wall time of this run's own steps.
      history: one record each `log_interval` steps.
    """

    generator: keras.Model
    weights: dict[str, np.ndarray]
    steps: int
    resumed_step: int
    seconds: float
    history: list[dict[str, float]]


class GanLoop:
    """Networks, optimisers and the step that updates them.

    Args:
      images: uint8 [N, 28, 28, 1], kept in memory.
      labels: int [N], each in 0..num_classes-1.
      config: settings of the training.
      num_classes: number of labels.
      seed: decides weights, order of images and latents.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        config: TrainingConfig,
        num_classes: int,
        seed: int,
    ):
        self.config = config
        self.images = tf.constant(images, tf.uint8)
        self.labels = tf.constant(labels, tf.int64)
        self.loss = losses.LOSSES[config.loss]

        keras.utils.set_random_seed(seed % 2**32)
        precision = resolve_precision(config.precision)
        networks = models.build_networks(config, num_classes, precision)
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.average = models.float32_generator(config, num_classes)
        self.average.set_weights(self.generator.get_weights())

        rate = config.learning_rate
        self.generator_optimizer = self._adam(rate, self.generator)
        self.discriminator_optimizer = self._adam(
            rate * config.discriminator_rate_ratio, self.discriminator
        )
        self.seed = tf.constant([seed % 2**63, 0], tf.int64)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.metric_sums = tf.Variable(tf.zeros([len(METRICS)]))  # since the last line of history
        self.last_metrics = tf.Variable(tf.zeros([len(METRICS)]))

    def _adam(self, rate: float, network: keras.Model) -> keras.optimizers.Optimizer:
        config = self.config
        optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.PolynomialDecay(
                rate, config.steps, rate * config.final_rate_share
            ),
            beta_1=config.beta_1,
            beta_2=config.beta_2,
        )
        optimizer.build(network.trainable_variables)
        return optimizer

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
            **_named(optimizers),
            "step": self.step,
            "metric_sums": self.metric_sums,
        }

    @tf.function
    def run(self, count: tf.Tensor) -> tf.Tensor:
        """Makes `count` steps (int64 scalar); ends early, with False, at a loss not finite."""
        finite = tf.constant(True)
        end = self.step + count
        while finite and self.step < end:
            metrics = self.train_step()
            self.step.assign_add(1)
            self.metric_sums.assign_add(metrics)
            self.last_metrics.assign(metrics)
            finite = tf.reduce_all(tf.math.is_finite(metrics))
        return finite

    def train_step(self) -> tf.Tensor:
        """One update of each network; returns the values of METRICS."""
        real, labels = self.real_batch()
        latent = self.latent_batch()
        with tf.GradientTape() as tape:
            fake = self.generator([latent, labels], training=True)
        d_loss_real, d_loss_fake, r1, d_norm = self.discriminator_step(real, fake, labels)
        with tape:  # the same fakes, seen by the discriminator that has just learnt from them
            g_loss = self.loss.generator(self.logits(fake, labels))
        gradients = tape.gradient(g_loss, self.generator.trainable_variables)
        self.generator_optimizer.apply(gradients, self.generator.trainable_variables)
        self.update_average()
        return tf.stack([d_loss_real, d_loss_fake, g_loss, r1, d_norm, _norm(gradients)])

    def discriminator_step(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Teaches the discriminator; returns its losses, the penalty and the gradient's norm."""
        config = self.config
        with tf.GradientTape() as tape:
            logits = self.logits(tf.concat([real, fake], 0), tf.concat([labels, labels], 0))
            real_logits, fake_logits = tf.split(logits, 2)
            loss_real, loss_fake = self.loss.real(real_logits), self.loss.fake(fake_logits)
            penalty = tf.constant(0.0)
            # Every r1_interval-th step, as many times as strong (Karras et al. 2020, section 4.1).
            if config.r1_weight > 0 and self.step % config.r1_interval == 0:
                penalty = losses.r1_penalty(lambda images: self.logits(images, labels), real)
            strength = config.r1_weight * config.r1_interval
            loss = loss_real + loss_fake + strength * penalty
        gradients = tape.gradient(loss, self.discriminator.trainable_variables)
        self.discriminator_optimizer.apply(gradients, self.discriminator.trainable_variables)
        return loss_real, loss_fake, penalty, _norm(gradients)

    def logits(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The discriminator's opinion, float32 [N]."""
        return self.discriminator([images, labels], training=True)[:, 0]

    def real_batch(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The step's images, float32 [B, 28, 28, 1] in [-1, 1], and labels, int64 [B].

        Each epoch visits every image once, in an order of its own. The order is a cipher
        of the position, computed for the positions asked for, so there is nothing to store.
        """
        count, batch = self.images.shape[0], self.config.batch_size
        position = self.step * batch + tf.range(batch, dtype=tf.int64)
        epoch = position // count
        # The raw op, since `index_shuffle` pads a matrix of seeds on both sides (TF 2.16).
        order = tf.raw_ops.RandomIndexShuffle(
            index=position % count,
            seed=tf.stack([tf.fill([batch], self.seed[0]), epoch, tf.zeros_like(epoch)], 1),
            max_index=np.int64(count - 1),
            rounds=4,
        )
        images = tf.cast(tf.gather(self.images, order), tf.float32) / 127.5 - 1.0
        return images, tf.gather(self.labels, order)

    def latent_batch(self) -> tf.Tensor:
        """The step's latents, standard normal, float32 [B, latent_dim]."""
        seed = tf.random.experimental.stateless_fold_in(self.seed, self.step)
        shape = [self.config.batch_size, self.config.latent_dim]
        return tf.random.stateless_normal(shape, seed, alg="philox")

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
            average.assign_add(rate * (weight - average))

    def generate(self, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The averaged generator's images, float32 [N, 28, 28, 1] in [-1, 1]."""
        inputs = [np.asarray(latents, np.float32), np.asarray(labels, np.int64)]
        return self.average(inputs, training=False).numpy()


def _named(owners: Mapping[str, list]) -> dict[str, tf.Variable]:
    return {
        f"{owner}/{index:03d}/{variable.path}": variable.value
        for owner, variables in owners.items()
        for index, variable in enumerate(variables)
    }


def _norm(gradients: list) -> tf.Tensor:
    return tf.linalg.global_norm(gradients)


def train(
    images: np.ndarray,
    labels: np.ndarray,
    config: TrainingConfig,
    num_classes: int,
    seed: int,
    *,
    checkpoint_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    log_dir: str | os.PathLike | None = None,
    fingerprint: str = "run",
    initial_weights: Mapping[str, np.ndarray] | None = None,
    evaluate: Callable[[Generate], Mapping[str, float]] | None = None,
) -> TrainResult:
    """Trains a GAN, from its newest checkpoint where there is one.

    Args:
      images: uint8 [N, 28, 28, 1].
      labels: int [N], each in 0..num_classes-1.
      config: settings.
      num_classes: number of labels.
      seed: any int; the same seed gives the same weights, bit for bit, on the same kind of machine.
      checkpoint_dir: folder of the checkpoints of all runs.
      output_dir: gets history, samples, animation and network tables when training is done.
      log_dir: TensorBoard's folder; None is without.
      fingerprint: digest of all that decides the result; checkpoints are found by it.
      initial_weights: `TrainResult.weights` of a run with the same networks, to start from.
      evaluate: called each `config.eval_interval` steps with a function from latents and labels
        to images; what it returns goes into the history.

    Raises:
      ValueError: images or labels have another shape, type or range.
      NonFiniteLossError: a loss became NaN or infinite.
      TrainingInterrupted: SIGTERM or Ctrl-C; a checkpoint of the last step was written.
    """
    _check_data(images, labels, num_classes)
    # Threads must not decide in which order numbers are added.
    tf.config.experimental.enable_op_determinism()
    loop = GanLoop(images, labels, config, num_classes, seed)
    if initial_weights is not None:
        _restore(loop.network_state(), initial_weights)
    store = CheckpointStore(checkpoint_dir, fingerprint, config.keep_checkpoints)
    checkpoint = store.latest()
    if checkpoint:
        _restore(loop.state(), checkpoint.arrays)
        logger.info("Going on from step %d of %d", checkpoint.step, config.steps)
    resumed_step = checkpoint.step if checkpoint else 0
    recorder = RunRecorder(store.directory, log_dir, resumed_step)
    seconds = _run_to_the_end(loop, store, recorder, np.unique(labels), evaluate)
    recorder.finish(output_dir, [loop.average, loop.discriminator])
    return TrainResult(
        generator=loop.average,
        weights={name: value.numpy() for name, value in loop.network_state().items()},
        steps=config.steps,
        resumed_step=resumed_step,
        seconds=seconds,
        history=recorder.history,
    )


def _run_to_the_end(
    loop: GanLoop,
    store: CheckpointStore,
    recorder: RunRecorder,
    classes: np.ndarray,
    evaluate: Callable[[Generate], Mapping[str, float]] | None,
) -> float:
    """Makes the steps that are left, with all that happens at intervals; returns their seconds."""
    config = loop.config
    step = int(loop.step.numpy())
    sample_labels = np.repeat(classes[:SAMPLE_CLASSES], SAMPLES_A_CLASS)
    sample_latents = tf.random.stateless_normal(
        [len(sample_labels), config.latent_dim], loop.seed + 1, alg="philox"
    ).numpy()
    intervals = [config.log_interval, config.sample_interval, config.checkpoint_interval]
    if evaluate and config.eval_interval:
        intervals.append(config.eval_interval)
    if step == 0:
        recorder.samples(0, loop.generate(sample_latents, sample_labels), SAMPLES_A_CLASS)

    trained = 0.0
    interval_start = (step, time.monotonic())
    chunk = 1
    with stop_on_signals() as stop:
        while step < config.steps and not stop:
            boundary = min(config.steps, *((step // i + 1) * i for i in intervals))
            began = time.monotonic()
            finite = bool(loop.run(tf.constant(min(chunk, boundary - step), tf.int64)))
            made = int(loop.step.numpy()) - step
            elapsed = time.monotonic() - began
            step, trained = step + made, trained + elapsed
            if not finite:
                raise _not_finite(loop, store)
            # A call lasts a second or so: long enough to cost nothing, short enough to stop soon.
            chunk = max(1, min(1000, round(made / elapsed)))
            _report(loop, step, made * config.batch_size / elapsed)

            ends = step == config.steps
            if step % config.log_interval == 0 or ends:
                since, began = interval_start
                rate = (step - since) * config.batch_size / (time.monotonic() - began)
                recorder.scalars(step, {**_mean_metrics(loop), "images_per_second": rate})
                loop.metric_sums.assign(tf.zeros_like(loop.metric_sums))
                interval_start = (step, time.monotonic())
            if evaluate and config.eval_interval and (step % config.eval_interval == 0 or ends):
                recorder.scalars(step, evaluate(loop.generate))
            if step % config.sample_interval == 0 or ends:
                images = loop.generate(sample_latents, sample_labels)
                recorder.samples(step, images, SAMPLES_A_CLASS)
            if step % config.checkpoint_interval == 0 or ends:
                _save(loop, store)
    if stop:
        path = _save(loop, store)
        raise TrainingInterrupted(
            f"{stop.signal_name} stopped the training at step {step} of {config.steps}. "
            f"The next run goes on from there ({path})."
        )
    return trained


def _check_data(images: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != models.IMAGE_SHAPE or not len(images):
        raise ValueError(
            f"images must be uint8 [N, 28, 28, 1], got {images.dtype} {list(images.shape)}"
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers [{len(images)}], got {labels.dtype} {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}"
        )


def _restore(state: Mapping[str, tf.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    shapes = {name: tuple(variable.shape) for name, variable in state.items()}
    found = {name: arrays[name].shape for name in arrays if name in shapes}
    if found != shapes:
        wrong = sorted(name for name in shapes if found.get(name) != shapes[name])
        raise ValueError(
            f"these weights belong to other networks: {len(wrong)} of {len(shapes)} arrays are "
            f"missing or of another shape, the first is {wrong[0]}"
        )
    for name, variable in state.items():
        variable.assign(arrays[name])


def _save(loop: GanLoop, store: CheckpointStore) -> os.PathLike:
    arrays = {name: variable.numpy() for name, variable in loop.state().items()}
    return store.save(int(loop.step.numpy()), arrays)


def _mean_metrics(loop: GanLoop) -> dict[str, float]:
    """Means since the last line of history."""
    interval, step = loop.config.log_interval, int(loop.step.numpy())
    sums = loop.metric_sums.numpy()
    means = dict(zip(METRICS, sums / ((step - 1) % interval + 1), strict=True))
    # The penalty is known at every r1_interval-th step only and counts as 0 between.
    means["r1"] *= loop.config.r1_interval
    return {"d_loss": means["d_loss_real"] + means["d_loss_fake"], **means}


def _report(loop: GanLoop, step: int, rate: float) -> None:
    means = _mean_metrics(loop)
    progress.info(
        "step %d of %d, %.0f images/s",
        step,
        loop.config.steps,
        rate,
        extra={
            "progress": {
                "stage": "train",
                "step": step,
                "total": loop.config.steps,
                "rate": rate,
                "unit": "images/s",
                "metrics": {name: float(means[name]) for name in ("d_loss", "g_loss")},
            }
        },
    )


def _not_finite(loop: GanLoop, store: CheckpointStore) -> NonFiniteLossError:
    losses_now = ", ".join(
        f"{name} {value:g}" for name, value in zip(METRICS, loop.last_metrics.numpy(), strict=True)
    )
    paths = store.paths()
    return NonFiniteLossError(
        f"a loss is not finite at step {int(loop.step.numpy())}: {losses_now}. "
        f"Last good checkpoint: {paths[-1] if paths else 'none'}. "
        "A lower learning_rate or precision=float32 may help."
    )
