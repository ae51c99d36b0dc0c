"""The whole way, from files to a pushed generator, as ML Metadata tells it.

The tests of this file share one workspace and build on each other's runs in the order in which
they stand.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from common.files import file_digests
from common.workspace import Workspace
from lineage import documents
from lineage.store import open_store, value_of
from pipeline import cli, provenance
from serving import versions
from tests.conftest import REPOSITORY, find_mnist
from tests.e2e.conftest import call, command, run

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
COUNTS = {"train": 1500, "eval": 200, "test": 300}


def executions(workspace, run_id):
    """Node to its execution in run `run_id`, the resolver included."""
    store = open_store(workspace / "metadata.sqlite")
    found = store.executions_of_run(store.run_named(run_id), resolvers=True)
    return store.client, {store.place_of(e.id)[0]: e.record for e in found}


def outputs(connection, execution):
    """Artifacts that `execution` wrote, by type."""
    events = connection.get_events_by_execution_ids([execution.id])
    ids = [e.artifact_id for e in events if e.type == e.OUTPUT]
    return {artifact.type: artifact for artifact in connection.get_artifacts_by_id(ids)}


def pushed(workspace):
    return versions.list_versions(Workspace.at(workspace).serving)


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
    assert first.document["pushed_path"] == str(version.path)


def test_nothing_but_json_reaches_stdout_and_no_library_speaks_on_stderr(first):
    for noise in ("WARNING", "INFO:", "tensorflow/", "FutureWarning", "absl"):
        assert noise not in first.stderr
    for node in NODES:
        assert node in first.stderr


def test_the_report_is_written_and_has_something_in_every_section(first, workspace):
    page = (workspace / "report" / "index.html").read_text()
    assert str(first.document["pushed_version"]) in page
    assert "Nothing to show" not in page


def test_every_node_has_one_execution_and_the_resolver_one(first, workspace):
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


def test_the_examples_say_which_data_they_are(first, workspace):
    connection, found = executions(workspace, first.document["run_id"])
    examples = outputs(connection, found["MnistExampleGen"])["Examples"]
    facts = {key: value_of(value) for key, value in examples.custom_properties.items()}
    if find_mnist():
        assert (facts["dataset"], facts["dataset_version"]) == ("mnist", "3.0.1")
        assert json.loads(facts["split_counts"]) == COUNTS
        assert len(json.loads(facts["checksums"])) == 4
    assert int(facts["num_classes"]) == 10
    assert len(facts["fingerprint"]) == 64


def test_what_was_pushed_carries_its_papers(first, workspace):
    (version,) = pushed(workspace)
    extra = version.path / "assets.extra"
    for name in ("model_card.md", "metadata.json", "samples.png", "tf_serving_warmup_requests"):
        assert (extra / name).stat().st_size > 0
    assert "smoke" in (extra / "model_card.md").read_text().splitlines()[0]
    record = version.metadata
    assert record["version"] == version.number
    assert record["seed"] == 0
    assert record["source_hash"] == provenance.source_hash(
        "trainer.run_fn", without=("trainer.summaries",)
    )
    assert file_digests(version.path)["saved_model.pb"] == record["files"]["saved_model.pb"]


def test_digits_are_drawn_from_the_pushed_version(first, workspace, tmp_path):
    out = tmp_path / "sevens.png"
    arguments = ["generate", "--workspace", str(workspace), "--digit", "7", "--count", "16"]
    result = CliRunner().invoke(cli.main, [*arguments, "--seed", "1", "--out", str(out)])
    assert result.exit_code == 0, result.output
    pixels = np.asarray(Image.open(out))
    assert pixels.shape[0] == pixels.shape[1]
    refused = CliRunner().invoke(
        cli.main, ["generate", "--workspace", str(workspace), "--digit", "12", "--out", str(out)]
    )
    assert refused.exit_code == 2
    assert "12" in refused.output


def test_a_second_run_is_all_cached_and_pushes_nothing(first, workspace):
    second = run(workspace)
    assert second.exit_code == 0
    assert second.states() == dict.fromkeys(NODES, "CACHED")
    assert second.document["pushed_version"] == first.document["pushed_version"]
    assert len(pushed(workspace)) == 1


def test_status_tells_what_the_last_run_was(first, workspace):
    result = CliRunner().invoke(cli.main, ["status", "--json", "--workspace", str(workspace)])
    document = json.loads(result.output)
    assert result.exit_code == 0
    assert document["state"] == "COMPLETE"
    assert document["pushed_version"] == first.document["pushed_version"]


def test_from_runs_a_node_anew_and_takes_the_rest_from_the_cache(first, workspace):
    again = run(workspace, "--from", "Pusher")
    assert again.exit_code == 0
    assert again.states() == {**dict.fromkeys(NODES, "CACHED"), "Pusher": "COMPLETE"}
    assert len(pushed(workspace)) == 1


def test_a_damaged_model_is_not_pushed_and_is_trained_again_when_digests_are_compared(
    first, workspace, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    # The copy is a workspace of its own: nothing is executed, and its paths are its own.
    moved = run(copy)
    assert moved.states() == dict.fromkeys(NODES, "CACHED")
    assert moved.document["pushed_path"].startswith(str(copy))

    connection, found = executions(copy, moved.document["run_id"])
    model = outputs(connection, found["Trainer"])["Model"]
    [weights] = pathlib.Path(model.uri).glob("Format-Serving/variables/variables.data-*")
    assert weights.is_relative_to(copy)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 255
    weights.write_bytes(content)
    refused = run(copy, "--from", "Pusher")
    assert refused.exit_code == 1
    assert refused.states()["Trainer"] == "CACHED"
    assert refused.document["pushed_version"] is None
    assert len(pushed(copy)) == len(pushed(workspace))

    mended = run(copy, "--verify")
    assert (mended.states()["Transform"], mended.states()["Trainer"]) == ("CACHED", "COMPLETE")
    assert "was altered" in mended.stderr
    assert mended.document["state"] == "COMPLETE"


def test_a_run_that_is_stopped_in_a_beam_node_says_so_in_one_sentence(first, workspace):
    arguments, environment = command(workspace, "--from", "Transform")
    arguments.remove("--json")
    process = subprocess.Popen(
        arguments, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said = b""
    while b"DataGate" not in said:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said += line
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stdout.decode().count("stopped; what was finished is kept") == 1
    assert stderr == b""


def test_from_a_node_that_is_not_there_names_those_that_are(first, workspace):
    result = call(workspace, "--from", "Trainr")
    assert result.returncode == 2
    assert "Trainr" in result.stderr and "Trainer" in result.stderr
    assert "Traceback" not in result.stderr


def executed_after_an_edit(workspace, tmp_path, edited_file):
    """Runs copies of the sources with a line added to one of them; the run and what it executed."""
    for package in provenance.SOURCES:
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    path = tmp_path / edited_file
    path.write_text(path.read_text() + "\n_EDITED = True\n")
    edited = run(workspace, sources=tmp_path)
    assert edited.document["state"] == "COMPLETE"
    return edited, {node for node, state in edited.states().items() if state == "COMPLETE"}


def test_an_edit_of_the_judge_runs_the_judge_and_what_lies_behind_it(first, workspace, tmp_path):
    edited, executed = executed_after_an_edit(workspace, tmp_path, "judge/verdict.py")
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


def test_a_server_that_is_named_and_not_there_stops_the_run_before_its_first_node(workspace):
    result = call(workspace, "--set", "model_server=/nowhere/server")
    assert result.returncode == 2
    assert "/nowhere/server" in result.stderr and "Traceback" not in result.stderr


def test_a_killed_run_is_told_as_failed_a_stopped_one_says_so_and_the_next_ends_it(
    first, workspace
):
    longer = ("--set", "steps=1200", "--set", "seed=5", "--set", "checkpoint_interval=20")
    arguments, environment = command(workspace, *longer)

    def stop_at_a_checkpoint(how: signal.Signals) -> tuple[int, bytes, bytes]:
        before = set((workspace / "checkpoints").rglob("*"))
        process = subprocess.Popen(
            arguments,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 300
        while not _new_checkpoints(workspace, before):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "no checkpoint was written"
            time.sleep(0.05)
        process.send_signal(how)
        stdout, stderr = process.communicate(timeout=120)
        return process.returncode, stdout, stderr

    stop_at_a_checkpoint(signal.SIGKILL)
    store = open_store(workspace / "metadata.sqlite")
    killed = documents.status(store, Workspace(workspace), store.runs()[0])
    assert killed["state"] == "FAILED"
    states = {node["id"]: node["state"] for node in killed["nodes"]}
    assert states["Trainer"] == "FAILED"
    assert states["Pusher"] == "NOT_RUN"
    assert len(pushed(workspace)) == 1

    exit_code, stdout, stderr = stop_at_a_checkpoint(signal.SIGTERM)
    stopped = json.loads(stdout)
    assert exit_code == 130
    assert stopped["stopped"] is True
    assert b"Traceback" not in stderr
    (error,) = [node["error"] for node in stopped["nodes"] if node["id"] == "Trainer"]
    assert "step" in error and "next run goes on" in error
    states = {node["id"]: node["state"] for node in stopped["nodes"]}
    assert states["Transform"] == "CACHED"

    # A process of its own from the start, because a fork does not log as a command does.
    ended = run(workspace, *longer, sources=REPOSITORY)
    assert ended.exit_code == 0
    assert ended.states()["Trainer"] == "COMPLETE"
    log = max((workspace / "logs").glob("run-*.log"), key=os.path.getmtime).read_text()
    assert "Going on from step" in log
    assert [v.number for v in pushed(workspace)][-1] == ended.document["pushed_version"]
    assert len(pushed(workspace)) == 2
    # No execution is left that claims to run.
    states = {e.last_known_state for e in store.client.get_executions()}
    assert not states & {1, 2}, "NEW or RUNNING"


def test_a_version_that_somebody_deleted_is_pushed_again(first, workspace):
    newest = pushed(workspace)[-1]
    shutil.rmtree(newest.path)
    longer = ("--set", "steps=1200", "--set", "seed=5", "--set", "checkpoint_interval=20")
    again = run(workspace, *longer)
    assert again.states() == {**dict.fromkeys(NODES, "CACHED"), "Pusher": "COMPLETE"}
    assert pushed(workspace)[-1].number == again.document["pushed_version"]
    assert len(pushed(workspace)) == 2


def test_a_version_that_was_rolled_back_stays_so_through_the_next_run(first, workspace):
    def call(*arguments: str) -> str:
        result = CliRunner().invoke(cli.main, [*arguments, "--workspace", str(workspace)])
        assert result.exit_code == 0, result.output
        return result.output

    older, newest = (version.number for version in pushed(workspace))
    call("versions", "rollback")
    longer = ("--set", "steps=1200", "--set", "seed=5", "--set", "checkpoint_interval=20")
    again = run(workspace, *longer)
    assert again.states() == dict.fromkeys(NODES, "CACHED")
    assert [version.number for version in pushed(workspace)] == [older]
    assert (again.document["pushed_version"], again.document["rolled_back"]) == (newest, True)
    assert f"{newest} (rolled back)" in call("status")
    assert str(newest) in call("lineage", "trace", "--version", str(newest))
    call("lineage", "verify", "--version", str(newest))
    call("versions", "restore", str(newest))
    assert json.loads(call("status", "--json"))["rolled_back"] is False


def _new_checkpoints(workspace, before):
    return [
        path
        for path in set((workspace / "checkpoints").rglob("*")) - before
        if path.is_file() and path.suffix == ".ckpt"
    ]


def test_an_edit_of_the_trainer_runs_the_trainer_and_what_lies_behind_it(
    first, workspace, tmp_path
):
    _, executed = executed_after_an_edit(workspace, tmp_path, "trainer/losses.py")
    assert executed == {"Trainer", "GeneratorValidator", "Evaluator", "Pusher"}


def test_a_second_run_in_a_held_workspace_is_refused(first, workspace):
    with Workspace(workspace).lock():
        result = call(workspace)
    assert result.returncode == 2
    assert "held by another run" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_altered_file_is_named_with_both_checksums(tmp_path, mnist_dir):
    for path in mnist_dir.glob("*.gz"):
        shutil.copy(path, tmp_path)
    altered = tmp_path / "t10k-labels-idx1-ubyte.gz"
    altered.chmod(0o644)
    altered.write_bytes(altered.read_bytes()[:-1] + b"!")
    result = call(tmp_path / "workspace", "--data-dir", str(tmp_path))
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    message = "".join(result.stderr.split())
    assert "t10k-labels-idx1-ubyte.gz" in message
    assert "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6" in message


def test_the_same_seed_gives_the_same_weights_in_a_fresh_workspace(first, workspace, tmp_path):
    again = run(tmp_path / "fresh")
    assert again.exit_code == 0
    weights = [
        _variables(base) for base in (pushed(workspace)[0].path, pushed(tmp_path / "fresh")[0].path)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert len(weights[0]) > 5
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name], err_msg=name)


def _variables(model_dir):
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(model_dir / "variables" / "variables"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("VARIABLE_VALUE")
    }
