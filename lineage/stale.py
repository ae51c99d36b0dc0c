"""What a store still claims and what lies about unused, and how to remove the latter."""

import collections
import os
import pathlib
import shutil

from ml_metadata.proto import metadata_store_pb2 as pb

from lineage import documents
from lineage.store import Store, connect


class PruneError(RuntimeError):
    """Something could not be removed; the message says what and why."""


def stale(store: Store, pipeline_root: pathlib.Path | None, alive: bool | None = None) -> dict:
    """Looks for executions that only claim to run, artifacts without files, and unused ones.

    Used is what a pushed or blessed model comes from, what the executions on that way made
    besides, and what the newest run made or took from the cache.

    Args:
      store: an open store.
      pipeline_root: where to look for folders that no artifact names; None is nowhere.
      alive: whether a run is going on now; None where that can't be known.

    Returns:
      The document of `lineage stale`.
    """
    artifacts, executions = store.all_artifacts, store.all_executions
    needed = needed_artifacts(store)
    running = [e for e in executions.values() if e.state == "RUNNING"]
    missing, unreferenced = [], []
    for artifact in artifacts.values():
        path = store.path_of(artifact.uri) if artifact.uri else None
        if path is None or artifact.state == "DELETED":
            continue
        if not path.exists():
            if artifact.state == "LIVE" and artifact.properties.get("pushed") != 0:
                missing.append(documents.artifact_document(artifact))
        elif artifact.id not in needed:
            unreferenced.append(documents.artifact_document(artifact) | _contents(path))
    folders = []
    if pipeline_root is not None and pipeline_root.is_dir():
        # An execution that ended well has recorded what it made; one that runs is about to.
        spared = {"COMPLETE", "CACHED"} | ({"RUNNING"} if alive is not False else set())
        busy = {execution.id for execution in executions.values() if execution.state in spared}
        folders = [
            _contents(path)
            for path in _folders_of_nobody(store, artifacts.values(), pipeline_root)
            if int(path.name) not in busy
        ]
    return documents.document(
        "stale",
        running=[documents.execution_document(store, e) for e in running] if not alive else [],
        certain=alive is False,
        missing=missing,
        unreferenced=unreferenced,
        folders=folders,
        bytes=sum(item["bytes"] for item in (*unreferenced, *folders)),
    )


def needed_artifacts(store: Store) -> set[int]:
    """Ids of the artifacts that must stay; see `stale`."""
    artifacts, executions = store.all_artifacts, store.all_executions
    made_by = collections.defaultdict(set)
    touched = collections.defaultdict(list)  # what an execution read and made
    for event in store.events_of_executions(executions):
        if event.kind == "output":
            made_by[event.artifact].add(event.execution)
        touched[event.execution].append(event.artifact)
    kept = [
        a
        for a in artifacts.values()
        if a.pushed_version is not None
        or (a.type == "ModelBlessing" and a.properties.get("blessed") == 1)
    ]
    compared = [a.properties.get("current_model_id") for a in kept]
    waiting = [a.id for a in kept] + [i for i in compared if isinstance(i, int)]
    for run in store.runs()[:1]:
        for last in store.executions_of_run(run):
            waiting += touched[last.id]
    needed: set[int] = set()
    while waiting:
        artifact = waiting.pop()
        if artifact in needed:
            continue
        needed.add(artifact)
        for execution in made_by[artifact]:
            # The baselines that a verdict was reached against are among them.
            waiting += touched[execution]
    return needed


def prune(store_file: pathlib.Path, pipeline_root: pathlib.Path, found: dict) -> int:
    """Removes what `stale` found unreferenced, and the folders that no artifact names.

    The caller holds the workspace, so that no run begins to use what is being removed. Nothing
    outside `pipeline_root` is touched, and nothing at all where that is a link out of its
    workspace. Artifacts are marked DELETED, which TFX's cache and resolvers understand.

    Returns:
      Bytes that were freed.

    Raises:
      PruneError: something is outside the root or can't be removed.
    """
    root = pipeline_root.resolve()
    if pipeline_root.parent.resolve() not in root.parents:
        raise PruneError(f"{pipeline_root} is a link to {root}: nothing is removed there")
    freed = 0
    gone = []
    try:
        for item in (*found["unreferenced"], *found["folders"]):
            path = pathlib.Path(item["path"])
            if path.is_symlink() or root not in path.resolve().parents:
                continue
            shutil.rmtree(path)
            freed += item["bytes"]
            if "id" in item:
                gone.append(item["id"])
    except OSError as error:
        raise PruneError(f"{error.filename or error} could not be removed: {error}") from error
    finally:
        # What is gone is gone, whatever became of the rest.
        _mark_deleted(store_file, gone)
    return freed


def _mark_deleted(store_file: pathlib.Path, ids: list[int]) -> None:
    if not ids:
        return
    client = connect(store_file, readonly=False)
    artifacts = client.get_artifacts_by_id(ids)
    for artifact in artifacts:
        artifact.state = pb.Artifact.DELETED
    client.put_artifacts(artifacts)


def _folders_of_nobody(store: Store, artifacts, root: pathlib.Path) -> list[pathlib.Path]:
    """Output folders (NODE/KEY/EXECUTION) that a killed run left before it recorded them."""
    known = {store.path_of(artifact.uri) for artifact in artifacts if artifact.uri}
    return sorted(
        path
        for path in root.glob("*/*/*")
        if path.name.isdecimal()
        and path.is_dir()
        and path not in known
        and not any(other is not None and path in other.parents for other in known)
    )


def _contents(path: pathlib.Path) -> dict:
    """A folder with the number and the bytes of the files below it."""
    sizes = [
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
    ]
    return {"path": str(path), "files": len(sizes), "bytes": sum(sizes)}
