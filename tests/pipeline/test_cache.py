"""What the cache hands out, and what counts as the same input."""

import functools
import pathlib
import shutil

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata, pipeline
from tfx.types import standard_artifacts

from common.workspace import Workspace
from lineage import digests
from lineage.store import ABANDONED_PROPERTY, connect, open_store
from pipeline import cache, local_runner, provenance, upkeep


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    (tmp_path / "Split-train").mkdir()
    (tmp_path / "Split-train" / "a.gz").write_bytes(b"123456")
    (tmp_path / "Split-train" / "b.gz").write_bytes(b"1")
    return tmp_path


DAMAGE = {
    "Split-train/b.gz is missing": lambda f: (f / "Split-train/b.gz").unlink(),
    "Split-train/a.gz has 3 bytes and had 6": lambda f: (f / "Split-train/a.gz").write_bytes(
        b"123"
    ),
    "new was added": lambda f: (f / "new").touch(),
    "its folder is missing": shutil.rmtree,
}


@pytest.mark.parametrize("phrase", DAMAGE)
def test_missing_added_and_truncated_files_are_named(folder, phrase):
    recorded = digests.content_properties(folder)
    assert digests.differences(recorded, folder) == []
    DAMAGE[phrase](folder)
    assert digests.differences(recorded, folder) == [phrase]


def test_altered_bytes_are_found_by_the_digests(folder):
    recorded = digests.content_properties(folder)
    (folder / "Split-train" / "a.gz").write_bytes(b"123450")
    assert digests.differences(recorded, folder) == []
    assert digests.differences(recorded, folder, full=True) == ["Split-train/a.gz was altered"]
    without_names = {digests.DIGEST_PROPERTY: recorded[digests.DIGEST_PROPERTY]}
    assert digests.differences(without_names, folder, full=True) == ["a file of it was altered"]


def test_records_of_older_versions_have_names_without_sizes(folder):
    recorded = digests.content_properties(folder)
    del recorded[digests.SIZES_PROPERTY]
    (folder / "Split-train" / "a.gz").write_bytes(b"123")
    assert digests.differences(recorded, folder) == []
    (folder / "Split-train" / "a.gz").unlink()
    assert digests.differences(recorded, folder) == ["Split-train/a.gz is missing"]
    assert digests.differences({}, folder) == []  # nothing was recorded


def examples(uri: str, **properties: str) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.id = uri, 3
    for key, value in properties.items():
        artifact.set_string_custom_property(key, value)
    return artifact


def key_of(artifact, root: str) -> bytes:
    [found] = cache.portable_inputs({"examples": [artifact]}, {root: "<here>"})["examples"]
    return found.mlmd_artifact.SerializeToString(deterministic=True)


def test_a_moved_workspace_and_digests_noted_later_make_no_other_input():
    here = examples("/here/ws/pipeline_root/Gen/examples/1", dataset="mnist")
    there = examples("/there/ws/pipeline_root/Gen/examples/1", dataset="mnist")
    later = examples(here.uri, dataset="mnist", content_sha256="1", content_files="{}")
    later.mlmd_artifact.last_update_time_since_epoch = 7
    same = key_of(here, "/here/ws")
    assert key_of(there, "/there/ws") == key_of(later, "/here/ws") == same
    assert key_of(there, "/here/ws") != same
    assert key_of(examples(here.uri, dataset="digits"), "/here/ws") != same
    # JSON among the properties, as it writes a path.
    at_josé = examples(
        "/josé/ws/pipeline_root/Gen/examples/1", dataset="mnist", facts='"/jos\\u00e9/ws"'
    )
    here_too = examples(here.uri, dataset="mnist", facts='"/here/ws"')
    assert key_of(at_josé, "/josé/ws") == key_of(here_too, "/here/ws")
    # What is used stays as it is.
    assert here.uri.startswith("/here/ws")
    assert later.get_string_custom_property("content_sha256") == "1"


class Store:
    """As much of ML Metadata as is asked: one execution with one output."""

    def __init__(self, artifact: pb.Artifact):
        self.artifact = artifact

    def get_executions_by_context(self, context_id):
        return [pb.Execution(id=1, last_known_state=pb.Execution.COMPLETE)]

    def get_events_by_execution_ids(self, ids):
        return [pb.Event(execution_id=1, artifact_id=5, type=pb.Event.OUTPUT)]

    def get_artifacts_by_id(self, ids):
        assert ids == [5]
        return [self.artifact]

    def get_artifacts_by_type(self, name):
        assert name == "Model"
        return [self.artifact]

    def put_artifacts(self, artifacts):
        [self.artifact] = artifacts


