"""The workspace's lock: one run at a time, and a dead process holds nothing."""

import os
import subprocess
import sys

import pytest

from common.workspace import Workspace, WorkspaceBusyError

HOLD = (
    "import sys, time; from common.workspace import Workspace\n"
    "with Workspace.at(sys.argv[1]).lock(): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_is_refused_and_told_who_holds_the_workspace(tmp_path, holder):
    workspace = Workspace.at(tmp_path)
    assert workspace.is_locked()
    with pytest.raises(WorkspaceBusyError, match=f"process {holder.pid}.*--workspace"):
        with workspace.lock():
            pass


def test_a_killed_process_keeps_no_lock(tmp_path, holder):
    holder.kill()
    holder.wait()
    with Workspace.at(tmp_path).lock():
        pass


def test_the_lock_ends_with_the_block(tmp_path):
    workspace = Workspace.at(tmp_path)
    with workspace.lock():
        pass
    assert not workspace.is_locked()
    with workspace.lock():
        pass


def test_asking_for_paths_makes_nothing(tmp_path):
    workspace = Workspace.at(tmp_path / "new")
    assert not workspace.is_locked()
    assert workspace.serving.name == "mnist_gan"
    assert not workspace.root.exists()


def test_a_relative_folder_is_pinned_to_where_the_command_was_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.at("here")
    monkeypatch.chdir("/")
    assert workspace.root == tmp_path / "here"
    assert os.fspath(workspace.metadata).startswith(str(tmp_path))
