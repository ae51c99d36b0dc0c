"""Is everything still what it was? Compares files with the digests that were recorded of them."""

import pathlib
from collections.abc import Mapping

from common.contract import METADATA_FILE
from common.files import combined_digest, file_digests
from common.text import parse_json
from lineage import documents, graph
from lineage.digests import DIGEST_PROPERTY, FILES_PROPERTY
from lineage.store import ABANDONED_PROPERTY, Artifact, Store
from serving import versions

# The files by which TFX marks a verdict.
_VERDICTS = {
    "ModelBlessing": ("BLESSED", "NOT_BLESSED"),
    "InfraBlessing": ("INFRA_BLESSED", "INFRA_NOT_BLESSED"),
}
_EXPORT = "Format-Serving/"  # where TFX's Trainer puts the SavedModel in a Model artifact


def verify(store: Store, version: str | int | None = None) -> dict:
    """Recomputes the digests of artifacts and of served versions: the document of `lineage verify`.

    Of everything in the store, or only of a pushed version ("latest": the newest) and what it
    comes from.

    Raises:
      NotFoundError: no such version was pushed.
    """
    if version is None:
        artifacts = list(store.all_artifacts.values())
        pushed = [a for a in artifacts if a.pushed_version is not None]
    else:
        pushed = [documents.find_version(store, version)]
        found = graph.trace(store, [pushed[0].id])
        ids = found.on_path.union(*(found.made(execution) for execution in found.inputs))
        artifacts = list(store.artifacts(ids).values())
    report = documents.document(
        "verify",
        version=pushed[0].pushed_version if version is not None else None,
        ok=True,
        artifacts=0,
        versions=0,
        files=0,
        unrecorded=[],  # present, but nobody noted what they were
        elsewhere=[],  # not on this machine's disks
        abandoned=[],  # found altered by a run, which made them again
        problems=[],
    )
    for artifact in artifacts:
        _check_artifact(store, artifact, report)
    _check_served(store, pushed, report, named=version is not None)
    report["ok"] = not report["problems"]
    return report


def _problem(
    report: dict, what: dict, problem: str, path: pathlib.Path, file: str | None = None
) -> None:
    report["problems"].append({**what, "problem": problem, "file": file, "path": str(path)})


def _compare(report: dict, what: dict, path: pathlib.Path, recorded: Mapping[str, str]) -> None:
    """Names each file that differs from `recorded` (SHA-256 by relative path)."""
    now = file_digests(path)
    report["files"] += len(now)
    for name in sorted(recorded.keys() | now.keys()):
        if name not in now:
            _problem(report, what, "missing", path / name, name)
        elif name not in recorded:
            _problem(report, what, "added", path / name, name)
        elif now[name] != recorded[name]:
            _problem(report, what, "altered", path / name, name)


def _check_artifact(store: Store, artifact: Artifact, report: dict) -> None:
    what = {"kind": "artifact", "id": artifact.id, "type": artifact.type}
    if artifact.state not in ("LIVE", "UNKNOWN") or not artifact.uri:
        if reason := artifact.properties.get(ABANDONED_PROPERTY):
            report["abandoned"].append({**what, "reason": reason, "path": artifact.uri})
        return  # removed on purpose, or never finished, or made again
    path = store.path_of(artifact.uri)
    if path is None:
        report["elsewhere"].append(what)
        return
    recorded = artifact.properties.get(FILES_PROPERTY)
    digest = artifact.properties.get(DIGEST_PROPERTY)
    if not path.exists():
        # TFX makes no folder for what wasn't pushed, and Importers may name what is not there.
        if digest is not None or artifact.type != "PushedModel":
            _problem(report, what, "missing", path)
        return
    report["artifacts"] += 1
    if artifact.type in _VERDICTS:
        blessed, refused = _VERDICTS[artifact.type]
        if (path / blessed).exists() and (path / refused).exists():
            _problem(report, what, f"two verdicts, {blessed} and {refused}", path)
    if isinstance(recorded, dict):
        _compare(report, what, path, recorded)
        if combined_digest(recorded) != digest:
            _problem(report, what, "altered record", path)
    elif digest is None:
        report["unrecorded"].append(what)
    else:
        now = file_digests(path)
        report["files"] += len(now)
        if combined_digest(now) != digest:
            _problem(report, what, "altered", path)


def _check_served(store: Store, pushed: list[Artifact], report: dict, named: bool) -> None:
    """What a server would load, against the record of what was pushed."""
    bases: dict[pathlib.Path, set[int | None]] = {}
    for artifact in pushed:
        destination = str(artifact.properties.get("pushed_destination", ""))
        path = store.path_of(destination) if destination else None
        if path is None:
            continue
        known = bases.setdefault(path.parent, set())
        if artifact.pushed_version in known:
            continue
        known.add(artifact.pushed_version)
        what = {"kind": "version", "id": artifact.pushed_version, "type": "served model"}
        if not path.is_dir():
            # It may come back, so it is compared where a rollback puts it.
            hidden = store.path_of(str(versions.rolled_back_path(pathlib.Path(destination))))
            path = hidden if hidden is not None and hidden.is_dir() else path
        if not path.is_dir():
            # A version may be taken out of service; only who asks for it misses it.
            if named:
                _problem(report, what, "missing", path)
            continue
        report["versions"] += 1
        before = len(report["problems"])
        record = _pushed_record(store, artifact, path)
        if record is None:
            report["unrecorded"].append(what)
        else:
            _compare(report, what, path, record)
        if len(report["problems"]) == before:
            _check_origin(store, artifact, path, what, report)
    if named:
        return
    for base, known in bases.items():
        for version in versions.list_versions(base):
            if version.number not in known:
                what = {"kind": "version", "id": version.number, "type": "served model"}
                _problem(report, what, "pushed by no pipeline run", version.path)


def _check_origin(
    store: Store, pushed: Artifact, served: pathlib.Path, what: dict, report: dict
) -> None:
    """What is served, against the record of the Model that the Pusher was given."""
    executions = {e.execution for e in store.events_of_artifacts([pushed.id]) if e.kind == "output"}
    read = {e.artifact for e in store.events_of_executions(executions) if e.kind == "input"}
    for model in store.artifacts(read).values():
        recorded = model.properties.get(FILES_PROPERTY)
        if model.type != "Model" or not isinstance(recorded, dict):
            continue
        # The pushed copy has more documents in `assets.extra`.
        for name, digest in file_digests(served).items():
            if recorded.get(_EXPORT + name, digest) != digest:
                _problem(report, what, "not the file that was trained", served / name, name)


def _pushed_record(store: Store, artifact: Artifact, served: pathlib.Path) -> dict | None:
    """SHA-256 by file of what was pushed, from the most trustworthy place that has it."""
    recorded = artifact.properties.get(FILES_PROPERTY)
    if isinstance(recorded, dict) and recorded:
        return recorded
    copy = store.path_of(artifact.uri)
    if copy is not None and (copy / "saved_model.pb").is_file():
        return file_digests(copy)
    try:
        metadata = parse_json((served / METADATA_FILE).read_text())
        # The metadata can't name its own digest.
        own = file_digests(served)[METADATA_FILE]
        return {**metadata["files"], METADATA_FILE: own}
    except (OSError, ValueError, KeyError, TypeError):
        return None
