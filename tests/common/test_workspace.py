"""The workspace's lock: one run at a time, and a dead process holds nothing."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from common.workspace import (
    FORBIDDEN,
    Workspace,
    WorkspaceBusyError,
    WorkspaceError,
    model_name,
)

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


@pytest.mark.parametrize("character", [*FORBIDDEN, "\n", "\x1b", "\udcff"])
def test_a_path_that_the_libraries_can_not_work_with_is_refused_by_the_character(
    tmp_path, character
):
    workspace = Workspace.at(tmp_path / f"a{character}b")
    with pytest.raises(WorkspaceError, match="would take for something else") as error:
        with workspace.lock():
            pass
    shown = character if character in FORBIDDEN else ascii(character)
    assert f"the character {shown}, " in str(error.value)
    str(error.value).encode()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_made_is_told_with_the_reason(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / ("x" * 300), tmp_path / "file" / "ws"):
        with pytest.raises(WorkspaceError, match=r"can't be written .*choose another folder"):
            with Workspace(path).lock():
                pass


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = r"no locks that keep a second run away \(No locks available\): choose"
    with pytest.raises(WorkspaceError, match=told):
        with Workspace.at(tmp_path).lock():
            pass


def share(tmp_path, run: str, node: str) -> subprocess.Popen:
    """A process that holds the workspace for a node; it says first whether it was alone."""
    code = HOLD.replace("lock()", "share(*sys.argv[2:], lambda: print('alone', end=' '))")
    command = [sys.executable, "-c", code, str(tmp_path), run, node]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_nodes_of_one_run_share_the_workspace_and_keep_others_out(tmp_path):
    workspace = Workspace.at(tmp_path)
    nodes = [share(tmp_path, "mine", "Trainer")]
    assert nodes[0].stdout.readline() == "alone held\n"
    try:
        nodes.append(share(tmp_path, "mine", "Evaluator"))
        assert nodes[1].stdout.readline() == "held\n"
        assert (workspace.is_locked(), workspace.holder()) == (True, "mine")
        for busy, said in (
            (workspace.lock(), "held by another run"),
            (workspace.share("other", "Pusher", lambda: None), "held by another run"),
            (workspace.share("mine", "Trainer", lambda: None), "Trainer of this run is at work"),
        ):
            with pytest.raises(WorkspaceBusyError, match=said), busy:
                pass
    finally:
        for node in nodes:
            node.kill()
            node.wait()
    assert not workspace.is_locked()
    alone = []
    with workspace.share("other", "Trainer", lambda: alone.append(workspace.holder())):
        assert alone == ["other"]


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


def test_the_model_that_is_meant_is_the_one_pushed_to_last_unless_one_is_named(tmp_path):
    for version in ("mnist_gan/100", "digits_gan/101", "digits_gan/200.rolled_back", "empty"):
        (tmp_path / "serving" / version).mkdir(parents=True)
    workspace = Workspace.at(tmp_path)
    assert workspace.models() == ["digits_gan", "mnist_gan"]
    assert workspace.serving == tmp_path / "serving" / "digits_gan"
    assert workspace.of_model("mnist_gan").serving == tmp_path / "serving" / "mnist_gan"
    assert workspace.of_model(None) == workspace


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("mnist", "mnist_gan"), ("emnist/letters", "emnist_letters_gan"), ("digits", "digits_gan")],
)
def test_another_data_set_is_another_model(dataset, name):
    assert model_name(dataset) == name


def test_a_relative_folder_is_pinned_to_where_the_command_was_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.at("here")
    monkeypatch.chdir("/")
    assert workspace.root == tmp_path / "here"
    assert os.fspath(workspace.metadata).startswith(str(tmp_path))
