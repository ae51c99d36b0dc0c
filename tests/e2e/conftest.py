"""Whole runs of the pipeline as a user starts them, on a slice of real digits."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import REPOSITORY, find_mnist
from tests.e2e.ready import Ready

_READY = Ready()

# A slice and a handful of steps: what is tested is the machine, not the digits.
SLICE = ("train_examples=1500", "eval_examples=200", "test_examples=300")
SHORT = (
    "steps=24",
    "batch_size=32",
    "checkpoint_interval=8",
    "sample_interval=12",
    "num_fakes=300",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of `mnist-gan run --json`."""

    exit_code: int
    document: dict
    stderr: str

    def states(self) -> dict[str, str]:
        """Node to state."""
        return {node["id"]: node["state"] for node in self.document["nodes"]}


def command(
    workspace: pathlib.Path, *arguments: str, sources: pathlib.Path = REPOSITORY
) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of a smoke run on a slice of real digits."""
    data = find_mnist()
    options = ["--workspace", str(workspace), "--preset", "smoke", "--json"]
    options += ["--dataset", "mnist", "--data-dir", str(data)] if data else ["--dataset", "digits"]
    for assignment in (*SLICE, *SHORT) if data else SHORT:
        options += ["--set", assignment]
    environment = {**os.environ, "PYTHONPATH": str(sources)}
    return [sys.executable, "-m", "pipeline", "run", *options, *arguments], environment


def call(workspace: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs the pipeline in a process of its own that need not import everything first."""
    words, _ = command(workspace, *arguments)
    return _READY.call(words[words.index("run") :])


def run(workspace: pathlib.Path, *arguments: str, sources: pathlib.Path | None = None) -> Run:
    """Runs the pipeline to its end; where `sources` are named, all the way from Python's start."""
    if sources is None:
        result = call(workspace, *arguments)
    else:
        words, environment = command(workspace, *arguments, sources=sources)
        result = subprocess.run(
            words, cwd=sources, env=environment, capture_output=True, text=True, timeout=1800
        )
    try:
        document = json.loads(result.stdout)
    except ValueError:
        raise AssertionError(f"no JSON on stdout: {result.stdout!r}\n{result.stderr}") from None
    return Run(result.returncode, document, result.stderr)


@pytest.fixture(scope="session", autouse=True)
def _ready() -> Iterator[None]:
    yield
    _READY.close()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> pathlib.Path:
    """The workspace that the runs of one session share, in the order of the tests."""
    return tmp_path_factory.mktemp("e2e") / "workspace"


@pytest.fixture(scope="session")
def first(workspace) -> Run:
    """The first run in the shared workspace, started as a user does."""
    ended = run(workspace, sources=REPOSITORY)
    # Its report, before the runs that follow write theirs.
    shutil.copytree(workspace / "report", workspace.parent / "first_report")
    return ended


@pytest.fixture(scope="session")
def first_report(first, workspace) -> pathlib.Path:
    """The page that the first run wrote when it ended."""
    return workspace.parent / "first_report" / "index.html"
