import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.trainer.conftest import CLASSES, TINY, TINY_OF
from trainer import training
from trainer.checkpoints import CheckpointStore, TrainingInterrupted
from trainer.train_loop import GanLoop
from trainer.training import NonFiniteLossError, train
from trainer.training_config import make_config

ROOT = pathlib.Path(__file__).parents[2]


def assert_same_weights(a, b):
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def run(data, folder, seed=7, model="cdcgan", **changes):
    return train(
        *data,
        make_config(**{**TINY_OF[model], **changes}),
        CLASSES,
        seed,
        checkpoint_dir=folder / "checkpoints",
        output_dir=folder / "out",
    )


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_run, tiny_data, tmp_path
):
    result, _, _ = tiny_run
    assert_same_weights(run(tiny_data, tmp_path / "same").weights, result.weights)
    other = run(tiny_data, tmp_path / "other", seed=8)
    assert any((other.weights[name] != result.weights[name]).any() for name in result.weights)


def test_a_run_that_goes_on_from_a_checkpoint_ends_like_one_that_never_stopped(
    tiny_run, tiny_data, tmp_path
):
    result, out, checkpoints = tiny_run
    store = CheckpointStore(tmp_path / "checkpoints", "run")
    step_6 = next(path for path in (checkpoints / "run").glob("*-0000000006.ckpt"))
    (store.directory / step_6.name).write_bytes(step_6.read_bytes())
    (store.directory / "history.jsonl").write_text((out / "history.jsonl").read_text())
    resumed = run(tiny_data, tmp_path)
    assert resumed.resumed_step == 6
    assert_same_weights(resumed.weights, result.weights)
    timeless = [
        [{k: v for k, v in record.items() if k != "images_per_second"} for record in each.history]
        for each in (resumed, result)
    ]
    assert timeless[0] == timeless[1]


def test_a_finished_run_makes_no_step_again(tiny_run, tiny_data, tiny_config, tmp_path):
    result, _, checkpoints = tiny_run
    again = train(
        *tiny_data, tiny_config, CLASSES, 7, checkpoint_dir=checkpoints, output_dir=tmp_path
    )
    assert again.resumed_step == tiny_config.steps
    assert again.seconds == 0
    assert_same_weights(again.weights, result.weights)
    assert (tmp_path / "training.gif").exists()


class Killed(BaseException):
    """All that is in memory is lost, as by kill -9; nothing of ours catches it."""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", TINY_OF)
def test_every_model_killed_anywhere_ends_with_the_weights_of_one_that_was_not(
    tiny_data, tmp_path, monkeypatch, model, precision
):
    whole = run(tiny_data, tmp_path / "whole", model=model, precision=precision)
    report, last_step = training._report, 4 + len(model) % 5

    def die(loop, step, *args):
        if step >= last_step:
            raise Killed
        report(loop, step, *args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "_report", die)
        run(tiny_data, tmp_path / "killed", model=model, precision=precision)
    resumed = run(tiny_data, tmp_path / "killed", model=model, precision=precision)
    assert resumed.resumed_step in (3, 6)
    assert_same_weights(resumed.weights, whole.weights)


CHILD = """
import os, pathlib, signal, sys
import numpy as np
from tests.trainer.test_training import run
from trainer.train_loop import GanLoop

folder = pathlib.Path(sys.argv[1])

if sys.argv[2] == "SIGKILL":  # in the middle of writing the second checkpoint
    replace = os.replace
    def die(source, target):
        if "0000000006.ckpt" in os.fspath(target):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
    os.replace = die
else:  # while samples are drawn
    generate = GanLoop.generate
    def stop(self, *args):
        if int(self.step.numpy()) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return generate(self, *args)
    GanLoop.generate = stop

with np.load(folder / "data.npz") as data:
    run((data["images"], data["labels"]), folder)
"""


