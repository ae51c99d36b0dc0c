"""What is measured on the eval split while a GAN trains."""

import numpy as np
import pytest

from metrics.features import load_extractor
from tests.trainer.conftest import TINY_OF
from trainer.evaluation import make_evaluation
from trainer.training import LOOPS
from trainer.training_config import make_config


@pytest.mark.parametrize("model", ["cdcgan", "dcgan"])
def test_relative_fid_of_images_like_the_real_ones_is_about_1_and_of_others_far_above(model):
    random = np.random.default_rng(0)
    labels = np.arange(1200, dtype=np.int64) % 4

    def draw(wanted, contrast=1.0):
        noise = random.normal(0, 0.3, [len(wanted), 28, 28, 1])
        return np.clip(contrast * (wanted[:, None, None, None] / 2 - 1 + noise), -1, 1).astype("f4")

    config = make_config(**{**TINY_OF[model], "eval_samples": 300})
    evaluate = make_evaluation(
        draw(labels), labels, "noise", load_extractor(), config, LOOPS[model].architecture, seed=1
    )
    found = evaluate(lambda latents, wanted: draw(wanted))
    name = "relative_fid_300_eval"
    assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert found[name] == pytest.approx(1, abs=0.5)
    assert evaluate(lambda latents, wanted: draw(wanted, 0.5))[f"{name}_low"] > 3
