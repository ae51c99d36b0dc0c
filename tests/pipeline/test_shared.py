"""Workspaces that were moved, linked, restored, or belong to somebody else: all commands agree."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from common.workspace import Workspace
from lineage.store import open_store
from pipeline import cli, upkeep
from tests.disks import mount
from tests.lineage.conftest import add_execution, eleven_runs  # noqa: F401 - a fixture

COMMANDS = (
    ("status", "--json"),
    ("lineage", "runs", "--json"),
    ("lineage", "trace", "--json"),
    ("lineage", "verify", "--json"),
    ("lineage", "stale", "--json"),
    ("versions", "list", "--json"),
)
NOBODY = 65534


def call(root: pathlib.Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli.main, [*arguments, "--workspace", str(root)])


def answers(root: pathlib.Path) -> list[str]:
    """What the commands that read say, with the workspace's own folder left out."""
    found = [call(root, *command) for command in COMMANDS]
    assert [result.stderr for result in found] == [""] * len(COMMANDS)
    where = str(root.resolve())
    for result in found:
        assert result.exit_code in (0, 1) and where in result.stdout + where
    return [result.stdout.replace(where, "WORKSPACE") for result in found]


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    if os.geteuid():
        pytest.skip("only root can become another user")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def space(eleven_runs) -> Iterator[Workspace]:  # noqa: F811
    """A copy of eleven runs that every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        space = Workspace.at(pathlib.Path(folder, "ws"))
        shutil.copytree(eleven_runs.root, space.root)
        upkeep.follow_move(space)
        yield space


def test_moved_linked_read_only_and_read_by_another_user_a_workspace_answers_alike(space, tmp_path):
    here = answers(space.root)
    link = tmp_path / "link"
    link.symlink_to(space.root)
    assert answers(link) == here
    with another_user():
        assert answers(space.root) == here
    shutil.copytree(space.root, tmp_path / "elsewhere" / "moved")
    # The one at the old place has another content now, which nobody asks for.
    shutil.rmtree(space.root / "pipeline_root" / "Trainer")
    assert answers(tmp_path / "elsewhere" / "moved") == here
    assert answers(space.root) != here


def test_a_read_only_workspace_is_read_and_what_writes_is_refused(space, tmp_path):
    here = answers(space.root)
    there = tmp_path / "read_only"
    there.mkdir()
    mount(there, "--bind", str(space.root))
    try:
        mount(there, "-o", "remount,bind,ro")
        assert answers(there) == here
        for command in (("report",), ("run", "--preset", "smoke"), ("lineage", "stale", "--prune")):
            refused = call(there, *command)
            assert refused.exit_code == (1 if command == ("report",) else 2), refused.output
            assert "read-only file system" in refused.stderr.lower()
    finally:
        os.system(f"umount --lazy {there}")


@pytest.mark.parametrize("closed", ["", "metadata.sqlite", "serving", "pipeline_root/Trainer"])
def test_what_umask_077_keeps_from_another_user_is_named(space, closed):
    path = space.root / closed
    path.chmod(path.stat().st_mode & 0o700)
    with another_user():
        found = [call(space.root, *command) for command in COMMANDS]
    refused = [result for result in found if result.exit_code == 2]
    assert refused
    for result in refused:
        assert isinstance(result.exception, SystemExit)
        assert str(path) in result.stderr
        assert "may not be used by this user" in result.stderr or "denied" in result.stderr


def test_metadata_that_is_older_than_the_artifacts_says_so_until_a_run_puts_it_right(
    space, tmp_path
):
    backup = shutil.copy(space.metadata, tmp_path / "backup.sqlite")
    # Since then: one more execution, its artifacts, and a version.
    later = add_execution(space, "Trainer", "run-later", 3)
    folder = space.pipeline_root / "Trainer" / "model" / str(later.id)
    folder.mkdir()
    (folder / "weights").write_bytes(b"new")
    newest = max(space.serving.iterdir(), key=lambda path: int(path.name))
    pushed = newest.with_name(str(int(newest.name) + 1))
    shutil.copytree(newest, pushed)
    shutil.copy(backup, space.metadata)

    status = json.loads(call(space.root, "status", "--json").stdout)
    trace = json.loads(call(space.root, "lineage", "trace", "--json").stdout)
    assert status["run_id"] == "run-00010" and str(pushed.name) not in json.dumps(trace)
    problems = json.loads(call(space.root, "lineage", "verify", "--json").stdout)["problems"]
    assert [(p["problem"], p["path"]) for p in problems] == [
        ("pushed by no pipeline run", str(pushed))
    ]
    stale = json.loads(call(space.root, "lineage", "stale", "--json").stdout)
    assert str(folder) in [item["path"] for item in stale["folders"]]

    upkeep.put_right(space)
    assert [p.read_bytes() for p in space.root.glob("set_aside/*/Trainer/model/*/weights")] == [
        b"new"
    ]
    assert max(open_store(space.metadata).all_executions) < later.id