@pytest.mark.parametrize(("signal_name", "resumed_step"), [("SIGKILL", 3), ("SIGTERM", 5)])
def test_a_killed_process_is_resumed_to_the_same_weights(
    tiny_run, tiny_data, tmp_path, signal_name, resumed_step
):
    np.savez(tmp_path / "data.npz", images=tiny_data[0], labels=tiny_data[1])
    command = [sys.executable, "-c", CHILD, str(tmp_path), signal_name]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300)
    if signal_name == "SIGKILL":
        assert child.returncode == -signal.SIGKILL
    else:
        message = b"TrainingInterrupted: SIGTERM stopped the training at step 5 of 10"
        assert message in child.stderr
    resumed = run(tiny_data, tmp_path)
    assert resumed.resumed_step == resumed_step
    assert_same_weights(resumed.weights, tiny_run[0].weights)
    assert not list(tmp_path.glob("checkpoints/run/.*"))


def test_ctrl_c_writes_a_checkpoint_of_the_last_step_and_says_where(
    tiny_data, tmp_path, monkeypatch
):
    generate = GanLoop.generate

    def interrupt(self, *args):  # called for the samples at step 5
        if int(self.step.numpy()) == 5:
            signal.raise_signal(signal.SIGINT)
        return generate(self, *args)

    monkeypatch.setattr(GanLoop, "generate", interrupt)
    with pytest.raises(TrainingInterrupted, match="SIGINT stopped the training at step 5 of 10"):
        run(tiny_data, tmp_path)
    assert CheckpointStore(tmp_path / "checkpoints", "run").latest().step == 5


def test_a_stop_takes_effect_at_the_next_step_however_many_were_asked_for(
    tiny_data, tmp_path, monkeypatch
):
    class ManySteps(GanLoop):
        def run(self, count):
            super().run(tf.constant(1, tf.int64))  # traced
            os.kill(os.getpid(), signal.SIGTERM)
            return super().run(tf.constant(100_000, tf.int64))  # some minutes

    monkeypatch.setitem(training.LOOPS, "cdcgan", ManySteps)
    with pytest.raises(TrainingInterrupted, match="SIGTERM stopped the training at step"):
        run(tiny_data, tmp_path, steps=200_000)
    assert 1 <= CheckpointStore(tmp_path / "checkpoints", "run").latest().step < 10_000


def test_a_stop_before_the_first_step_of_a_call_repeats_no_record(tiny_data, tmp_path, monkeypatch):
    class Late(GanLoop):
        def run(self, count):
            if int(self.step.numpy()) == 4:  # where a line of history was just written
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.5)
            return super().run(count)

    with monkeypatch.context() as patch, pytest.raises(TrainingInterrupted, match="step 4 of 10"):
        patch.setitem(training.LOOPS, "cdcgan", Late)
        run(tiny_data, tmp_path)
    assert [record["step"] for record in run(tiny_data, tmp_path).history] == [4, 8, 10]


def test_a_loss_that_is_not_finite_stops_with_step_losses_and_checkpoint(
    tiny_run, tiny_data, tmp_path
):
    store = CheckpointStore(tmp_path / "checkpoints", "run")
    good = next((tiny_run[2] / "run").glob("*-0000000006.ckpt"))
    (store.directory / good.name).write_bytes(good.read_bytes())
    with pytest.raises(NonFiniteLossError) as error:
        run(tiny_data, tmp_path, r1_weight=1e38)  # overflows at the next penalty, in step 9
    message = str(error.value)
    assert "not finite at step 9" in message and "d_loss_real" in message
    assert good.name in message
    assert store.latest().step == 6


