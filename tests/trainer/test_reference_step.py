"""The step that is shown in the documents is the one that is trained with."""

import textwrap

import numpy as np

from tests.conftest import REPOSITORY
from tests.trainer.conftest import CLASSES, TINY
from trainer.reference_step import reference_step
from trainer.train_loop import GanLoop
from trainer.training_config import make_config


def test_the_step_of_a_book_gives_the_same_weights_as_the_fast_loop(tiny_data):
    config = make_config(**{**TINY, "augment_share": 0.0, "r1_interval": 2})
    fast, slow = (GanLoop(*tiny_data, config, CLASSES, 5) for _ in range(2))
    for step in range(3):
        real, labels = slow.real_batch()
        reference_step(
            slow.generator,
            slow.discriminator,
            slow.generator_optimizer,
            slow.discriminator_optimizer,
            real,
            labels,
            slow.latent_batch(),
            penalty_weight=config.r1_weight * config.r1_interval if step % 2 == 0 else 0.0,
        )
        slow.update_average()
        slow.step.assign_add(1)
    start = {name: value.numpy() for name, value in fast.network_state().items()}
    fast.run(np.int64(3))
    expected = fast.network_state()
    for name, value in slow.network_state().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=2e-5, err_msg=name)
        if name.endswith("kernel"):  # which is a small part of what they have moved
            assert np.abs(value - start[name]).max() > 1e-3


def test_the_document_shows_the_step_as_it_is():
    document = (REPOSITORY / "docs/concepts/gan.md").read_text()
    shown = document.split("```python\n")[1].split("```")[0]
    assert textwrap.indent(shown, "    ") in (REPOSITORY / "trainer/reference_step.py").read_text()