def test_a_broken_output_is_marked_so_that_tfx_does_not_take_it(folder, caplog):
    artifact = pb.Artifact(id=5, uri=str(folder), state=pb.Artifact.LIVE)
    for name, value in digests.content_properties(folder).items():
        artifact.custom_properties[name].string_value = value
    store = Store(artifact)
    cache.abandon_broken(store, cache.outputs_of(store, 1), "it is made again")
    assert store.artifact.state == pb.Artifact.LIVE
    (folder / "Split-train" / "b.gz").unlink()
    cache.abandon_broken(store, cache.outputs_of(store, 1), "it is made again")
    assert "(Split-train/b.gz is missing): it is made again" in caplog.text
    assert store.artifact.state == pb.Artifact.ABANDONED
    reason = store.artifact.custom_properties[ABANDONED_PROPERTY].string_value
    assert reason == "Split-train/b.gz is missing"
    assert cache.outputs_of(store, 1) == []  # once


def test_a_generator_that_was_altered_is_not_trained_on(folder, caplog):
    model = pb.Artifact(id=5, uri=str(folder), state=pb.Artifact.LIVE)
    for name, value in digests.content_properties(folder).items():
        model.custom_properties[name].string_value = value
    store = Store(model)
    cache.abandon_altered_models(store)
    assert store.artifact.state == pb.Artifact.LIVE
    (folder / "Split-train" / "a.gz").write_bytes(b"123450")  # of the same size
    cache.abandon_altered_models(store)
    assert store.artifact.state == pb.Artifact.ABANDONED
    assert "no training starts from it" in caplog.text


@component
def Give(examples: OutputArtifact[standard_artifacts.Examples], folder: Parameter[str]) -> None:
    """Writes one file."""
    pathlib.Path(examples.uri, "data").write_text("some examples")


@component
def Use(
    examples: InputArtifact[standard_artifacts.Examples],
    model: OutputArtifact[standard_artifacts.Model],
) -> None:
    """Copies it."""
    pathlib.Path(model.uri, "data").write_bytes(pathlib.Path(examples.uri, "data").read_bytes())


class View:
    """Remembers what became of the nodes."""

    def __init__(self):
        self.states = {}

    def node_started(self, node):
        pass

    def note(self, text):
        pass

    def node_ended(self, node, state, seconds, error):
        self.states[node] = state


def versions(node: str, newer: tuple = ()) -> dict[str, str]:
    return {"numpy": "2" if node in newer else "1"}


def test_in_a_run_damaged_outputs_are_made_anew_with_what_needs_them(tmp_path, monkeypatch):
    space = Workspace.at(tmp_path / "ws")
    space.root.mkdir()

    def run(space: Workspace, name: str, *, full: bool = False, tfds: str = "") -> dict[str, str]:
        tfds = tfds or str(space.tfds)
        upkeep.put_right(space)
        connection = metadata.sqlite_metadata_connection_config(str(space.metadata))
        give = Give(folder=tfds)
        view = View()
        with cache.exact(space.root, tfds, full=full):
            local_runner.ObservedDagRunner(view, connection, name).run(
                pipeline.Pipeline(
                    pipeline_name="small",
                    pipeline_root=str(space.pipeline_root),
                    components=[give, Use(examples=give.outputs["examples"])],
                    enable_cache=True,
                    metadata_connection_config=connection,
                )
            )
        return view.states

    monkeypatch.setattr(provenance, "library_versions", versions)
    assert run(space, "1") == {"Give": "COMPLETE", "Use": "COMPLETE"}
    assert run(space, "2") == {"Give": "CACHED", "Use": "CACHED"}
    [model] = space.pipeline_root.glob("Use/model/*/data")
    model.unlink()
    assert run(space, "3") == {"Give": "CACHED", "Use": "COMPLETE"}
    assert run(space, "4") == {"Give": "CACHED", "Use": "CACHED"}
    [examples] = space.pipeline_root.glob("Give/examples/*/data")
    examples.write_text("same examples")  # as many bytes
    assert run(space, "5") == {"Give": "CACHED", "Use": "CACHED"}
    assert run(space, "6", full=True) == {"Give": "COMPLETE", "Use": "COMPLETE"}

    # A newer library re-executes the nodes that use it, and what is downstream.
    newer = functools.partial(versions, newer=("Use",))
    monkeypatch.setattr(provenance, "library_versions", newer)
    assert run(space, "6a") == {"Give": "CACHED", "Use": "COMPLETE"}
    assert run(space, "6b") == {"Give": "CACHED", "Use": "CACHED"}
    noted = {
        execution.versions["numpy"]
        for execution in open_store(space.metadata).all_executions.values()
        if execution.state == "COMPLETE" and execution.type.endswith("Use")
    }
    assert noted == {"1", "2"}

    # Moved to another folder nothing is executed, and what lies at the old place is not read.
    moved = Workspace.at(tmp_path / "moved")
    space.root.rename(moved.root)
    assert run(moved, "7") == {"Give": "CACHED", "Use": "CACHED"}
    assert run(moved, "8", tfds="/of/ano/ther/user") == {"Give": "CACHED", "Use": "CACHED"}
    handle = connect(moved.metadata)
    uris = [artifact.uri for artifact in handle.get_artifacts()]
    assert all(uri.startswith(f"{moved.root}/") for uri in uris)