def test_the_records_of_a_run_are_complete(tiny_run):
    result, out, _ = tiny_run
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert history == result.history
    assert [record["step"] for record in history] == [4, 8, 10]
    assert all(np.isfinite(list(record.values())).all() for record in history)
    pictures = sorted(path.name for path in (out / "samples").iterdir())
    assert pictures == ["step_0000000.png", "step_0000005.png", "step_0000010.png"]
    with Image.open(out / "samples" / pictures[0]) as picture:
        assert picture.size == (10 * 30 + 2, CLASSES * 30 + 2)
    with Image.open(out / "training.gif") as animation:
        assert animation.n_frames == 3
    networks = json.loads((out / "networks.json").read_text())
    tables = (out / "networks.md").read_text()
    for name in ("generator", "discriminator"):
        layers = networks[name]["layers"]
        assert sum(layer["parameters"] for layer in layers) == networks[name]["parameters"]
        assert f"# {name.capitalize()}: {networks[name]['parameters']:,} parameters" in tables


def test_gaussian_mlp_saves_images_every_epoch_and_the_generator_every_tenth(tiny_data, tmp_path):
    defaults = make_config(model="gaussian_mlp")
    assert (defaults.sample_epochs, defaults.model_epochs) == (1, 10)
    # Half of each batch of 24 is real: 60 images are an epoch of 5 steps.
    result = run(tiny_data, tmp_path, model="gaussian_mlp", batch_size=24, steps=20, model_epochs=2)
    pictures = sorted(path.stem for path in (tmp_path / "out" / "samples").iterdir())
    assert pictures == [f"step_{step:07d}" for step in (0, 5, 10, 15, 20)]
    saved = sorted((tmp_path / "out" / "models").iterdir())
    assert [path.name for path in saved] == [
        "generator_epoch_0002.keras",
        "generator_epoch_0004.keras",
    ]
    latents = np.random.default_rng(0).normal(size=[3, 8]).astype(np.float32)
    np.testing.assert_allclose(
        keras.saving.load_model(saved[-1])([latents]), result.generator([latents]), atol=1e-6
    )


def test_what_evaluate_returns_enters_the_history(tiny_data, tmp_path, tiny_config):
    def evaluate(generate):
        images = generate(np.zeros([2, tiny_config.latent_dim]), np.array([0, 1]))
        return {"shape": float(images.shape[0])}

    result = train(
        *tiny_data,
        make_config(**{**TINY, "steps": 4, "eval_interval": 2}),
        CLASSES,
        0,
        checkpoint_dir=tmp_path,
        output_dir=tmp_path / "out",
        evaluate=evaluate,
    )
    assert [record.get("shape") for record in result.history] == [2.0, 2.0]


def test_initial_weights_are_where_a_run_starts(tiny_run, tiny_data, tiny_config, tmp_path):
    result, _, _ = tiny_run
    kwargs = {"checkpoint_dir": tmp_path / "c", "output_dir": tmp_path / "o"}
    config = make_config(**{**TINY, "steps": 1, "learning_rate": 1e-12})
    started = train(*tiny_data, config, CLASSES, 9, initial_weights=result.weights, **kwargs)
    for name, weight in result.weights.items():
        if name.startswith("discriminator/"):
            np.testing.assert_allclose(started.weights[name], weight, atol=1e-6)
    wide = make_config(**{**TINY, "generator_channels": 9})
    kwargs["checkpoint_dir"] = tmp_path / "d"
    with pytest.raises(ValueError, match="belong to other networks"):
        train(*tiny_data, wide, CLASSES, 9, initial_weights=result.weights, **kwargs)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros([2, 28, 28, 1], np.float32), np.zeros(2, int), "uint8"),
        (np.zeros([2, 28, 28], np.uint8), np.zeros(2, int), "28, 28, 1"),
        (np.zeros([0, 28, 28, 1], np.uint8), np.zeros(0, int), "images must be"),
        (np.zeros([2, 28, 28, 1], np.uint8), np.zeros(3, int), r"integers \[2\]"),
        (np.zeros([2, 28, 28, 1], np.uint8), np.array([0, 4]), r"0\.\.3, got 0\.\.4"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_name(tmp_path, images, labels, message):
    with pytest.raises(ValueError, match=message):
        run((images, labels), tmp_path)
