"""TFX's cache, made exact: it hands out what is still as it was recorded, wherever it lies today.

TFX takes an artifact from the cache when its folder is there, whatever became of the files in it.
Its keys hold the artifacts' paths and the time when ML Metadata last wrote them, and no versions of
libraries.
"""

import contextlib
import copy
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping

from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration.portable import cache_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import executable_spec_pb2

from components import artifact_types
from lineage import digests
from lineage.store import ABANDONED_PROPERTY, VERSIONS_PROPERTY, facts_of, inside
from pipeline import provenance

_PROGRESS = logging.getLogger("mnist_gan.progress")
_RECORDS = (digests.DIGEST_PROPERTY, digests.FILES_PROPERTY, digests.SIZES_PROPERTY)


@contextlib.contextmanager
def exact(
    workspace_root: pathlib.Path, tfds_dir: str = "", *, full: bool = False
) -> Iterator[None]:
    """Makes TFX's launcher use this cache while the block runs.

    Args:
      workspace_root, tfds_dir: paths below them count as the same wherever workspace and prepared
        records lie.
      full: compare the digests of all files before something is taken; without it their names and
        sizes.
    """
    named = {str(workspace_root): "<workspace>", tfds_dir: "<tfds>"}
    # The longer first, as one may be in the other.
    places = {path: named[path] for path in sorted(named, key=len, reverse=True) if path}
    key, outputs = cache_utils.get_cache_context, cache_utils.get_cached_outputs

    def get_cache_context(
        *, pipeline_node, executor_spec=None, input_artifacts=None, parameters=None, **others
    ) -> pb.Context:
        versions = provenance.library_versions(pipeline_node.node_info.id)
        return key(
            pipeline_node=pipeline_node,
            executor_spec=_without_engine(executor_spec),
            input_artifacts=portable_inputs(input_artifacts or {}, places),
            parameters={
                name: _portable(value, places) for name, value in (parameters or {}).items()
            }
            | {VERSIONS_PROPERTY: json.dumps(versions, sort_keys=True)},
            **others,
        )

    def get_cached_outputs(metadata_handle, cache_context) -> dict | None:
        found = outputs_of(metadata_handle.store, cache_context.id)
        if any(_is_refusal_of_a_server(artifact) for artifact in found):
            return None
        root = pathlib.Path(workspace_root)
        abandon_broken(metadata_handle.store, found, "it is made again", full=full, root=root)
        return outputs(metadata_handle=metadata_handle, cache_context=cache_context)

    # The launcher has no other place to say so. It calls both by these names.
    cache_utils.get_cache_context = get_cache_context
    cache_utils.get_cached_outputs = get_cached_outputs
    try:
        yield
    finally:
        cache_utils.get_cache_context, cache_utils.get_cached_outputs = key, outputs


def _without_engine(executor_spec):
    """`executor_spec` without the flags for Beam: where it works decides nothing of the result."""
    if not isinstance(executor_spec, executable_spec_pb2.BeamExecutableSpec):
        return executor_spec
    return executable_spec_pb2.BeamExecutableSpec(
        python_executor_spec=executor_spec.python_executor_spec
    )


def _is_refusal_of_a_server(artifact: pb.Artifact) -> bool:
    """Whether it says that no server could serve a generator, be it the machine's fault.

    That is asked again: the machine may have had no room, no memory or no time.
    """
    blessed = artifact.custom_properties.get("blessed")
    return artifact.type == "InfraBlessing" and blessed is not None and not blessed.int_value


def portable_inputs(inputs: dict, places: Mapping[str, str]) -> dict:
    """Copies of input artifacts without what differs from place to place and from day to day.

    Without the digests of their files too: an artifact that got them later is the same artifact.

    Args:
      inputs: lists of artifacts by name.
      places: path to what stands for it.
    """
    found = {}
    for name, artifacts in inputs.items():
        found[name] = copy.deepcopy(list(artifacts))
        for artifact in found[name]:
            record = artifact.mlmd_artifact
            record.uri = _portable(record.uri, places)
            record.ClearField("create_time_since_epoch")
            record.ClearField("last_update_time_since_epoch")
            # Each run makes one: its properties decide.
            if artifact.type_name == artifact_types.InService.TYPE_NAME:
                record.ClearField("id")
                record.uri = ""
            for key in set(_RECORDS).intersection(record.custom_properties):
                del record.custom_properties[key]
            for value in record.custom_properties.values():
                if value.WhichOneof("value") == "string_value":
                    value.string_value = _portable(value.string_value, places)
    return found


def _portable(value: object, places: Mapping[str, str]) -> object:
    if not isinstance(value, str):
        return value
    for path, name in places.items():
        for written in (path, json.dumps(path)[1:-1]):
            value = value.replace(written, name)
    return value


def outputs_of(store, cache_context: int) -> list[pb.Artifact]:
    """What the executions of one cache key made, and is not given up.

    Args:
      store: an ML Metadata store.
      cache_context: id of the context that gathers the executions.
    """
    executions = [
        execution.id
        for execution in store.get_executions_by_context(cache_context)
        if execution_lib.is_execution_successful(execution)
    ]
    events = store.get_events_by_execution_ids(executions) if executions else []
    ids = {event.artifact_id for event in events if event.type == pb.Event.OUTPUT}
    found = store.get_artifacts_by_id(sorted(ids)) if ids else []
    return [artifact for artifact in found if artifact.state == pb.Artifact.LIVE]


def abandon_broken(
    store,
    artifacts: list[pb.Artifact],
    then: str,
    *,
    full: bool = False,
    root: pathlib.Path | None = None,
) -> None:
    """Keeps TFX from taking artifacts that are not as they were recorded, and says so.

    They are marked ABANDONED with the reason; their files stay where they are.

    Args:
      store: an ML Metadata store that may be written.
      artifacts: some that are LIVE.
      then: what is done without them, for the message.
      full: compare digests, not names and sizes alone.
      root: of the workspace that they have to be in.
    """
    for artifact in artifacts:
        facts = facts_of(artifact.custom_properties)
        faults = digests.differences(facts, artifact.uri, full=full)
        if root and inside(pathlib.Path(artifact.uri), root) != pathlib.Path(artifact.uri):
            faults = [f"it is not in {root}"]
        if faults:
            more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
            artifact.state = pb.Artifact.ABANDONED
            artifact.custom_properties[ABANDONED_PROPERTY].string_value = faults[0] + more
            store.put_artifacts([artifact])
            _PROGRESS.warning(
                "%s is not as it was made (%s%s): %s", artifact.uri, faults[0], more, then
            )


def abandon_altered_models(store) -> None:
    """Keeps generators whose files are not those that were trained from being trained on."""
    try:
        models = store.get_artifacts_by_type("Model")
    except errors.NotFoundError:
        return
    live = [model for model in models if model.state == pb.Artifact.LIVE]
    abandon_broken(store, live, "no training starts from it", full=True)
