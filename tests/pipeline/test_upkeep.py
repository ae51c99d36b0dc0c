"""What is put right before a run: moved workspaces, unknown folders, killed runs."""

import pathlib
import shutil
import time

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from common.workspace import Workspace, moved_path
from lineage import documents, verify
from lineage.store import facts_of, open_store
from pipeline import upkeep
from tests.lineage.conftest import (  # noqa: F401 - fixtures
    add_execution,
    eleven_runs,
    workspace,
    writer,
)


@pytest.mark.parametrize(
    ("path", "tail"),
    [
        ("/old/pipeline_root/Trainer/model/3", "pipeline_root/Trainer/model/3"),
        ("/old/pipeline_root/Trainer/model/3/x/y", "pipeline_root/Trainer/model/3/x/y"),
        ("/old/serving/mnist_gan/17", "serving/mnist_gan/17"),
        ("/pipeline_root/ws/pipeline_root/A/b/1", "pipeline_root/A/b/1"),
    ],
)
def test_a_path_of_a_workspace_is_one_of_the_workspace_of_today(tmp_path, path, tail):
    assert moved_path(path, tmp_path) == tmp_path / tail


@pytest.mark.parametrize("path", ["", "/data/mnist", "/x/pipeline_root", "/x/serving/model"])
def test_a_path_that_is_none_stays(tmp_path, path):
    assert moved_path(path, tmp_path) is None


def uris(space: Workspace) -> list[str]:
    facts = [facts_of(a.custom_properties) for a in writer(space).get_artifacts()]
    destinations = [f["pushed_destination"] for f in facts if "pushed_destination" in f]
    return [a.uri for a in writer(space).get_artifacts()] + destinations


def test_a_copy_reads_its_own_files_and_never_those_at_the_old_place(
    workspace,  # noqa: F811
    tmp_path,
    caplog,
):
    copy = Workspace.at(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    assert upkeep.follow_move(workspace) == 0
    assert upkeep.follow_move(copy) > 0
    assert f"the workspace was moved: its metadata names {copy.root} now" in caplog.text
    assert all(uri.startswith(f"{copy.root}/") for uri in uris(copy))
    assert all(uri.startswith(f"{workspace.root}/") for uri in uris(workspace))
    assert upkeep.follow_move(copy) == 0
    assert verify.verify(open_store(copy.metadata))["ok"]


def test_what_is_missing_in_a_copy_is_not_looked_for_at_the_old_place(workspace, tmp_path):  # noqa: F811
    copy = Workspace.at(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    shutil.rmtree(copy.pipeline_root / "SchemaGen")
    found = verify.verify(open_store(copy.metadata))["problems"]
    assert [problem["path"] for problem in found] == [
        str(copy.pipeline_root / "SchemaGen/schema/0")
    ]
    shutil.rmtree(copy.pipeline_root)
    store = open_store(copy.metadata)
    found = verify.verify(store)["problems"]
    assert len(found) > 5 and all(copy.root in pathlib.Path(p["path"]).parents for p in found)
    described = documents.status(store, copy, store.runs()[0])
    assert described["pushed_path"].startswith(str(copy.root))


def test_artifacts_that_the_metadata_does_not_know_are_moved_aside(tmp_path, caplog):
    space = Workspace.at(tmp_path / "ws")
    folder = space.pipeline_root / "Trainer" / "model" / "7"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"of a store that is gone")
    assert upkeep.set_aside_unknown(space) == [str(folder)]
    assert not folder.exists()
    assert "and there are artifacts of later ones: they were moved to" in caplog.text
    [kept] = space.root.glob("set_aside/*/Trainer/model/7/weights")
    assert kept.read_bytes() == b"of a store that is gone"
    assert upkeep.set_aside_unknown(space) == []


def test_what_was_set_aside_in_one_second_stays_apart(tmp_path, monkeypatch):
    now = time.gmtime(2**31)  # after the year 2038
    monkeypatch.setattr(upkeep.time, "gmtime", lambda: now)
    space = Workspace.at(tmp_path / "ws")
    for content in (b"first", b"second"):
        folder = space.pipeline_root / "Trainer" / "model" / "7"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(content)
        upkeep.set_aside_unknown(space)
    kept = sorted(p.read_bytes() for p in space.root.glob("set_aside/*/Trainer/model/7/weights"))
    assert kept == [b"first", b"second"]
    assert all(p.name.startswith("20380119T031408Z") for p in space.root.glob("set_aside/*"))


def test_what_the_metadata_knows_stays_and_what_is_newer_than_it_goes(workspace):  # noqa: F811
    assert upkeep.set_aside_unknown(workspace) == []
    newer = workspace.pipeline_root / "Trainer" / "model" / "99999"
    newer.mkdir()
    assert upkeep.set_aside_unknown(workspace) == [str(newer)]


def test_what_a_killed_run_left_running_is_closed(workspace):  # noqa: F811
    execution = add_execution(workspace, "Trainer", "run-killed", pb.Execution.RUNNING)
    upkeep.close_interrupted(workspace)
    [closed] = writer(workspace).get_executions_by_id([execution.id])
    assert closed.last_known_state == pb.Execution.FAILED
    assert closed.custom_properties["error"].string_value == "the run was killed here"
