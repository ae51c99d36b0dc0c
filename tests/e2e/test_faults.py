"""What is done to whole runs from outside: signals, terminals that close, disks that are full.

The tests of this file share a copy of the first run's workspace.
"""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import time

import pytest

from tests.disks import fill, mount
from tests.e2e.conftest import run, start, wait_for_training

pytestmark = pytest.mark.e2e

ENDLESS = ("--from", "Trainer", "--set", "steps=900000", "--set", "sample_interval=900000")
WRITING = ("MnistExampleGen", "StatisticsGen", "SchemaGen", "ExampleSchema", "ExampleValidator",
           "DataGate", "Transform", "Trainer", "GeneratorValidator", "Evaluator")  # fmt: skip


def test_ctrl_c_twice_stops_at_once_and_says_so_once(workspace):
    begun = start(workspace, *ENDLESS)
    wait_for_training(workspace)
    os.kill(begun.pid, signal.SIGINT)
    os.kill(begun.pid, signal.SIGINT)
    stopped = begun.wait()
    assert stopped.returncode == 130
    assert " ".join(stopped.stderr.split()).count("next run goes on") <= 1
    assert "Traceback" not in stopped.stderr and "Exception ignored" not in stopped.stderr
    assert json.loads(stopped.stdout)["stopped"] is True


def test_a_terminal_that_closes_stops_the_run_in_order(workspace):
    ours, theirs = pty.openpty()
    begun = start(workspace, *ENDLESS, terminal=os.ttyname(theirs))
    shown, deadline = b"", time.monotonic() + 300
    while b"Transform" not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([ours], [], [], 1)[0]:
            shown += os.read(ours, 4096)
    wait_for_training(workspace)
    os.close(theirs)
    os.close(ours)  # from here on nothing can be written to it
    os.kill(begun.pid, signal.SIGHUP)
    stopped = begun.wait()
    assert stopped.returncode == 130
    document = json.loads(stopped.stdout)
    assert (document["state"], document["stopped"]) == ("FAILED", True)
    [error] = [node["error"] for node in document["nodes"] if node["id"] == "Trainer"]
    assert error.startswith("SIGHUP stopped the training at step") and "next run goes on" in error


@pytest.fixture(scope="module")
def full(workspace) -> pathlib.Path:
    """The workspace, whose artifacts lie on a disk of their own that is full."""
    root = workspace / "pipeline_root"
    root.rename(workspace / "kept")
    root.mkdir()
    mount(root, "-t", "tmpfs", "-o", "size=32m", "tmpfs")
    shutil.copytree(workspace / "kept", root, dirs_exist_ok=True)
    fill(root)
    yield workspace
    subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.mark.parametrize("node", WRITING)
def test_a_full_disk_is_told_with_the_node_and_its_folder(full, node):
    refused = run(full, "--from", node)
    assert refused.exit_code == 1
    assert refused.states()[node] == "FAILED"
    [error] = [n["error"] for n in refused.document["nodes"] if n["id"] == node]
    assert error == (
        f"no space left on device under {full / 'pipeline_root'} (0 bytes are free): "
        "make room and run again; what was finished is kept"
    )
    assert "Traceback" not in refused.stderr
