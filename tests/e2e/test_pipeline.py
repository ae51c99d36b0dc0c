"""The whole way, from files to a pushed generator, as ML Metadata tells it.

The tests of this file share a copy of the first run's workspace.
"""

import json
import os
import pathlib
import shutil
import signal
import time

import pytest
from click.testing import CliRunner

from common.files import file_digests
from common.workspace import Workspace
from lineage import documents
from lineage.store import open_store, value_of
from pipeline import cli, provenance
from serving import versions
from tests.conftest import REPOSITORY
from tests.e2e.conftest import call, pushed, run, start, wait_for_training

pytestmark = pytest.mark.e2e

NODES = [
    "MnistExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleSchema",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "GeneratorValidator",
    "Evaluator",
    "Pusher",
]
STOPPED = "stopped; what was finished is kept, and the same command goes on from there"
COUNTS = {"train": 600, "eval": 100, "test": 200}


def executions(workspace, run_id):
    """Node to its execution in run `run_id`, the lookup included."""
    store = open_store(workspace / "metadata.sqlite")
    found = store.executions_of_run(store.run_named(run_id), lookups=True)
    return store.client, {store.place_of(e.id)[0]: e.record for e in found}


def outputs(connection, execution):
    """Artifacts that `execution` wrote, by type."""
    events = connection.get_events_by_execution_ids([execution.id])
    ids = [e.artifact_id for e in events if e.type == e.OUTPUT]
    return {artifact.type: artifact for artifact in connection.get_artifacts_by_id(ids)}


def test_the_first_run_executes_every_node_and_pushes_version_one(first, workspace):
    assert first.exit_code == 0, first.document
    assert first.document["state"] == "COMPLETE"
    assert [node["id"] for node in first.document["nodes"]] == NODES
    assert set(first.states().values()) == {"COMPLETE"}
    assert first.document["blessed"] is True
    assert first.document["infra_blessed"] is True
    assert first.document["metrics"]["fid"] > 0
    (version,) = pushed(workspace)
    assert first.document["pushed_version"] == version.number
    page = (workspace / "report" / "index.html").read_text()
    assert str(version.number) in page
    assert "Nothing to show" not in page


def test_no_library_speaks_on_stderr(first):
    for noise in ("WARNING", "INFO:", "tensorflow/", "FutureWarning", "absl"):
        assert noise not in first.stderr
    for node in NODES:
        assert node in first.stderr


def test_every_node_has_one_execution_and_the_lookup_one(first, workspace):
    connection, found = executions(workspace, first.document["run_id"])
    assert set(found) == {*NODES, "Baseline"}
    assert len(connection.get_executions()) == len(NODES) + 1
    assert {e.last_known_state for e in found.values()} == {found["Trainer"].COMPLETE}


def test_the_chain_of_artifacts_leads_from_the_examples_to_the_push(first, workspace):
    connection, found = executions(workspace, first.document["run_id"])
    produced = {node: outputs(connection, found[node]) for node in NODES}

    def reads(node, artifact):
        events = connection.get_events_by_execution_ids([found[node].id])
        return artifact.id in [e.artifact_id for e in events if e.type == e.INPUT]

    assert reads("Trainer", produced["MnistExampleGen"]["Examples"])
    assert reads("Trainer", produced["Transform"]["TransformGraph"])
    assert reads("Evaluator", produced["Trainer"]["Model"])
    assert reads("Evaluator", produced["MnistExampleGen"]["Examples"])
    assert reads("GeneratorValidator", produced["Trainer"]["Model"])
    assert reads("Pusher", produced["Trainer"]["Model"])
    assert reads("Pusher", produced["Evaluator"]["ModelBlessing"])
    assert reads("Pusher", produced["GeneratorValidator"]["InfraBlessing"])
    assert set(produced["Pusher"]) == {"PushedModel"}


def test_what_was_pushed_carries_its_documents(first, workspace):
    (version,) = pushed(workspace)
    extra = version.path / "assets.extra"
    for name in ("model_card.md", "metadata.json", "samples.png", "tf_serving_warmup_requests"):
        assert (extra / name).stat().st_size > 0
    assert "smoke" in (extra / "model_card.md").read_text().split("---\n")[2].splitlines()[0]
    record = version.metadata
    assert record["version"] == version.number
    assert record["seed"] == 0
    assert record["source_hash"] == provenance.source_hash(
        "trainer.run_fn", without=("trainer.summaries",)
    )
    assert file_digests(version.path)["saved_model.pb"] == record["files"]["saved_model.pb"]


