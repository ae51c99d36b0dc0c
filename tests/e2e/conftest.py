"""Whole runs of the pipeline as a user starts them, on a slice of real digits."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY, find_mnist

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


def run(workspace: pathlib.Path, *arguments: str, sources: pathlib.Path = REPOSITORY) -> Run:
    """Runs the pipeline to its end in a process of its own."""
    arguments, environment = command(workspace, *arguments, sources=sources)
    result = subprocess.run(
        arguments, cwd=sources, env=environment, capture_output=True, text=True, timeout=600
    )
    try:
        document = json.loads(result.stdout)
    except ValueError:
        raise AssertionError(f"no JSON on stdout: {result.stdout!r}\n{result.stderr}") from None
    return Run(result.returncode, document, result.stderr)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> pathlib.Path:
    """The workspace that the runs of one session share, in the order of the tests."""
    return tmp_path_factory.mktemp("e2e") / "workspace"


@pytest.fixture(scope="session")
def first(workspace) -> Run:
    """The first run in the shared workspace."""
    return run(workspace)
