"""The benchmark of training: what it concludes from figures, and what it counts."""

import time

import numpy as np
import pytest

from benchmarks import ceiling, training
from benchmarks.contenders import CONTENDERS
from common.images import to_floats
from tests.trainer.conftest import TINY
from trainer.train_loop import GanLoop
from trainer.training_config import make_config


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Noise with labels: uint8 [60, 28, 28, 1] and int64 [60]."""
    images = np.random.default_rng(0).integers(0, 256, [60, 28, 28, 1], dtype=np.uint8)
    return images, np.arange(60, dtype=np.int64) % 4


def tiny_loop(data) -> GanLoop:
    """8 images per batch, 8 channels."""
    images, labels = data
    return GanLoop(to_floats(images.astype(np.float32)), labels, make_config(**TINY), 4, 0)


def result(name, seed=0, **marks):
    return {
        "name": name,
        "seed": seed,
        "generator_parameters": 1000,
        "discriminator_parameters": 2000,
        "images_per_second": 1500.0,
        "marks": [
            {
                "mark": float(mark[1:]),
                "minutes": float(mark[1:]),
                "relative_fid": {"classifier": value, "pooled": value / 2},
                "cas": 0.9,
            }
            for mark, value in marks.items()
        ],
    }


def test_the_table_has_a_row_a_contender_and_the_range_over_seeds():
    results = [
        result("ours", m2=8.0, m10=1.5),
        result("ours", seed=1, m2=10.0, m10=1.7),
        result("naive", m2=1490.0, m10=3.4),
    ]
    lines = training.table(results).splitlines()
    assert "2 min" in lines[0] and "10 min" in lines[0]
    assert "1.6 (1.5 to 1.7), CAS 90.00%" in lines[2]
    assert "1.49e+03" in lines[3] and len(lines) == 4


def test_a_mark_that_was_missed_by_far_says_when_it_was():
    late = result("ours", m4=2.0)
    late["marks"][0]["minutes"] = 4.3
    assert "(at 4.30 min)" in training.table([late])


def test_the_verdict_sets_us_beside_the_naive_recipe_by_every_extractor():
    results = [result("ours", m4=3.0, m10=1.5), result("naive_r1", m2=23.0, m10=2.5)]
    (line,) = training.verdict(results, 10.0).splitlines()
    assert "10 min" in line and "0.60 (classifier), 0.60 (pooled)" in line


def test_our_steps_are_those_that_the_minutes_let_fit(data, monkeypatch):
    now = 0.0

    def run(self, count):
        nonlocal now
        self._loop.step.assign_add(count)
        now += count / 20

    monkeypatch.setattr(training.Ours, "_run", run)
    ours = training.Ours(*data, 0, 10.0, lambda: now)
    trained = ours.advance(240.0, lambda: now)
    trained += ours.advance(1e9, lambda: now)
    assert ours.steps == pytest.approx(12_000, rel=0.01)
    assert trained == pytest.approx(600.0, rel=0.02)


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_contender_learns_and_draws_what_the_judge_takes(name, data):
    contender = CONTENDERS[name](*data, 0)
    before = contender.generate(np.arange(4), 1)
    contender.advance(0.01, time.monotonic)
    assert contender.steps >= 1
    after = contender.generate(np.arange(4), 1)
    assert after.shape == (4, 28, 28, 1) and np.abs(after).max() <= 1
    assert np.abs(after - before).max() > 0


def test_the_naive_recipe_has_the_size_that_it_was_measured_with(data):
    naive = CONTENDERS["naive"](*data, 0)
    assert naive.generator.count_params() == pytest.approx(440_000, rel=0.02)
    assert naive.discriminator.count_params() == pytest.approx(200_000, rel=0.1)


def test_the_ceiling_counts_every_kernel_of_a_step(data):
    loop = tiny_loop(data)
    works = {work.name: work for work in ceiling.works_of(loop)}
    up = works["G, up_14x14"]
    assert up.passes == ceiling.PASSES
    assert up.multiplications == 8 * 7 * 7 * (4 * 4 * 16 * 8)
    first = works["D for itself, conv_14x14"]
    assert first.passes == ("forward", "by weights")
    assert first.multiplications == 2 * 8 * 14 * 14 * (3 * 3 * 4 * 8)
    assert works["D for G, conv_14x14"].passes == ("forward", "by input")


@pytest.mark.parametrize("which", ceiling.PASSES)
def test_each_kernel_gives_what_its_layer_or_gradient_has_the_shape_of(data, which):
    import tensorflow as tf

    loop = tiny_loop(data)
    for work in ceiling.works_of(loop):
        operation, arguments = work.kernel(which, tf.float32)
        expected = {
            "forward": [work.batch, *work.layer.output.shape[1:]],
            "by input": [work.batch, *work.layer.input.shape[1:]],
            "by weights": list(work.layer.kernel.shape),
        }[which]
        assert operation(*arguments).shape.as_list() == list(expected)
