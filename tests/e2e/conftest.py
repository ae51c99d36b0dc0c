"""Whole runs of the pipeline as a user starts them, on a slice of the embedded digits.

The first run is made once a session, whatever the number of test processes. Each process works in
copies of its workspace, in which nothing is executed again unless a test changes something.
"""

import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from common.workspace import Workspace
from serving import versions
from tests.conftest import REPOSITORY
from tests.e2e.ready import Ready, Started

_READY = Ready()

# A slice, small networks and a handful of steps: what is tested is the machine, not the digits.
SHORT = (
    *("train_examples=600", "eval_examples=100", "test_examples=200", "num_fakes=300"),
    *("generator_channels=4", "discriminator_channels=4", "batch_size=16"),
    *("steps=150", "checkpoint_interval=15", "sample_interval=75"),
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


def arguments(workspace: pathlib.Path, *more: str, command: str = "run") -> list[str]:
    """Of a smoke run, or search, on a slice of digits."""
    options = ["--workspace", str(workspace), "--preset", "smoke", "--dataset", "digits", "--json"]
    for assignment in SHORT:
        # The networks of another model have no channels.
        if not (assignment.partition("=")[0].endswith("channels") and "model=dcgan" in more):
            options += ["--set", assignment]
    return [command, *options, *more]


def start(
    workspace: pathlib.Path, *more: str, terminal: str | None = None, command: str = "run"
) -> Started:
    """Starts the pipeline in a process of its own that need not import everything first."""
    return _READY.start(arguments(workspace, *more, command=command), terminal)


def start_command(*arguments: str) -> Started:
    """Starts any command of `mnist-gan` in the same way."""
    return _READY.start([*arguments])


def start_module(name: str, *arguments: str, **environment: str) -> Started:
    """Starts `python -m NAME ARGUMENTS` in the same way."""
    return _READY.start([*arguments], module=name, **environment)


def call(workspace: pathlib.Path, *more: str) -> subprocess.CompletedProcess:
    """Runs the pipeline to its end."""
    return start(workspace, *more).wait()


def run(workspace: pathlib.Path, *more: str, sources: pathlib.Path | None = None) -> Run:
    """Runs the pipeline to its end; where `sources` are named, all the way from Python's start."""
    if sources is None:
        result = call(workspace, *more)
    else:
        result = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments(workspace, *more)],
            cwd=sources,
            env={**os.environ, "PYTHONPATH": str(sources)},
            capture_output=True,
            text=True,
            timeout=1800,
        )
    try:
        document = json.loads(result.stdout)
    except ValueError:
        raise AssertionError(f"no JSON on stdout: {result.stdout!r}\n{result.stderr}") from None
    return Run(result.returncode, document, result.stderr)


def pushed(workspace: pathlib.Path) -> list[versions.Version]:
    """The versions in service, ascending."""
    return versions.list_versions(Workspace.at(workspace).serving)


def wait_for_training(workspace: pathlib.Path) -> None:
    """Waits for a checkpoint that was not there."""
    before = set(workspace.glob("checkpoints/**/*.ckpt"))
    deadline = time.monotonic() + 300
    while not set(workspace.glob("checkpoints/**/*.ckpt")) - before:
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.01)


@pytest.fixture(scope="session", autouse=True)
def _ready() -> Iterator[None]:
    yield
    _READY.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory, worker_id) -> tuple[pathlib.Path, Run]:
    """The workspace of the first run, which nobody changes, and what the run said."""
    folder = tmp_path_factory.getbasetemp()
    # All test processes of a session share the folder above.
    folder = folder / "e2e" if worker_id == "master" else folder.parent / "e2e"
    folder.mkdir(exist_ok=True)
    answer = folder / "run.json"
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.is_file():
            first = run(folder / "workspace", sources=REPOSITORY)
            answer.write_text(json.dumps(dataclasses.asdict(first)))
    return folder / "workspace", Run(**json.loads(answer.read_text()))


@pytest.fixture(scope="session")
def first(made) -> Run:
    """The first run, started as a user does."""
    return made[1]


@pytest.fixture(scope="module")
def workspace(made, tmp_path_factory) -> pathlib.Path:
    """A copy of the first run's workspace, for the tests of one file in their order."""
    copy = tmp_path_factory.mktemp("copy") / "workspace"
    shutil.copytree(made[0], copy)
    return copy


@pytest.fixture(scope="session")
def first_report(made) -> pathlib.Path:
    """The page that the first run wrote when it ended."""
    return made[0] / "report" / "index.html"
