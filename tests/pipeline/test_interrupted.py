"""Runs of two small nodes that are killed, and whose disk fills up, closes or goes away."""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
import types
from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.portable import data_types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from common.workspace import Workspace, WorkspaceError
from lineage import stale, verify
from lineage.store import open_store
from pipeline import cache, cli, local_runner, upkeep, vanished
from pipeline.commands import generate
from pipeline.options import Failure
from serving import versions
from tests.disks import fill, mount
from tests.lineage.conftest import eleven_runs, workspace  # noqa: F401 - fixtures
from tests.pipeline.test_cache import View


@pytest.fixture
def disk(tmp_path) -> Iterator[pathlib.Path]:
    """An empty disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@component
def Give(examples: OutputArtifact[standard_artifacts.Examples]) -> None:
    """Writes one file."""
    pathlib.Path(examples.uri, "data").write_text("some examples")


@component
def Disturbed(
    examples: InputArtifact[standard_artifacts.Examples],
    model: OutputArtifact[standard_artifacts.Model],
    root: Parameter[str],
) -> None:
    """Copies it, after something has happened to the workspace: see `HAPPENS`."""
    if happens := HAPPENS.pop("now", None):
        happens(pathlib.Path(root))
    pathlib.Path(model.uri, "data").write_bytes(pathlib.Path(examples.uri, "data").read_bytes())


HAPPENS: dict = {}


def run(space: Workspace, name: str, root: str = "") -> dict[str, str]:
    """Both nodes in `space`; node to state. Another `root` is another input."""
    upkeep.put_right(space)
    connection = metadata.sqlite_metadata_connection_config(str(space.metadata))
    give, view = Give(), View()
    with cache.exact(space.root):
        local_runner.ObservedDagRunner(view, connection, name).run(
            pipeline.Pipeline(
                pipeline_name="small",
                pipeline_root=str(space.pipeline_root),
                components=[
                    give,
                    Disturbed(examples=give.outputs["examples"], root=root or str(space.root)),
                ],
                enable_cache=True,
                metadata_connection_config=connection,
            )
        )
    return view.states


def test_a_disk_that_fills_up_is_named_with_the_node_and_the_next_run_goes_on(disk):
    space = Workspace.at(disk / "ws")
    space.root.mkdir()
    HAPPENS["now"] = fill  # the metadata, which is on the same disk, can't be written either
    with pytest.raises(local_runner.NodeFailedError) as raised:
        run(space, "1")
    assert str(raised.value) == (
        f"Disturbed: no space left on device under {space.root} (0 bytes are free): "
        "make room and run again; what was finished is kept"
    )
    (space.root / "ballast").unlink()
    assert run(space, "2") == {"Give": "CACHED", "Disturbed": "COMPLETE"}
    states = {e.state for e in open_store(space.metadata).all_executions.values()}
    assert states == {"COMPLETE", "CACHED", "FAILED"}, "nothing claims to run"


def test_a_disk_that_can_not_be_written_any_more_is_named(disk):
    space = Workspace.at(disk / "ws")
    space.root.mkdir()

    def close(root: pathlib.Path) -> None:
        mount(disk, "-o", "remount,ro")

    HAPPENS["now"] = close
    with pytest.raises(local_runner.NodeFailedError, match="mend that and run again") as raised:
        run(space, "1")
    assert f"Disturbed: read-only file system under {space.root} (" in str(raised.value)
    mount(disk, "-o", "remount,rw")
    assert run(space, "2") == {"Give": "CACHED", "Disturbed": "COMPLETE"}


def test_a_push_to_a_full_disk_says_how_much_it_needs_and_is_made_when_there_is_room(
    disk, tmp_path
):
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(bytes(100_000))
    base = disk / "mnist_gan"
    base.mkdir()
    ballast = fill(disk)
    said = "is full: nothing was pushed. The model has 100,000 bytes, 0 are free"
    with pytest.raises(versions.PublishError, match=said):
        versions.publish(model, base, lambda number: ({}, {}))
    assert list(base.iterdir()) == []
    ballast.unlink()
    assert versions.publish(model, base, lambda number: ({}, {}))[1]


def test_a_report_on_a_full_disk_names_the_file_and_leaves_the_one_before(
    workspace,  # noqa: F811
    disk,
):
    workspace.report.parent.symlink_to(disk)
    (disk / "index.html").write_text("the one before")
    fill(disk)
    told = CliRunner().invoke(cli.main, ["report", "--workspace", str(workspace.root)])
    assert told.exit_code == 1
    assert f"{workspace.report} can't be written: no space left on device" in told.output
    assert "(0 bytes are free): make room and run again" in told.output
    assert sorted(p.name for p in disk.iterdir()) == ["ballast", "index.html"]
    assert (disk / "index.html").read_text() == "the one before"


def begun(space: Workspace) -> contextlib.AbstractContextManager:
    """As `compile` and `node` begin."""
    view = types.SimpleNamespace(phase=print)
    return cli._starting(space, view, False, space.root / "log")


@pytest.mark.parametrize("command", [lambda _: cli._one_message(), begun])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_file_that_a_command_can_not_write_is_told_with_its_own_folder(
    tmp_path, monkeypatch, command, error
):
    def fail(_: int) -> None:
        raise OSError(error, os.strerror(error))  # as of a call that knows no name

    monkeypatch.setattr(os, "fsync", fail)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "sheet.png").write_text("the one before")
    with pytest.raises(Failure) as raised, command(Workspace.at(tmp_path / "ws")):
        generate._write_image(np.zeros([28, 28], np.uint8), folder / "sheet.png", "PNG")
    assert raised.value.exit_code == 1
    said = os.strerror(error)
    assert f"{said[0].lower()}{said[1:]} under {folder} (" in raised.value.message
    assert "and run again" in raised.value.message
    assert [path.read_bytes() for path in folder.iterdir()] == [b"the one before"]


def test_a_workspace_that_goes_away_while_it_is_used_is_said_to_be_gone(tmp_path):
    space = Workspace.at(tmp_path / "ws")
    with space.lock():
        run(space, "1")
        vanished.check_still_there(space, "1")
        space.root.rename(tmp_path / "elsewhere")
        with pytest.raises(WorkspaceError, match="was removed or renamed while the run went on"):
            vanished.check_still_there(space, "1")
        # Nor is a folder that a library has made again the one that was locked.
        space.root.mkdir()
        with pytest.raises(WorkspaceError, match="put it back and run again"):
            vanished.check_still_there(space, "1")


def remove_and_make_again(folder: pathlib.Path) -> None:
    [execution] = folder.iterdir()
    shutil.rmtree(folder)
    execution.mkdir(parents=True)  # as libraries do


@pytest.mark.parametrize("remove", [shutil.rmtree, remove_and_make_again])
@pytest.mark.parametrize("gone", ["Give/examples", "Disturbed/model"])
def test_a_folder_that_a_node_reads_or_writes_and_that_goes_away_is_named(tmp_path, gone, remove):
    space = Workspace.at(tmp_path / "ws")
    space.root.mkdir()
    HAPPENS["now"] = lambda root: remove(root / "pipeline_root" / gone)
    with pytest.raises(local_runner.NodeFailedError) as raised:
        run(space, "1")
    number = {"Give/examples": "1", "Disturbed/model": "2"}[gone]
    assert str(raised.value) == (
        f"Disturbed: the folder {space.pipeline_root / gone / number} was removed or renamed while "
        "Disturbed ran: put it back or leave it, and run again; what is missing is made again"
    )
    assert run(space, "2")["Disturbed"] == "COMPLETE"


def test_a_folder_that_goes_away_before_the_node_that_reads_it_is_named(tmp_path, monkeypatch):
    space = Workspace.at(tmp_path / "ws")
    space.root.mkdir()
    gone = space.pipeline_root / "Give" / "examples" / "1"
    with monkeypatch.context() as patch, pytest.raises(local_runner.NodeFailedError) as raised:
        patch.setattr(View, "node_ended", lambda *_: shutil.rmtree(gone, ignore_errors=True))
        run(space, "1")
    assert f"Disturbed: the folder {gone} was removed or renamed" in str(raised.value)
    assert run(space, "2") == {"Give": "COMPLETE", "Disturbed": "COMPLETE"}


def test_the_folder_that_is_pushed_to_and_the_copy_of_what_was_pushed_are_watched(tmp_path):
    destination = pusher_pb2.PushDestination()
    destination.filesystem.base_directory = str(tmp_path / "serving")
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "copy")
    told = data_types.ExecutionInfo(
        output_dict={"pushed_model": [pushed]},
        exec_properties={"push_destination": proto_utils.proto_to_json(destination)},
    )
    assert vanished.folders_of(told) == [pushed.uri, str(tmp_path / "serving")]


def test_metadata_that_goes_away_while_it_is_used_is_said_to_be_gone(tmp_path):
    space = Workspace.at(tmp_path / "ws")
    space.root.mkdir()
    HAPPENS["now"] = lambda root: (root / "metadata.sqlite").unlink()
    with pytest.raises(local_runner.NodeFailedError) as raised:
        run(space, "1")
    said = f"the metadata {space.metadata} was removed or replaced while the run went on"
    assert said in str(raised.value)
    with space.lock(), pytest.raises(WorkspaceError, match="without it the next run begins anew"):
        vanished.check_still_there(space, "1")
    assert run(space, "2") == {"Give": "COMPLETE", "Disturbed": "COMPLETE"}


def test_twenty_killed_runs_leave_nothing_that_the_next_does_not_put_right(tmp_path):
    space = Workspace.at(tmp_path / "ws")
    space.root.mkdir()
    begun = time.monotonic()
    run(space, "undisturbed")
    seconds = time.monotonic() - begun
    choice = random.Random(0)
    for number in range(20):
        if not (child := os.fork()):
            try:
                run(space, f"killed-{number}", root=str(number % 3))
            finally:
                os._exit(0)
        time.sleep(choice.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert set(run(space, "last", root="1").values()) <= {"COMPLETE", "CACHED"}
    store = open_store(space.metadata)
    assert verify.verify(store)["ok"]
    assert {e.state for e in store.all_executions.values()} <= {"COMPLETE", "CACHED", "FAILED"}
    found = stale.stale(store, space.pipeline_root, alive=False)
    assert (found["running"], found["missing"]) == ([], [])
    stale.prune(space.metadata, space.pipeline_root, found)
    left = stale.stale(open_store(space.metadata), space.pipeline_root, alive=False)
    assert not any(left[key] for key in ("running", "missing", "unreferenced", "folders"))
    assert set(run(space, "after", root="1").values()) == {"CACHED"}
