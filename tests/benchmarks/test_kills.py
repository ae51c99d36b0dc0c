"""The disturbing of runs: calls that fail when they are to, and runs that are killed."""

import errno
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest

from benchmarks import kills

CALLS = """
import os, sys
below, outside = sys.argv[1:]
for folder in (outside, below):
    for number in (1, 2, 3):
        for call in ("write", "fsync", "rename"):
            path = os.path.join(folder, f"{call}{number}")
            file = os.open(path, os.O_WRONLY | os.O_CREAT)
            try:
                if call == "write":
                    os.write(file, b"x")
                elif call == "fsync":
                    os.fsync(file)
                else:
                    os.rename(path, path + ".new")
            except OSError as error:
                print(path, error.errno)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("call", range(len(kills.CALLS)))
def test_the_call_that_was_named_fails_once_below_the_folder(tmp_path, call):
    library, shared = tmp_path / "failing_calls.so", tmp_path / "shared"
    command = ["cc", "-shared", "-fPIC", "-o", library, kills.SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    shared.write_bytes(kills.SHARED.pack(call, 2, errno.EDQUOT, 0, 0, 0, 0, 0))
    below, outside = tmp_path / "below", tmp_path / "outside"
    below.mkdir()
    outside.mkdir()
    names = {"FAILING_CALLS": shared, "FAILING_CALLS_BELOW": below, "LD_PRELOAD": library}
    done = subprocess.run(
        [sys.executable, "-c", CALLS, below, outside],
        env={**os.environ, **{name: str(value) for name, value in names.items()}},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{below}/{kills.CALLS[call]}2 {errno.EDQUOT}\n"
    _, _, _, happened, *made, _ = kills.SHARED.unpack(shared.read_bytes())
    assert (happened, made) == (1, [3, 3, 3])


@pytest.fixture
def shared() -> mmap.mmap:
    return mmap.mmap(-1, kills.SHARED.size)


@pytest.fixture
def stand_in(monkeypatch, shared):
    """In the place of a run: ends a node every 50 ms, and has a call fail once it is told to."""

    def start(arguments, output) -> int:
        if child := os.fork():
            return child
        for number in range(100):
            with open(output.with_suffix(".err"), "a") as file:
                file.write(f"✓ Node{number}  complete\n")
            if kills.SHARED.unpack(shared[:])[1]:
                shared[24:32] = struct.pack("q", 1)
            time.sleep(0.05)
        os._exit(0)

    monkeypatch.setattr(kills, "start", start)


STAGES = [kills.Stage(0.05, (0, 0, 0)), kills.Stage(0.05, (0, 0, 0)), kills.Stage(0.05, (5, 0, 0))]


def test_a_run_is_killed_in_the_node_that_was_drawn(tmp_path, shared, stand_in):
    kind, _, run = kills.disturb(tmp_path, shared, STAGES, 1, random.Random(0), True)
    assert (kind, run.happened, run.code) == ("kill -9", True, -signal.SIGKILL)
    assert 1 <= len(run.nodes()) <= 5


def test_a_run_that_a_failing_call_does_not_end_is_ended_two_nodes_later(
    tmp_path, shared, stand_in
):
    choice = random.Random(1)  # whose first number is below a half
    kind, _, run = kills.disturb(tmp_path, shared, STAGES, 2, choice, True)
    assert kind.startswith("write: ")
    assert (run.happened, run.code) == (True, -signal.SIGKILL)
    assert 4 <= len(run.nodes()) <= 8
    assert kills.SHARED.unpack(shared[:])[1] == 0, "nothing fails any more"
