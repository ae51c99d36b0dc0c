"""What is said of workers that fail; whole runs on workers are in `tests/e2e/test_workers.py`."""

import pytest

from pipeline import engines


@pytest.mark.parametrize(
    "text, told",
    [
        ("RuntimeError: Channel closed prematurely.", "a worker was lost while it worked"),
        ("ModuleNotFoundError: No module named 'components'\n", "has no module 'components'"),
        ("x\nEngineError: a worker on h can't [while running 'Map']\ny", "a worker on h can't"),
    ],
)
def test_a_worker_that_fails_is_one_sentence(text, told):
    sentence = engines.explain(text)
    assert told in sentence
    assert "\n" not in sentence and "while running" not in sentence


def test_other_failures_are_left_to_others():
    assert engines.explain("ValueError: no examples") is None
