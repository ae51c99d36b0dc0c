"""A training run around the loop: start or resume, intervals, progress, checkpoints, stop.

A run that was killed and resumed ends with the same weights, bit for bit, as one that was not: all
of a loop's state is in its checkpoints, and everything random is a function of seed and step.
"""

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent import futures

import keras
import numpy as np
import tensorflow as tf

from common.images import is_known
from trainer.checkpoints import CheckpointStore, StopRequest, TrainingInterrupted, stop_on_signals
from trainer.hold import Hold
from trainer.latents import draw_latents
from trainer.models import build_networks
from trainer.opinions import Opinions
from trainer.summaries import RunRecorder
from trainer.train_loop import GanLoop
from trainer.training_config import TrainingConfig
from trainer.variants.blocks5 import Blocks5Loop
from trainer.variants.dcgan import DcganLoop
from trainer.variants.gaussian_mlp import GaussianMlpLoop

logger = logging.getLogger(__name__)
progress = logging.getLogger("mnist_gan.progress")

LOOPS: dict[str, type[GanLoop]] = {
    "cdcgan": GanLoop,
    "dcgan": DcganLoop,
    "blocks5": Blocks5Loop,
    "gaussian_mlp": GaussianMlpLoop,
}
SAMPLE_CLASSES = 10  # a sample grid has a row for each of so many classes
SAMPLES_A_CLASS = 10
HELD_LOOKS = 0.1  # seconds between two looks at whether a training that is held may go on

