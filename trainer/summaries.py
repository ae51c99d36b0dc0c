"""Records of a training run: history, samples, tables of the networks, TensorBoard.

Everything is first written beside the checkpoints, where a kill can't take it, and copied to the
artifact when training is done.
"""

import json
import os
import pathlib
import shutil
import time
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from common.files import atomic_path, write_atomically
from common.images import tile, to_uint8
from trainer.networks import network_table

HISTORY_FILE = "history.jsonl"
SAMPLES_FOLDER = "samples"
OPINIONS_FOLDER = "opinions"
ANIMATION_FILE = "training.gif"
NETWORKS_FILE = "networks.json"
MODELS_FOLDER = "models"

# What TensorBoard calls the values of the history; it groups them by what stands before the slash.
TAGS = {
    "d_loss": "loss/discriminator",
    "d_loss_real": "loss/discriminator_real",
    "d_loss_fake": "loss/discriminator_fake",
    "g_loss": "loss/generator_fake",
    "g_reconstruction": "loss/generator_reconstruction",
    "r1": "loss/gradient_penalty",
    "d_gradient_norm": "gradient_norm/discriminator",
    "g_gradient_norm": "gradient_norm/generator",
    "images_per_second": "speed/images_per_second",
}


class RunRecorder:
    """Writes one run's records; a resumed run goes on in the same files.

    Args:
      directory: where history and samples live until training is done.
      log_dir: TensorBoard's folder for this run; None is without.
      resumed_step: records of later steps are dropped, since those steps are made again.
    """

    def __init__(
        self, directory: pathlib.Path, log_dir: str | os.PathLike | None, resumed_step: int
    ):
        self._directory = directory
        self._samples = directory / SAMPLES_FOLDER
        self._samples.mkdir(parents=True, exist_ok=True)
        if log_dir:
            _start_session(pathlib.Path(log_dir), resumed_step + 1 if resumed_step else 0)
        self._writer = tf.summary.create_file_writer(os.fspath(log_dir)) if log_dir else None
        self._records = [r for r in self._read_history() if r["step"] <= resumed_step]
        for folder in (SAMPLES_FOLDER, OPINIONS_FOLDER):
            for path in (directory / folder).glob("step_*"):
                if int(path.stem.removeprefix("step_")) > resumed_step:
                    path.unlink()

    @property
    def history(self) -> list[dict[str, float]]:
        """One record an interval: `step` and what was measured, oldest first."""
        return list(self._records)

    def settings(self, values: Mapping[str, object]) -> None:
        """Writes the hyperparameters: TensorBoard sets them beside each run's last scalars."""
        if self._writer:
            from tensorboard.plugins.hparams import api

            known = {k: v if isinstance(v, float | int) else str(v) for k, v in values.items()}
            with self._writer.as_default(step=0):
                api.hparams(known)

    def graph(self, graph: tf.Graph) -> None:
        """Writes a graph to TensorBoard."""
        if self._writer:
            with self._writer.as_default(step=0):
                tf.summary.graph(graph)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values to the history's line for `step` and to TensorBoard."""
        values = {name: float(value) for name, value in values.items()}
        if self._records and self._records[-1]["step"] == step:
            self._records[-1].update(values)
        else:
            self._records.append({"step": step, **values})
        lines = "".join(json.dumps(record) + "\n" for record in self._records)
        write_atomically(self._directory / HISTORY_FILE, lines.encode())
        if self._writer:
            with self._writer.as_default(step=step):
                for name, value in values.items():
                    tf.summary.scalar(TAGS.get(name, f"quality/{name}"), value)
            self._writer.flush()

    def samples(self, step: int, images: np.ndarray, columns: int) -> None:
        """Writes a grid of images (floats in [-1, 1], [N, H, W, C]) as PNG and to TensorBoard."""
        grid = np.atleast_3d(tile(to_uint8(images), columns, scale=1))
        png = tf.io.encode_png(grid).numpy()
        write_atomically(self._samples / f"step_{step:07d}.png", png)
        if self._writer:
            with self._writer.as_default(step=step):
                tf.summary.image("samples", grid[np.newaxis])
            self._writer.flush()

    def opinions(self, step: int, counts: Mapping[str, list[int]], sheet: np.ndarray) -> None:
        """Writes what `Opinions.ask` returns, as JSON and as PNG."""
        path = self._directory / OPINIONS_FOLDER / f"step_{step:07d}.png"
        write_atomically(path, tf.io.encode_png(sheet).numpy())
        write_atomically(path.with_suffix(".json"), json.dumps(counts) + "\n")

    def model(self, epoch: int, generator: keras.Model) -> None:
        """Saves the generator as it is after `epoch` epochs, in Keras' own format."""
        folder = self._directory / MODELS_FOLDER
        folder.mkdir(exist_ok=True)
        path = folder / f"generator_epoch_{epoch:04d}.keras"
        with atomic_path(path) as temporary:
            generator.save(temporary)

    def finish(self, output_dir: str | os.PathLike, networks: Sequence[keras.Model]) -> None:
        """Copies the records to `output_dir`; adds the animation and the networks' tables."""
        output = pathlib.Path(output_dir)
        output.mkdir(parents=True, exist_ok=True)
        if (self._directory / HISTORY_FILE).exists():
            shutil.copyfile(self._directory / HISTORY_FILE, output / HISTORY_FILE)
        for folder in (SAMPLES_FOLDER, OPINIONS_FOLDER, MODELS_FOLDER):
            if (self._directory / folder).is_dir():
                shutil.copytree(self._directory / folder, output / folder, dirs_exist_ok=True)
        write_animation(sorted(self._samples.glob("step_*.png")), output / ANIMATION_FILE)
        tables = {network.name: network_table(network) for network in networks}
        write_atomically(output / NETWORKS_FILE, (json.dumps(tables, indent=2) + "\n").encode())
        if self._writer:
            _end_session(self._writer)
            self._writer.close()

    def _read_history(self) -> list[dict[str, float]]:
        path = self._directory / HISTORY_FILE
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _start_session(log_dir: pathlib.Path, first: int) -> None:
    """Tells TensorBoard that a session starts, whose first step is `first`.

    With every start but a run's first it drops what was logged at that step or later: an
    interrupted run logged it and it is about to be logged again.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    # In a file of its own, since TensorFlow's writer takes summaries only.
    start = SessionLog(status=SessionLog.START)
    writer = EventFileWriter(os.fspath(log_dir))
    writer.add_event(Event(step=first, wall_time=time.time(), session_log=start))
    writer.close()


def _end_session(writer: tf.summary.SummaryWriter) -> None:
    """Tells TensorBoard's table of hyperparameters that the run was completed."""
    from tensorboard.plugins.hparams import api_pb2, summary

    end = summary.session_end_pb(api_pb2.STATUS_SUCCESS)
    with writer.as_default(step=0):
        tf.summary.experimental.write_raw_pb(end.SerializeToString())


def write_animation(frames: Sequence[pathlib.Path], path: pathlib.Path) -> None:
    """Joins images of equal size to a GIF that pauses on the last one; writes nothing if none."""
    if not frames:
        return
    images = [Image.open(frame).copy() for frame in frames]
    durations = [200] * (len(images) - 1) + [2000]  # milliseconds
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)
