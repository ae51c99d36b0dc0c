"""Stores to read: one that stock TFX wrote, and workspaces of this pipeline with files in them."""

import pathlib
import shutil
import sqlite3

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from benchmarks.lineage import make_store
from common.workspace import Workspace
from lineage import digests
from lineage.store import Store, connect, facts_of, open_store
from pipeline import upkeep

STOCK_DUMP = pathlib.Path(__file__).parent / "data" / "stock_tfx.sql"


@pytest.fixture(scope="session")
def stock_file(tmp_path_factory) -> pathlib.Path:
    """Three runs of a stock pipeline: complete, cached, failed (`make_stock_store.py`)."""
    path = tmp_path_factory.mktemp("stock") / "metadata.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(STOCK_DUMP.read_text())
    return path


@pytest.fixture
def stock(stock_file) -> Store:
    return open_store(stock_file)


@pytest.fixture(scope="session")
def eleven_runs(tmp_path_factory) -> Workspace:
    """Eleven runs with small files; the tenth (run-00009) was not blessed, ten were pushed."""
    space = Workspace.at(tmp_path_factory.mktemp("runs") / "workspace")
    space.root.mkdir()
    client = writer(space)
    make_store(client, 11, root=str(space.root))
    artifacts = client.get_artifacts()
    for artifact in artifacts:
        destinations = [artifact.uri]
        # Asking a map of Values for a key that it lacks adds it, and ML Metadata crashes on those.
        facts = facts_of(artifact.custom_properties)
        if facts.get("pushed") == 1:
            destinations.append(facts["pushed_destination"])
        elif artifact.type == "PushedModel":
            destinations = []
        for destination in destinations:
            folder = pathlib.Path(destination)
            (folder / "variables").mkdir(parents=True)
            (folder / "saved_model.pb").write_bytes(artifact.uri.encode())
            (folder / "variables" / "variables.index").write_bytes(b"index")
        # As `note_digests` does node by node.
        for key, value in digests.content_properties(artifact.uri).items():
            artifact.custom_properties[key].string_value = value
    client.put_artifacts(artifacts)
    return space


@pytest.fixture
def workspace(eleven_runs, tmp_path) -> Workspace:
    """The same in a copy that a test may change, its metadata made for where it lies."""
    space = Workspace.at(shutil.copytree(eleven_runs.root, tmp_path / "workspace"))
    upkeep.follow_move(space)
    return space


def writer(space: Workspace) -> mlmd.MetadataStore:
    """A connection that may write."""
    return connect(space.metadata, readonly=False)


def add_execution(
    space: Workspace, node: str, run: str, state: int, **properties: str
) -> pb.Execution:
    """Writes one more execution into the workspace's store."""
    client = writer(space)
    execution = pb.Execution(
        type_id=client.get_execution_type(f"synthetic.{node}").id, last_known_state=state
    )
    for key, value in properties.items():
        execution.custom_properties[key].string_value = value
    run_type = client.get_context_type("pipeline_run").id
    [execution.id] = client.put_executions([execution])
    try:
        [context] = client.put_contexts([pb.Context(type_id=run_type, name=run)])
    except mlmd.errors.AlreadyExistsError:
        context = client.get_context_by_type_and_name("pipeline_run", run).id
    node_context = client.get_context_by_type_and_name("node", f"synthetic.{node}").id
    client.put_attributions_and_associations(
        [],
        [
            pb.Association(execution_id=execution.id, context_id=context_id)
            for context_id in (context, node_context)
        ],
    )
    return execution