Generate = Callable[[np.ndarray, np.ndarray], np.ndarray]


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the message holds step, losses and last good checkpoint."""


class OtherNetworksError(ValueError):
    """Weights to start from do not fit these networks."""


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
      discriminator: float32, where `teaching` is set.
    """

    generator: keras.Model
    weights: dict[str, np.ndarray]
    steps: int
    resumed_step: int
    seconds: float
    history: list[dict[str, float]]
    discriminator: keras.Model | None = None


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
      images: float32 [N, H, W, C] in [-1, 1], as Transform gives them, of a shape that the
        networks draw.
      labels: int [N], each in 0..num_classes-1.
      config, num_classes: as of the loop.
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
      OtherNetworksError: `initial_weights` are of networks with other layers or widths.
      NonFiniteLossError: a loss became NaN or infinite.
      TrainingInterrupted: SIGTERM or Ctrl-C; a checkpoint of the last step was written.
    """
    _check_data(images, labels, num_classes)
    # Threads must not decide in which order numbers are added.
    tf.config.experimental.enable_op_determinism()
    loop = LOOPS[config.model](images, labels, config, num_classes, seed)
    if initial_weights is not None:
        state = loop.network_state()
        # Generators of version 0.1 have no grey levels; fresh ones change nothing.
        levels = {name: state[name].numpy() for name in state if "/image/" in name}
        _restore(state, {**levels, **initial_weights})
    store = CheckpointStore(checkpoint_dir, fingerprint, config.keep_checkpoints)
    checkpoint = store.latest()
    if checkpoint:
        _restore(loop.state(), checkpoint.arrays)
        logger.info("Going on from step %d of %d", checkpoint.step, config.steps)
    resumed_step = checkpoint.step if checkpoint else 0
    recorder = RunRecorder(store.directory, log_dir, resumed_step)
    if resumed_step < config.steps:
        recorder.settings({**config.model_dump(), "seed": seed})
        recorder.graph(_graph(loop))
    seconds = _run_to_the_end(loop, store, recorder, np.unique(labels), evaluate)
    recorder.finish(output_dir, [loop.average, loop.discriminator])
    discriminator = None
    if config.teaching:
        shape = tuple(loop.images.shape[1:])
        networks = build_networks(config, num_classes, "float32", loop.architecture, shape)
        discriminator = networks.discriminator
        discriminator.set_weights(loop.discriminator.get_weights())
    return TrainResult(
        generator=loop.average,
        weights={name: value.numpy() for name, value in loop.network_state().items()},
        steps=config.steps,
        resumed_step=resumed_step,
        seconds=seconds,
        history=recorder.history,
        discriminator=discriminator,
    )


def _graph(loop: GanLoop) -> tf.Graph:
    """The averaged generator followed by the discriminator, for TensorBoard."""
    inputs = loop.architecture.inputs

    def networks(latent: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        fake = loop.average(inputs(latent, label), training=False)
        return loop.discriminator(inputs(fake, label), training=False)

    latent = tf.TensorSpec([None, loop.config.latent_dim], tf.float32, name="latent")
    label = tf.TensorSpec([None], tf.int64, name="label")
    return tf.function(networks).get_concrete_function(latent, label).graph


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
    sample_latents = draw_latents(
        [len(sample_labels), config.latent_dim],
        loop.seed + 1,
        loop.architecture.latent_distribution,
    ).numpy()
    evaluations = config.eval_interval if evaluate else 0
    intervals = {
        config.log_interval,
        loop.sample_interval,
        loop.model_interval,
        config.checkpoint_interval,
        evaluations,
    } - {0}
    opinions, hold = Opinions(loop), Hold(store.directory)
    hold.set(None)  # left by a run that was killed

    def show() -> None:
        images = loop.generate(sample_latents, sample_labels)
        recorder.samples(step, images, SAMPLES_A_CLASS)
        recorder.opinions(step, *opinions.ask())

    if step == 0:
        show()

    trained = 0.0
    interval_start = (step, trained)
    chunk = 1
    held_at = None
    with stop_on_signals() as stop, futures.ThreadPoolExecutor(1) as worker:
        while step < config.steps and not stop:
            limit = hold.step if config.teaching else None
            if limit is not None and step >= limit:
                if step != held_at:  # what there is to see of this very step
                    held_at = step
                    if not limit:
                        progress.warning("the live page has paused the training at step %d", step)
                    if step % config.log_interval:
                        recorder.scalars(step, _mean_metrics(loop))
                    if step % loop.sample_interval:
                        show()
                time.sleep(HELD_LOOKS)
                continue
            boundary = min(config.steps, *((step // i + 1) * i for i in intervals))
            boundary = min(boundary, limit or boundary)
            began = time.monotonic()
            finite = _make_steps(loop, min(chunk, boundary - step), worker, stop)
            made = int(loop.step.numpy()) - step
            elapsed = time.monotonic() - began
            step, trained = step + made, trained + elapsed
            if not finite:
                raise _not_finite(loop, store)
            if not made:
                continue  # asked to stop before the first of these steps
            # A call lasts a second or so: long enough to cost nothing, short enough to report on.
            chunk = max(1, min(1000, round(made / elapsed)))
            _report(loop, step, made / elapsed)

            ends = step == config.steps
            if step % config.log_interval == 0 or ends:
                since, before = interval_start
                rate = (step - since) * config.batch_size / (trained - before)
                recorder.scalars(step, {**_mean_metrics(loop), "images_per_second": rate})
                loop.metric_sums.assign(tf.zeros_like(loop.metric_sums))
                interval_start = (step, trained)
            if ends:
                loop.fit_grey_levels()
            if evaluate and evaluations and (step % evaluations == 0 or ends):
                recorder.scalars(step, evaluate(loop.generate))
            if step % loop.sample_interval == 0 or ends:
                show()
            if loop.model_interval and step % loop.model_interval == 0:
                recorder.model(step // loop.steps_per_epoch, loop.average)
            if step % config.checkpoint_interval == 0 or ends:
                _save(loop, store)
    if stop:
        path = _save(loop, store)
        raise TrainingInterrupted(
            f"{stop.signal_name} stopped the training at step {step} of {config.steps}. "
            f"The next run goes on from there ({path})."
        )
    return trained


def _make_steps(
    loop: GanLoop, count: int, worker: futures.ThreadPoolExecutor, stop: StopRequest
) -> bool:
    """Makes `count` steps, fewer once `stop` is true; False after a loss that is not finite.

    TensorFlow works in another thread, since Python's signal handlers wait for the main one to
    come back from it.
    """
    running = worker.submit(loop.run, tf.constant(count, tf.int64))
    while not futures.wait([running], timeout=0.05).done:
        if stop:
            loop.stop()
    return bool(running.result())


def _check_data(images: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    if images.dtype != np.float32 or not is_known(images.shape[1:]) or not len(images):
        raise ValueError(
            "images must be float32 [N, size, size, 1 or 3], such as [N, 28, 28, 1], got "
            f"{images.dtype} {list(images.shape)}"
        )
    lowest, highest = images.min(), images.max()
    if not (lowest >= -1.00001 and highest <= 1.00001):  # NaN fails too
        raise ValueError(f"images must lie in [-1, 1], got {lowest:g} to {highest:g}")
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
        raise OtherNetworksError(
            f"its weights belong to other networks: {len(wrong)} of {len(shapes)} arrays are "
            f"missing or of another shape, the first is {wrong[0]}"
        )
    for name, variable in state.items():
        variable.assign(arrays[name])


def _save(loop: GanLoop, store: CheckpointStore) -> os.PathLike:
    arrays = {name: variable.numpy() for name, variable in loop.state().items()}
    return store.save(int(loop.step.numpy()), arrays)


def _mean_metrics(loop: GanLoop) -> dict[str, float]:
    """Means since the last line of history."""
    config, step = loop.config, int(loop.step.numpy())
    sums = loop.metric_sums.numpy()
    means = dict(zip(loop.metrics, sums / ((step - 1) % config.log_interval + 1), strict=True))
    if "r1" in means:
        # The penalty is known at every r1_interval-th step only and counts as 0 between.
        means["r1"] *= config.r1_interval
    return {"d_loss": means["d_loss_real"] + means["d_loss_fake"], **means}


def _report(loop: GanLoop, step: int, steps_a_second: float) -> None:
    """Logs the progress."""
    config, means = loop.config, _mean_metrics(loop)
    rate = steps_a_second * config.batch_size
    progress.info(
        "step %d of %d, %.0f images/s",
        step,
        config.steps,
        rate,
        extra={
            "progress": {
                "step": step,
                "total": config.steps,
                "rate": rate,
                "unit": "images/s",
                "seconds_left": (config.steps - step) / steps_a_second,
                "metrics": {name: float(means[name]) for name in ("d_loss", "g_loss")},
            }
        },
    )


def _not_finite(loop: GanLoop, store: CheckpointStore) -> NonFiniteLossError:
    values = zip(loop.metrics, loop.last_metrics.numpy(), strict=True)
    losses_now = ", ".join(f"{name} {value:g}" for name, value in values)
    paths = store.paths()
    return NonFiniteLossError(
        f"a loss is not finite at step {int(loop.step.numpy())}: {losses_now}. "
        f"Last good checkpoint: {paths[-1] if paths else 'none'}. "
        "A lower learning_rate or precision=float32 may help."
    )
