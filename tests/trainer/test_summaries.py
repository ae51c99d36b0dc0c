"""What TensorBoard's own reader finds in a run's folder."""

import time

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator,
)
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.trainer.conftest import CLASSES, TINY, TINY_OF
from trainer.summaries import TAGS, RunRecorder
from trainer.training import train
from trainer.training_config import make_config


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def scalars(events, tag) -> dict[int, float]:
    return {e.step: float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}


@pytest.fixture(scope="module")
def events(tiny_run):
    return read(tiny_run[1].parent / "tensorboard")


def test_losses_and_gradient_norms_are_those_of_the_history(events, tiny_run):
    history = tiny_run[0].history
    for name, tag in (
        ("d_loss_real", "loss/discriminator_real"),
        ("d_loss_fake", "loss/discriminator_fake"),
        ("g_loss", "loss/generator_fake"),
        ("d_gradient_norm", "gradient_norm/discriminator"),
        ("g_gradient_norm", "gradient_norm/generator"),
    ):
        expected = {record["step"]: record[name] for record in history}
        assert scalars(events, tag) == pytest.approx(expected)


def test_every_metric_of_every_model_has_a_name_in_tensorboard():
    from trainer.training import LOOPS

    for loop in LOOPS.values():
        assert set(loop.metrics) <= set(TAGS)


def test_sample_grids_are_there_at_their_intervals(events):
    assert [event.step for event in events.Tensors("samples")] == [0, 5, 10]


def test_hyperparameters_are_those_of_the_run_and_it_says_that_it_ended(events):
    def content(tag):
        raw = events.SummaryMetadata(f"_hparams_/{tag}").plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(raw)

    found = content("session_start_info").session_start_info.hparams
    assert found["model"].string_value == "cdcgan"
    assert found["learning_rate"].number_value == make_config(**TINY).learning_rate
    assert found["seed"].number_value == 7
    assert set(found) == {*make_config(**TINY).model_dump(), "seed"}
    assert content("session_end_info").session_end_info.status == 1  # success


def test_the_graph_has_both_networks_from_latent_to_logit(events):
    nodes = {node.name for node in events.Graph().node}
    assert {"latent", "label"} <= nodes
    for layer in ("project", "up_14x14", "image", "down_7x7", "logit"):
        assert any(f"/{layer}" in name for name in nodes), layer


def test_quality_and_reconstruction_are_logged_where_they_are_measured(tiny_data, tmp_path):
    values = iter([3.5, 2.5])
    result = train(
        *tiny_data,
        make_config(**{**TINY_OF["blocks5"], "steps": 4, "eval_interval": 2}),
        CLASSES,
        0,
        checkpoint_dir=tmp_path,
        output_dir=tmp_path / "out",
        log_dir=tmp_path / "log",
        evaluate=lambda generate: {"fid_20_eval": next(values)},
    )
    assert [record.get("fid_20_eval") for record in result.history] == [3.5, 2.5]
    events = read(tmp_path / "log")
    assert scalars(events, "quality/fid_20_eval") == {2: 3.5, 4: 2.5}
    assert min(scalars(events, "loss/generator_reconstruction").values()) > 0


@pytest.mark.parametrize("resumed_step", [0, 2])
def test_steps_that_a_resumed_run_makes_again_are_shown_once(tmp_path, resumed_step):
    """A run killed after step 4, with its last checkpoint at step 2 or none yet."""
    killed = RunRecorder(tmp_path / "run", tmp_path / "log", 0)
    killed.samples(0, np.zeros([2, 28, 28, 1]), 2)
    for step in (1, 2, 3, 4):
        killed.scalars(step, {"g_loss": 1.0})
    time.sleep(1.1)  # TensorBoard reads files in the order of the seconds in their names
    resumed = RunRecorder(tmp_path / "run", tmp_path / "log", resumed_step)
    if not resumed_step:
        resumed.samples(0, np.zeros([2, 28, 28, 1]), 2)
    for step in range(resumed_step + 1, 6):
        resumed.scalars(step, {"g_loss": 2.0})
    logged = read(tmp_path / "log")
    assert [event.step for event in logged.Tensors("loss/generator_fake")] == [1, 2, 3, 4, 5]
    again = {step: 1.0 if step <= resumed_step else 2.0 for step in range(1, 6)}
    assert scalars(logged, "loss/generator_fake") == again
    assert [event.step for event in logged.Tensors("samples")] == [0]