def test_a_copied_workspace_is_all_cached_pushes_nothing_and_names_its_own_paths(first, workspace):
    second = run(workspace)
    assert second.exit_code == 0
    assert second.states() == dict.fromkeys(NODES, "CACHED")
    assert second.document["pushed_version"] == first.document["pushed_version"]
    assert second.document["pushed_path"].startswith(f"{workspace}/")
    assert len(pushed(workspace)) == 1
    result = CliRunner().invoke(cli.main, ["status", "--json", "--workspace", str(workspace)])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["pushed_version"] == first.document["pushed_version"]

    again = run(workspace, "--from", "Pusher")
    assert again.exit_code == 0
    assert again.states() == {**dict.fromkeys(NODES, "CACHED"), "Pusher": "COMPLETE"}
    assert len(pushed(workspace)) == 1


def test_a_damaged_model_is_not_pushed_and_is_trained_again_when_digests_are_compared(
    first, workspace, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    [weights] = copy.glob("pipeline_root/Trainer/model/*/Format-Serving/variables/*.data-*")
    original = weights.read_bytes()
    content = bytearray(original)
    content[len(content) // 2] ^= 255
    weights.write_bytes(content)
    refused = run(copy, "--from", "Pusher")
    assert refused.exit_code == 1
    assert refused.states()["Trainer"] == "CACHED"
    assert refused.document["pushed_version"] is None
    assert len(pushed(copy)) == 1

    mended = run(copy, "--verify")
    assert (mended.states()["Transform"], mended.states()["Trainer"]) == ("CACHED", "COMPLETE")
    assert "was altered" in mended.stderr
    assert mended.document["state"] == "COMPLETE"
    # Exported again, byte for byte: the version that has it stays the only one.
    assert mended.document["pushed_version"] == first.document["pushed_version"]
    assert len(pushed(copy)) == 1


def wait_for(text: str, file: pathlib.Path) -> None:
    deadline = time.monotonic() + 300
    while not (file.is_file() and text in file.read_text()):
        assert time.monotonic() < deadline, f"it does not say {text}"
        time.sleep(0.05)


def test_a_run_that_is_stopped_in_a_beam_node_says_so_in_one_sentence(first, workspace):
    begun = start(workspace, "--from", "Transform")
    wait_for("DataGate", begun.stderr)
    time.sleep(1)
    os.kill(begun.pid, signal.SIGINT)
    stopped = begun.wait()
    assert stopped.returncode == 130
    assert " ".join(stopped.stderr.split()).count(STOPPED) == 1
    assert "Traceback" not in stopped.stderr and "Exception ignored" not in stopped.stderr
    assert json.loads(stopped.stdout)["stopped"] is True


def test_a_run_that_is_stopped_while_its_report_is_written_says_that_it_has_ended(first, workspace):
    begun = start(workspace)
    wait_for("\nreport", begun.stderr)
    os.kill(begun.pid, signal.SIGTERM)
    stopped = begun.wait()
    assert stopped.returncode == 130
    said = " ".join(stopped.stderr.split())
    assert "the run has ended; `mnist-gan report` writes its report" in said
    document = json.loads(stopped.stdout)
    assert (document["state"], document["stopped"]) == ("COMPLETE", True)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--from", "Trainr"), ("Trainr", "Trainer")),
        (("--set", "model_server=/nowhere/server"), ("/nowhere/server",)),
        (("--set", "test_examples=5"), ("test_examples",)),
    ],
)
def test_what_can_not_be_done_is_refused_before_the_first_node(workspace, wrong, named):
    result = call(workspace, *wrong)
    assert result.returncode == 2
    assert all(name in result.stderr for name in named)
    assert "Traceback" not in result.stderr and "StatisticsGen  " not in result.stderr


def test_an_edit_of_the_judge_runs_the_judge_and_what_is_downstream(first, workspace, tmp_path):
    for package in provenance.SOURCES:
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    path = tmp_path / "judge" / "verdict.py"
    path.write_text(path.read_text() + "\n_EDITED = True\n")
    edited = run(workspace, sources=tmp_path)
    assert edited.document["state"] == "COMPLETE"
    executed = {node for node, state in edited.states().items() if state == "COMPLETE"}
    assert executed == {"Evaluator", "Pusher"}
    # The same model again: judged again, but not pushed twice.
    assert len(pushed(workspace)) == 1
    assert edited.document["pushed_version"] == first.document["pushed_version"]


