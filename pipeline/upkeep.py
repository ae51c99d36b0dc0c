"""What is put right in a workspace before a run. The caller holds the workspace's lock."""

import logging
import os
import time

from ml_metadata.proto import metadata_store_pb2 as pb

from common.workspace import Workspace
from lineage import store
from lineage.store import ERROR_PROPERTY, Store, connect

_PROGRESS = logging.getLogger("mnist_gan.progress")
KILLED = "the run was killed here"


def put_right(workspace: Workspace) -> None:
    """All of it: folders that the metadata does not know, moved artifacts, killed executions.

    Raises:
      StoreError: the metadata can't be read.
    """
    set_aside_unknown(workspace)
    if workspace.metadata.exists():
        follow_move(workspace)
        close_interrupted(workspace)


def close_interrupted(workspace: Workspace, why: str = KILLED, only: int | None = None) -> None:
    """Marks executions and runs that claim to go on as FAILED: none does, as the lock is held.

    Where the lock is shared, that is known of the caller's own execution `only`.
    """
    handle = connect(workspace.metadata, readonly=False)
    ended = []
    for execution in handle.get_executions_by_id([only]) if only else handle.get_executions():
        if execution.last_known_state in (pb.Execution.RUNNING, pb.Execution.NEW):
            execution.last_known_state = pb.Execution.FAILED
            if ERROR_PROPERTY not in execution.custom_properties:
                execution.custom_properties[ERROR_PROPERTY].string_value = why
            ended.append(execution)
    if ended:
        handle.put_executions(ended)
    runs = [r.record for r in Store(handle).runs() if r.properties.get("state") == "RUNNING"]
    for run in runs:
        run.custom_properties["state"].string_value = "FAILED"
    if runs:
        handle.put_contexts(runs)


def follow_move(workspace: Workspace) -> int:
    """Writes today's paths into the metadata of a workspace that was moved or copied.

    Every reader of an artifact follows the path in ML Metadata: left as it was, it would lead to
    what lies at the old place now.

    Returns:
      How many artifacts have other paths than before.
    """
    handle = connect(workspace.metadata, readonly=False)
    changed = [a for a in handle.get_artifacts() if store.follow_move(a, workspace.root)]
    if changed:
        handle.put_artifacts(changed)
        _PROGRESS.warning("the workspace was moved: its metadata names %s now", workspace.root)
    return len(changed)


def set_aside_unknown(workspace: Workspace) -> list[str]:
    """Moves away the artifacts of executions that the metadata does not know.

    They are there where the metadata was removed, or is older than they are: its next executions
    would get the same numbers and write among them.

    Returns:
      The folders that were moved, as they were called.
    """
    last = 0
    if workspace.metadata.is_file() and workspace.metadata.stat().st_size:
        handle = connect(workspace.metadata, readonly=False)
        last = max((execution.id for execution in handle.get_executions()), default=0)
    unknown = sorted(
        path
        for path in workspace.pipeline_root.glob("*/*/*")
        if path.name.isdecimal() and int(path.name) > last and path.is_dir()
    )
    if not unknown:
        return []
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    there = len(list(workspace.root.glob(f"set_aside/{name}*")))  # of the same second
    aside = workspace.root / "set_aside" / (f"{name}-{there}" if there else name)
    for path in unknown:
        target = aside / path.relative_to(workspace.pipeline_root)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, target)
    _PROGRESS.warning(
        "%s knows no execution after number %d, and there are artifacts of later ones: they were "
        "moved to %s",
        workspace.metadata,
        last,
        aside,
    )
    return [str(path) for path in unknown]
