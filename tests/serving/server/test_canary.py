"""A version on trial gets its share of requests, and none any more once it is credibly worse."""

import json
import random

import pytest

from serving.server import canary
from tests.serving.server.conftest import eventually, push

GENERATE = {"signature_name": "generate", "instances": [{"seed": 1, "label": 7}]}


def trial(folder, share=10.0) -> canary.Router:
    canary.Canary(version=2, stable=1, share=share).write(folder)
    return canary.Router(folder, seed=1)


def ask(router, count, fails=None, seconds=None):
    """Requests of which those to version v fail with chance fails[v] and take seconds[v]."""
    chance = random.Random(2)
    answered = []
    for _ in range(count):
        version = router.choose()
        answered.append(version)
        time = (seconds or {}).get(version, 0.01) * chance.uniform(0.5, 1.5)
        router.record(version, chance.random() < (fails or {}).get(version, 0.0), time)
    return answered


def test_without_a_file_the_newest_version_answers(tmp_path):
    assert canary.Router(tmp_path).choose() is None


@pytest.mark.parametrize("share", [0, 10, 50, 100])
def test_the_share_goes_to_the_canary(tmp_path, share):
    answered = ask(trial(tmp_path, share), 2000)
    assert abs(answered.count(2) / 20 - share) < 4
    assert set(answered) <= {1, 2}


def test_a_canary_that_is_as_good_goes_on(tmp_path):
    for seed in range(20):
        router = trial(tmp_path, 50)
        router._random.seed(seed)
        ask(router, 2000, fails={1: 0.05, 2: 0.05})
        assert canary.read(tmp_path).aborted == ""


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        ({"fails": {2: 0.3}}, "of its requests fail, 0.0% of the stable version's"),
        ({"seconds": {2: 0.03}}, "its answers take"),
    ],
)
def test_a_canary_that_is_credibly_worse_gets_no_further_requests(tmp_path, worse, words):
    router = trial(tmp_path, 50)
    ask(router, 1500, **worse)
    assert set(ask(router, 100)) == {1}
    written = canary.read(tmp_path)
    assert written.share == 0
    assert words in written.aborted


def test_a_canary_that_is_better_is_not_stopped(tmp_path):
    ask(trial(tmp_path, 50), 1500, fails={1: 0.3}, seconds={1: 0.05})
    assert canary.read(tmp_path).share == 50


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"version": 1}', '{"version": 1, "stable": 1, "share": 5}',
             '{"version": 2, "stable": 1, "share": 101}'],
)  # fmt: skip
def test_a_file_that_makes_no_sense_changes_nothing(tmp_path, text):
    router = trial(tmp_path, 100)
    assert router.choose() == 2
    (tmp_path / canary.FILE_NAME).write_text(text)
    router._looked = float("-inf")
    assert router.choose() == 2
    with pytest.raises(ValueError, match="does not describe a canary"):
        canary.read(tmp_path)


def test_a_server_shares_its_requests_and_stops_a_canary_that_fails(start, digits, base_path):
    push(digits, base_path, 2)
    running = start(base_path, "--model_config_file_poll_wait_seconds=1", watch_labels=True)
    from serving.server import model_config

    canary.Canary(version=2, stable=1, share=50).write(base_path)
    for label, version in (("stable", 1), ("canary", 2)):
        model_config.set_label(base_path, "digits", label, version)
    eventually(lambda: running.versions() == {2: "AVAILABLE", 1: "AVAILABLE"})

    def version() -> int:
        image = running.predict("digits", GENERATE).json()["predictions"][0]
        return round(image[0][0][0] * 100 / 8)

    eventually(lambda: {version() for _ in range(20)} == {1, 2})
    canary_model = running.server.core.manager._models["digits"].servables[2].loaded

    def broken(*arguments):
        raise RuntimeError("out of order")

    canary_model.run = broken
    for _ in range(400):
        running.predict("digits", GENERATE)
    written = json.loads((base_path / canary.FILE_NAME).read_text())
    assert "of its requests fail" in written["aborted"]
    assert {version() for _ in range(20)} == {1}
    assert running.predict("digits/labels/canary", GENERATE).status_code == 500
