"""A workspace that the other stack made, opened in this one.

`tools/both_stacks.sh` runs this both ways; MNIST_GAN_OTHER_STACK is the folder in which the other
stack called `python -m tests.e2e.answers`. Without it there is nothing to compare with.
"""

import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.e2e import answers

FOLDER = os.environ.get("MNIST_GAN_OTHER_STACK")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not FOLDER, reason="MNIST_GAN_OTHER_STACK names no folder"),
]


@pytest.fixture(scope="module")
def theirs() -> dict:
    """What the stack that made the workspace was answered."""
    return json.loads(pathlib.Path(FOLDER, "answers", "answers.json").read_text())


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("own") / "answers"


@pytest.fixture(scope="module")
def ours(own_folder) -> dict:
    """What the same workspace answers to this stack."""
    return answers.ask(pathlib.Path(FOLDER, "workspace"), own_folder)


@pytest.fixture(scope="module")
def next_run(ours) -> dict:
    """A run of this stack in the same workspace, after it was asked as the other stack left it."""
    more = ["--set", "steps=24", "--set", "base_model=latest"]
    return json.loads(
        answers.call(*answers.RUN, *more, workspace=pathlib.Path(FOLDER, "workspace"))
    )


def pixels(path: pathlib.Path) -> np.ndarray:
    """Grey levels, wide enough to be subtracted."""
    return np.asarray(Image.open(path).convert("L"), np.int64)


def test_it_is_another_stack(ours, theirs):
    assert ours["versions"]["tfx"] != theirs["versions"]["tfx"]


@pytest.mark.parametrize("name", list(answers.COMMANDS))
def test_what_only_reads_says_the_same(ours, theirs, name):
    assert ours[name] == theirs[name]


def test_the_digests_of_all_files_are_verified(ours):
    assert ours["verify"]["ok"]
    assert ours["verify"]["files"] > 0


def test_the_report_is_the_same_page(ours, own_folder):
    page = (own_folder / "report.html").read_text()
    assert page == pathlib.Path(FOLDER, "answers", "report.html").read_text()


@pytest.mark.parametrize("name", ["drawn.png", "served.png"])
def test_the_same_seeds_give_the_same_digits(ours, own_folder, name):
    here, there = pixels(own_folder / name), pixels(pathlib.Path(FOLDER, "answers", name))
    assert here.std() > 20, "the image is empty"
    # Sums are added in another order: a pixel may round to the level beside.
    assert np.abs(here - there).max() <= 1


def test_the_same_generator_is_judged_the_same(ours, theirs):
    here, there = ours["evaluation"]["metrics"], theirs["evaluation"]["metrics"]
    assert here.keys() == there.keys()
    for name in ("fid", "real_fid"):
        assert here[name] == pytest.approx(there[name], rel=1e-3), name
    for name in ("accuracy", "precision", "recall", "coverage"):
        assert here[name] == pytest.approx(there[name], abs=5e-3), name


def test_the_next_run_goes_on_from_the_generator_of_the_other_stack(next_run, theirs):
    assert next_run["state"] == "COMPLETE"
    assert next_run["pushed_version"] > theirs["status"]["pushed_version"]
