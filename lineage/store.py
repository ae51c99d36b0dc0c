"""ML Metadata, read: which runs there were and what each one did. Without TFX or TensorFlow.

`describe_run` gives the document that `run --json` and `status --json` print.
"""

import json
import pathlib

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from common.workspace import Workspace, moved_path
from lineage.graph import (
    ERROR_PROPERTY,
    NODE_CONTEXT,
    RUN_CONTEXT,
    StoreError,
    explain,
    roll_back_journal,
    value_of,
)
from serving import versions

_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "COMPLETE",
    metadata_store_pb2.Execution.CACHED: "CACHED",
    metadata_store_pb2.Execution.RUNNING: "RUNNING",
    metadata_store_pb2.Execution.NEW: "RUNNING",
}


def connect(path: pathlib.Path, *, readonly: bool = True) -> mlmd.MetadataStore:
    """Opens the SQLite store at `path`.

    Raises:
      FileNotFoundError: there is none, or an empty one, and `readonly` is asked for.
      StoreError: it is no ML Metadata store, or a damaged one.
    """
    if readonly and not (path.is_file() and path.stat().st_size):
        raise FileNotFoundError(f"there is no ML Metadata store at {path}")
    roll_back_journal(path)
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    mode = metadata_store_pb2.SqliteMetadataSourceConfig
    config.sqlite.connection_mode = mode.READONLY if readonly else mode.READWRITE_OPENCREATE
    try:
        return mlmd.MetadataStore(config)
    except (mlmd.errors.StatusError, RuntimeError) as error:
        raise StoreError(explain(path, error)) from None


def runs(store: mlmd.MetadataStore) -> list[metadata_store_pb2.Context]:
    """The contexts of all pipeline runs, oldest first."""
    try:
        return sorted(store.get_contexts_by_type(RUN_CONTEXT), key=lambda run: run.id)
    except mlmd.errors.NotFoundError:
        return []


def latest_run(store: mlmd.MetadataStore) -> metadata_store_pb2.Context | None:
    """The context of the newest pipeline run, or None in an empty store."""
    return max(runs(store), key=lambda run: run.id, default=None)


def describe_run(store: mlmd.MetadataStore, workspace: Workspace, run) -> dict:
    """What one run did, as the document of `--json`.

    Args:
      store: an open store.
      workspace: where it lies; tells whether a run that claims to go on still does.
      run: its context of type pipeline_run.

    Returns:
      `run_id`, `dataset`, `preset`, `state` (COMPLETE, FAILED or RUNNING),
      `stopped` (whether somebody stopped it), `seconds`, `nodes` (each
      `id`, `state` among COMPLETE, CACHED, RUNNING, FAILED, NOT_RUN, `seconds`, `error`),
      `metrics`, `blessed`, `blessing_reason`, `infra_blessed`, `infra_blessing_reason` (whether
      a server can serve it), `pushed_version`, `pushed_path`, `push_reason`, `rolled_back`
      (whether that version was taken out of service since then). What a run did not
      come to is None. Resolvers are left out: they only look up what is there.
    """
    facts = {key: value_of(value) for key, value in run.custom_properties.items()}
    alive = facts.get("state") == "RUNNING" and facts.get("pid") == str(workspace.holder())
    executions = {node_id(store, e): e for e in store.get_executions_by_context(run.id)}
    nodes = []
    for name in json.loads(facts.get("nodes", "null")) or executions:
        execution = executions.get(name)
        nodes.append(
            {
                "id": name,
                "state": state_of(execution, alive),
                "seconds": _seconds(execution),
                "error": _error(execution, alive),
            }
        )
    ended = [node["state"] for node in nodes]
    state = facts.get("state", "COMPLETE")
    if (state == "RUNNING" and not alive) or "FAILED" in ended:
        state = "FAILED"
    verdict = _verdict(store, executions.values())
    path = None
    if verdict["pushed_path"]:
        path = pathlib.Path(verdict["pushed_path"])
        path = moved_path(path, workspace.root) or path
        verdict["pushed_path"] = str(path)
    return {
        "run_id": run.name,
        "dataset": facts.get("dataset"),
        "dataset_note": facts.get("dataset_note") or None,
        "preset": facts.get("preset"),
        "state": state,
        "stopped": facts.get("stopped") == "yes",
        "seconds": facts.get("seconds"),
        "nodes": nodes,
        **verdict,
        "rolled_back": path and versions.rolled_back_path(path).is_dir(),
    }


def node_id(store: mlmd.MetadataStore, execution) -> str:
    """The pipeline node that `execution` belongs to; its type's name where no context tells."""
    for context in store.get_contexts_by_execution(execution.id):
        if context.type == NODE_CONTEXT:
            return context.name.rpartition(".")[2]
    return execution.type.rpartition(".")[2]


def _verdict(store: mlmd.MetadataStore, executions) -> dict:
    verdict = dict.fromkeys(
        (
            *("metrics", "blessed", "blessing_reason", "infra_blessed", "infra_blessing_reason"),
            *("pushed_version", "pushed_path", "push_reason"),
        )
    )
    ids = [execution.id for execution in executions]
    outputs = [
        event.artifact_id
        for event in (store.get_events_by_execution_ids(ids) if ids else ())
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    for artifact in store.get_artifacts_by_id(sorted(set(outputs))):
        facts = {key: value_of(value) for key, value in artifact.custom_properties.items()}
        if artifact.type == "ModelEvaluation":
            verdict["metrics"] = {
                key: value for key, value in sorted(facts.items()) if isinstance(value, int | float)
            }
        elif artifact.type == "ModelBlessing" and "blessed" in facts:
            verdict["blessed"] = facts["blessed"] == 1
            verdict["blessing_reason"] = facts.get("reason")
        elif artifact.type == "InfraBlessing" and "blessed" in facts:
            verdict["infra_blessed"] = facts["blessed"] == 1
            verdict["infra_blessing_reason"] = facts.get("reason")
        elif artifact.type == "PushedModel":
            verdict["push_reason"] = facts.get("reason")
            if facts.get("pushed") == 1:
                verdict["pushed_version"] = int(facts["pushed_version"])
                verdict["pushed_path"] = facts["pushed_destination"]
    return verdict


def state_of(execution, alive: bool = True) -> str:
    """A node's state for people; `alive`: whether the run that it belongs to still goes on."""
    if execution is None:
        return "NOT_RUN"
    state = _STATES.get(execution.last_known_state, "FAILED")
    return "FAILED" if state == "RUNNING" and not alive else state


def _seconds(execution) -> float | None:
    if execution is None or execution.last_known_state in (
        metadata_store_pb2.Execution.RUNNING,
        metadata_store_pb2.Execution.NEW,
    ):
        return None
    span = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    return round(span / 1000, 2)


def _error(execution, alive: bool) -> str | None:
    if execution is None:
        return None
    if ERROR_PROPERTY in execution.custom_properties:
        return value_of(execution.custom_properties[ERROR_PROPERTY])
    if _STATES.get(execution.last_known_state) == "RUNNING" and not alive:
        return "the run was killed before this node ended"
    return None