def test_a_model_that_misses_its_threshold_is_not_pushed_and_the_reason_is_kept(first, workspace):
    rejected = run(workspace, "--set", "max_relative_fid=1e-6")
    assert rejected.exit_code == 1
    assert rejected.document["state"] == "COMPLETE"
    assert rejected.document["blessed"] is False
    assert "FID" in rejected.document["blessing_reason"]
    assert rejected.document["pushed_version"] is None
    assert len(pushed(workspace)) == 1
    connection, found = executions(workspace, rejected.document["run_id"])
    artifact = outputs(connection, found["Pusher"])["PushedModel"]
    assert value_of(artifact.custom_properties["pushed"]) == 0
    assert "FID" in value_of(artifact.custom_properties["reason"])


def test_a_generator_that_no_server_can_serve_is_not_pushed_and_the_reason_is_kept(
    first, workspace, tmp_path
):
    server = tmp_path / "tensorflow_model_server"
    server.write_text("#!/bin/sh\necho no such GPU >&2\nexit 3\n")
    server.chmod(0o755)
    refused = run(workspace, "--set", f"model_server={server}")
    assert refused.exit_code == 1
    assert refused.document["state"] == "COMPLETE"
    assert refused.document["blessed"] is True, "the judge has nothing against it"
    assert refused.document["infra_blessed"] is False
    assert "no such GPU" in refused.document["infra_blessing_reason"]
    assert "! Not blessed by GeneratorValidator" in refused.stderr
    states = refused.states()
    assert (states["Evaluator"], states["GeneratorValidator"]) == ("CACHED", "COMPLETE")
    assert refused.document["pushed_version"] is None
    assert len(pushed(workspace)) == 1
    connection, found = executions(workspace, refused.document["run_id"])
    artifact = outputs(connection, found["Pusher"])["PushedModel"]
    assert value_of(artifact.custom_properties["pushed"]) == 0
    assert "no such GPU" in value_of(artifact.custom_properties["reason"])
    blessing = outputs(connection, found["GeneratorValidator"])["InfraBlessing"]
    arguments = ["lineage", "show", f"artifact:{blessing.id}", "--workspace", str(workspace)]
    shown = CliRunner().invoke(cli.main, arguments)
    assert "no such GPU" in shown.output and "not blessed" in shown.output
    # It may have been the machine's fault: asked again.
    again = run(workspace, "--set", f"model_server={server}").states()
    assert (again["Evaluator"], again["GeneratorValidator"]) == ("CACHED", "COMPLETE")


def test_a_killed_run_is_told_as_failed_a_stopped_one_says_so_and_the_next_ends_it_bit_for_bit(
    first, workspace, tmp_path
):
    fresh = tmp_path / "fresh"

    def stop_at_a_checkpoint(how: signal.Signals):
        begun = start(fresh)
        wait_for_training(fresh)
        os.kill(begun.pid, how)
        return begun.wait()

    stop_at_a_checkpoint(signal.SIGKILL)
    store = open_store(fresh / "metadata.sqlite")
    killed = documents.status(store, Workspace(fresh), store.runs()[0])
    assert killed["state"] == "FAILED"
    states = {node["id"]: node["state"] for node in killed["nodes"]}
    assert (states["Trainer"], states["Pusher"]) == ("FAILED", "NOT_RUN")

    result = stop_at_a_checkpoint(signal.SIGTERM)
    stopped = json.loads(result.stdout)
    assert result.returncode == 130
    assert stopped["stopped"] is True
    assert "Traceback" not in result.stderr
    (error,) = [node["error"] for node in stopped["nodes"] if node["id"] == "Trainer"]
    assert "step" in error and "next run goes on" in error

    ended = run(fresh)
    assert ended.exit_code == 0
    assert (ended.states()["Transform"], ended.states()["Trainer"]) == ("CACHED", "COMPLETE")
    # The very generator of the run that nobody stopped, in another workspace.
    [there], [here] = pushed(workspace), pushed(fresh)
    assert versions.model_digest(here.path) == versions.model_digest(there.path)
    # No execution is left that claims to run.
    states = {e.last_known_state for e in store.client.get_executions()}
    assert not states & {1, 2}, "NEW or RUNNING"
