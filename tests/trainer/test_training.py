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

from common.images import to_uint8
from tests.trainer.conftest import CLASSES, TINY, TINY_OF
from trainer import hold, opinions, training
from trainer.checkpoints import CheckpointStore, TrainingInterrupted
from trainer.opinions import Opinions
from trainer.train_loop import GanLoop
from trainer.training import LOOPS, NonFiniteLossError, train
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


def test_another_seed_starts_from_other_weights_and_takes_other_images(tiny_data, tiny_config):
    a, b = (GanLoop(*tiny_data, tiny_config, CLASSES, seed) for seed in (7, 8))
    assert np.any(a.network_state()["generator/001/project/kernel"] != b.generator.weights[1])
    assert np.any(a.real_batch()[0] != b.real_batch()[0])
    assert np.any(a.latent_batch() != b.latent_batch())


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


@pytest.mark.parametrize(
    ("model", "precision"),
    [("cdcgan", "bfloat16"), *((name, "float32") for name in TINY_OF if name != "cdcgan")],
)
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

folder = pathlib.Path(sys.argv[1])
replace = os.replace

def die(source, target):
    if "0000000006.ckpt" in os.fspath(target):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = die
with np.load(folder / "data.npz") as data:
    run((data["images"], data["labels"]), folder)
"""


def test_a_process_killed_while_it_writes_a_checkpoint_is_resumed_to_the_same_weights(
    tiny_run, tiny_data, tmp_path
):
    np.savez(tmp_path / "data.npz", images=tiny_data[0], labels=tiny_data[1])
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300)
    assert child.returncode == -signal.SIGKILL
    resumed = run(tiny_data, tmp_path)
    assert resumed.resumed_step == 3
    assert_same_weights(resumed.weights, tiny_run[0].weights)
    assert not list(tmp_path.glob("checkpoints/run/.*"))


def test_ctrl_c_writes_a_checkpoint_of_the_last_step_and_says_where(
    tiny_run, tiny_data, tmp_path, monkeypatch
):
    generate, interrupted = GanLoop.generate, []

    def interrupt(self, *args):  # called for the samples at step 5
        if int(self.step.numpy()) == 5 and not interrupted:
            interrupted.append(True)
            signal.raise_signal(signal.SIGINT)
        return generate(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(GanLoop, "generate", interrupt)
        with pytest.raises(TrainingInterrupted, match="SIGINT stopped the training at step 5 of"):
            run(tiny_data, tmp_path)
    resumed = run(tiny_data, tmp_path)
    assert resumed.resumed_step == 5
    assert_same_weights(resumed.weights, tiny_run[0].weights)


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
                time.sleep(0.2)
            return super().run(count)

    with monkeypatch.context() as patch, pytest.raises(TrainingInterrupted, match="step 4 of 10"):
        patch.setitem(training.LOOPS, "cdcgan", Late)
        run(tiny_data, tmp_path)
    (line,) = (tmp_path / "checkpoints" / "run" / "history.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 4


def test_a_class_holds_a_training_at_a_step_and_changes_no_weight(
    tiny_run, tiny_data, tmp_path, monkeypatch
):
    folder, report, sleeps = tmp_path / "checkpoints" / "run", training._report, []

    def pause(loop, step, *args):
        report(loop, step, *args)
        if not sleeps:
            hold.Hold(folder).set(3)

    def wait(seconds):
        sleeps.append(seconds)
        if len(sleeps) == 3:  # it has waited; now a single step
            assert (folder / "samples" / "step_0000003.png").exists()
            assert json.loads((folder / "history.jsonl").read_text())["step"] == 3
            hold.Hold(folder).set(4)
        if len(sleeps) == 6:
            hold.Hold(folder).set(None)

    monkeypatch.setattr(training, "_report", pause)
    monkeypatch.setattr(training.time, "sleep", wait)
    free = run(tiny_data, tmp_path / "not_for_a_class")
    assert sleeps == [] and free.discriminator is None
    held = run(tiny_data, tmp_path, teaching=True)
    assert len(sleeps) == 6
    assert [record["step"] for record in held.history] == [3, 4, 8, 10]
    assert_same_weights(held.weights, tiny_run[0].weights)
    kept = [weight for name, weight in held.weights.items() if name.startswith("discriminator/")]
    np.testing.assert_equal(held.discriminator.get_weights(), kept)


@pytest.mark.parametrize("model", TINY_OF)
def test_asking_the_discriminator_what_it_thinks_changes_nothing(tiny_data, model):
    loop = LOOPS[model](*tiny_data, make_config(**TINY_OF[model]), CLASSES, 7)
    before = {name: value.numpy() for name, value in loop.state().items()}
    counts, sheet = Opinions(loop).ask()
    assert_same_weights({name: value.numpy() for name, value in loop.state().items()}, before)
    assert {kind: sum(of) for kind, of in counts.items()} == {"real": 60, "fake": 60}
    assert sheet.shape == (4 * 28, 10 * 28, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:28, :28, 0], to_uint8(tiny_data[0][0, ..., 0]))


def test_pixels_that_would_make_an_image_look_more_real_are_blue():
    slope = np.zeros([1, 28, 28, 1], np.float32)
    slope[0, 0, :2, 0] = 0.5, -0.25
    sheet = opinions._coloured(slope)
    more, less, none = sheet[0, 0, :3].astype(int)
    assert more[2] > more[0] and less[0] > less[2] and none.tolist() == [0, 0, 0]
    assert more.max() > 1.5 * less.max()


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
    images = sorted(path.name for path in (out / "samples").iterdir())
    assert images == ["step_0000000.png", "step_0000005.png", "step_0000010.png"]
    with Image.open(out / "samples" / images[0]) as image:
        assert image.size == (10 * 30 + 2, CLASSES * 30 + 2)
    with Image.open(out / "training.gif") as animation:
        assert animation.n_frames == 3
    networks = json.loads((out / "networks.json").read_text())
    for name in ("generator", "discriminator"):
        layers = networks[name]["layers"]
        assert sum(layer["parameters"] for layer in layers) == networks[name]["parameters"]


def test_gaussian_mlp_saves_images_every_epoch_and_the_generator_every_tenth(tiny_data, tmp_path):
    defaults = make_config(model="gaussian_mlp")
    assert (defaults.sample_epochs, defaults.model_epochs) == (1, 10)
    # Half of each batch of 24 is real: 60 images are an epoch of 5 steps.
    result = run(tiny_data, tmp_path, model="gaussian_mlp", batch_size=24, steps=20, model_epochs=2)
    images = sorted(path.stem for path in (tmp_path / "out" / "samples").iterdir())
    assert images == [f"step_{step:07d}" for step in (0, 5, 10, 15, 20)]
    saved = sorted((tmp_path / "out" / "models").iterdir())
    assert [path.name for path in saved] == [
        "generator_epoch_0002.keras",
        "generator_epoch_0004.keras",
    ]
    latents = np.random.default_rng(0).normal(size=[3, 8]).astype(np.float32)
    np.testing.assert_allclose(
        keras.saving.load_model(saved[-1])([latents]), result.generator([latents]), atol=1e-6
    )


def test_a_run_starts_from_the_weights_of_another_one(tiny_run, tiny_data, tmp_path):
    """Those of version 0.1 too, whose generators have no grey levels."""
    old = {name: w for name, w in tiny_run[0].weights.items() if "/image/" not in name}
    config = make_config(**{**TINY, "steps": 1, "learning_rate": 1e-12})
    folders = {"checkpoint_dir": tmp_path, "output_dir": tmp_path / "out"}
    started = train(*tiny_data, config, CLASSES, 9, initial_weights=old, **folders)
    for name, weight in old.items():
        if name.startswith("discriminator/"):
            np.testing.assert_allclose(started.weights[name], weight, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros([2, 28, 28, 1], np.uint8), np.zeros(2, int), "float32"),
        (np.zeros([2, 28, 28], np.float32), np.zeros(2, int), "28, 28, 1"),
        (np.zeros([0, 28, 28, 1], np.float32), np.zeros(0, int), "images must be"),
        (np.full([2, 28, 28, 1], 255, np.float32), np.zeros(2, int), r"\[-1, 1\], got 255"),
        (np.full([2, 28, 28, 1], np.nan, np.float32), np.zeros(2, int), r"\[-1, 1\], got nan"),
        (np.zeros([2, 28, 28, 1], np.float32), np.zeros(3, int), r"integers \[2\]"),
        (np.zeros([2, 28, 28, 1], np.float32), np.array([0, 4]), r"0\.\.3, got 0\.\.4"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_name(tmp_path, images, labels, message):
    with pytest.raises(ValueError, match=message):
        run((images, labels), tmp_path)
