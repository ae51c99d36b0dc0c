"""A run whose nodes are processes of their own, as an orchestrator starts them."""

import json
import os
import pathlib
import shutil
import signal

import pytest
from click.testing import CliRunner

from common.workspace import Workspace, WorkspaceBusyError
from lineage import documents
from lineage.store import open_store
from pipeline import cli, ir
from tests.e2e.conftest import arguments, pushed, run, start_command, wait_for_training

pytestmark = pytest.mark.e2e

BEFORE_TRAINING = (
    *("MnistExampleGen", "StatisticsGen", "SchemaGen", "ExampleSchema", "ExampleValidator"),
    *("DataGate", "Transform"),
)


@pytest.fixture(scope="module")
def compiled(workspace) -> pathlib.Path:
    """The pipeline of the first run, whose Trainer is to be run again from the first step on."""
    shutil.rmtree(workspace / "checkpoints")
    file = workspace.parent / "pipeline.json"
    options = [word for word in arguments(workspace, "--from", "Trainer")[1:] if word != "--json"]
    done = start_command("compile", *options, "--to", "ir", str(file)).wait()
    assert done.returncode == 0, done.stderr
    return file


def node(name: str, compiled: pathlib.Path, run_id: str = "by-hand"):
    return start_command("node", name, "--ir", str(compiled), "--run-id", run_id, "--json")


def status(workspace: pathlib.Path, run_id: str = "by-hand") -> dict:
    store = open_store(workspace / "metadata.sqlite")
    return documents.status(store, Workspace(workspace), documents.find_run(store, run_id))


def state_of(name: str, document: dict) -> str:
    return next(node["state"] for node in document["nodes"] if node["id"] == name)


def test_nodes_in_processes_of_their_own_make_the_run_of_one_process(first, workspace, compiled):
    for name in BEFORE_TRAINING:
        done = node(name, compiled).wait()
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] == "WAITING"
        assert state_of(name, json.loads(done.stdout)) == "CACHED", name
    assert status(workspace)["state"] == "WAITING"

    # Killed, it has failed; the same command goes on from its checkpoint.
    begun = node("Trainer", compiled)
    wait_for_training(workspace)
    assert status(workspace)["state"] == state_of("Trainer", status(workspace)) == "RUNNING"
    for held in (
        Workspace(workspace).lock(),
        Workspace(workspace).share("other", "MnistExampleGen", lambda: None),
        Workspace(workspace).share("by-hand", "Trainer", lambda: None),
    ):
        with pytest.raises(WorkspaceBusyError), held:
            pass
    os.kill(begun.pid, signal.SIGKILL)
    assert begun.wait().returncode == -signal.SIGKILL
    assert status(workspace)["state"] == "FAILED"
    done = node("Trainer", compiled).wait()
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["state"], state_of("Trainer", document)) == ("WAITING", "COMPLETE")

    side_by_side = [node(name, compiled) for name in ("GeneratorValidator", "Evaluator")]
    for done in [one.wait() for one in side_by_side]:
        assert done.returncode == 0, done.stderr
    done = node("Pusher", compiled).wait()
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    last = json.loads(done.stdout)
    assert (last["state"], last["blessed"], last["infra_blessed"]) == ("COMPLETE", True, True)
    assert {node["error"] for node in last["nodes"]} == {None}
    # The very generator of the first run: pushed once.
    assert last["pushed_version"] == first.document["pushed_version"]
    assert len(pushed(workspace)) == 1
    assert last["metrics"] == pytest.approx(first.document["metrics"], rel=1e-9)
    assert last["seconds"] == status(workspace)["seconds"] > 0
    assert "by-hand" in (workspace / "report" / "index.html").read_text()

    plain = run(workspace)
    assert set(plain.states().values()) == {"CACHED"}


@pytest.mark.parametrize(
    ("name", "run_id", "said"),
    [
        ("Trainr", "new", "there is no node 'Trainr'; the nodes are MnistExampleGen, "),
        ("Trainer", "new", "Trainer needs ExampleSchema and MnistExampleGen and Transform of run"),
        ("Trainer", "a b", "a run can't be called 'a b'"),
        ("MnistExampleGen", "", "of another pipeline: take another --run-id"),
    ],
)
def test_what_can_not_be_run_is_refused_in_one_sentence(first, compiled, name, run_id, said):
    options = ["--ir", str(compiled), "--run-id", run_id or first.document["run_id"]]
    refused = CliRunner().invoke(cli.main, ["node", name, *options])
    assert refused.exit_code == 2
    assert said in refused.stderr and len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "there is no file"),
        ("no JSON", "is no compiled pipeline"),
        ({"schema": "other/1"}, "is no compiled pipeline"),
        ({"code": "other"}, "was compiled by other code or libraries"),
        ({"workspace": "/nowhere"}, "the workspace /nowhere of"),
    ],
)
def test_a_file_of_another_making_is_refused(compiled, tmp_path, change, said):
    file = tmp_path / "other.json"
    if isinstance(change, dict):
        file.write_text(json.dumps(json.loads(compiled.read_text()) | change))
    elif change:
        file.write_text(change)
    arguments = ["node", "Trainer", "--ir", str(file), "--run-id", "new"]
    refused = CliRunner().invoke(cli.main, arguments)
    assert refused.exit_code == 2
    assert said in refused.stderr and f"`mnist-gan compile --to ir {file}`" in refused.stderr


def test_the_file_names_what_each_node_needs(compiled):
    nodes = ir.read(compiled)["nodes"]
    assert nodes["GeneratorValidator"] == ["Trainer"]
    assert nodes["Evaluator"] == ["MnistExampleGen", "Trainer"]  # what Baseline needs is there
    assert nodes["Pusher"] == ["Evaluator", "GeneratorValidator", "Trainer"]
    assert "Baseline" not in nodes
