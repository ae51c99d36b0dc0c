"""Verify, stale and prune on a workspace with files in it; the commands that do it."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as pb

from benchmarks.lineage import FIRST_VERSION
from common.files import folder_digest
from common.workspace import Workspace
from lineage import digests, documents, stale, verify
from lineage import store as lineage_store
from lineage.store import VERSIONS_PROPERTY, Execution, Store, open_store
from pipeline.cli import main
from serving import versions
from tests.lineage.conftest import add_execution, writer


def opened(workspace) -> Store:
    return open_store(workspace.metadata)


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["lineage", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def problems(document: dict) -> list[tuple]:
    return [(p["kind"], p["id"], p["problem"], p["file"]) for p in document["problems"]]


# --- digests


def test_what_a_node_made_is_recorded_once_and_never_again(workspace):
    client = writer(workspace)
    [model] = [a for a in client.get_artifacts_by_type("Model") if a.uri.endswith("/3")]
    [trainer] = [e.execution_id for e in client.get_events_by_artifact_ids([model.id])
                 if e.type == pb.Event.OUTPUT]  # fmt: skip
    del model.custom_properties[digests.DIGEST_PROPERTY]
    client.put_artifacts([model])
    digests.note_digests(client, trainer)
    [model] = client.get_artifacts_by_id([model.id])
    recorded = model.custom_properties[digests.DIGEST_PROPERTY].string_value
    assert recorded == folder_digest(model.uri)
    stamp = model.last_update_time_since_epoch
    pathlib.Path(model.uri, "saved_model.pb").write_bytes(b"altered")
    digests.note_digests(client, trainer)
    [model] = client.get_artifacts_by_id([model.id])
    assert model.custom_properties[digests.DIGEST_PROPERTY].string_value == recorded
    # An artifact that changes after it was read would bust TFX's cache.
    assert model.last_update_time_since_epoch == stamp


def test_the_digest_covers_names_and_contents(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name / "x").mkdir(parents=True)
    (tmp_path / "a" / "x" / "one").write_bytes(b"1")
    (tmp_path / "b" / "x" / "two").write_bytes(b"1")
    (tmp_path / "c" / "x" / "one").write_bytes(b"2")
    assert len({folder_digest(tmp_path / name) for name in ("a", "b", "c")}) == 3
    with pytest.raises(FileNotFoundError, match="no folder"):
        folder_digest(tmp_path / "absent")


def test_an_artifact_of_very_many_files_keeps_no_list_of_their_digests(tmp_path):
    for index in range(900):
        (tmp_path / f"file-{index}").touch()
    assert digests.FILES_PROPERTY not in digests.content_properties(tmp_path)


# --- verify


def test_an_untouched_workspace_verifies(workspace):
    document = verify.verify(opened(workspace))
    assert document["ok"]
    assert document["problems"] == document["unrecorded"] == document["elsewhere"] == []
    # 8 artifacts of data; two of the training, two of the judge a run; ten pushed ones.
    assert document["artifacts"] == 6 + 11 * 4 + 11 - 1
    assert document["versions"] == 10
    assert "all as recorded" in run("verify", "--workspace", workspace.root)


def test_altered_missing_and_added_files_are_named_and_the_command_exits_1(workspace):
    root = workspace.pipeline_root
    (root / "Trainer/model/3/saved_model.pb").write_bytes(b"not what was trained")
    (root / "SchemaGen/schema/0/variables/variables.index").unlink()
    (root / "Transform/transform_graph/0/extra").write_bytes(b"new")
    shutil.rmtree(root / "StatisticsGen/statistics/0")
    document = verify.verify(opened(workspace))
    ids = {a.uri: a.id for a in opened(workspace).all_artifacts.values()}
    assert sorted(problems(document), key=str) == sorted(
        [
            ("artifact", ids[f"{root}/StatisticsGen/statistics/0"], "missing", None),
            ("artifact", ids[f"{root}/SchemaGen/schema/0"], "missing", "variables/variables.index"),
            ("artifact", ids[f"{root}/Transform/transform_graph/0"], "added", "extra"),
            ("artifact", ids[f"{root}/Trainer/model/3"], "altered", "saved_model.pb"),
        ],
        key=str,
    )
    text = run("verify", "--workspace", workspace.root, code=1)
    assert "altered" in text and "Trainer/model/3/saved_model.pb" in text
    assert "4 problems" in text


def test_two_verdicts_in_one_folder_are_a_problem(workspace):
    [blessing, *_] = workspace.pipeline_root.glob("Evaluator/blessing/*")
    for name in ("BLESSED", "NOT_BLESSED"):
        (blessing / name).touch()
    found = {problem["problem"] for problem in verify.verify(opened(workspace))["problems"]}
    assert "two verdicts, BLESSED and NOT_BLESSED" in found


def test_verifying_a_version_looks_at_that_version_and_what_it_comes_from(workspace):
    (workspace.pipeline_root / "Trainer/model/3/saved_model.pb").write_bytes(b"altered")
    assert verify.verify(opened(workspace), FIRST_VERSION + 2)["ok"]
    assert not verify.verify(opened(workspace), FIRST_VERSION + 3)["ok"]
    (workspace.pipeline_root / "SchemaGen/schema/0/saved_model.pb").unlink()
    assert not verify.verify(opened(workspace), FIRST_VERSION + 2)["ok"]


def test_what_is_served_is_compared_with_what_was_pushed(workspace):
    served = workspace.serving / str(FIRST_VERSION + 4)
    (served / "variables" / "variables.index").write_bytes(b"somebody else's")
    stranger = workspace.serving / "1900000000"
    shutil.copytree(served, stranger)
    assert problems(verify.verify(opened(workspace))) == [
        ("version", FIRST_VERSION + 4, "altered", "variables/variables.index"),
        ("version", 1900000000, "pushed by no pipeline run", None),
    ]


def test_a_damaged_model_that_was_pushed_is_found_by_what_was_trained(workspace):
    client = writer(workspace)
    served = workspace.serving / str(FIRST_VERSION + 4)
    trained = json.dumps({"Format-Serving/saved_model.pb": "0" * 64, "Training/w.npz": "1" * 64})
    [model] = [a for a in client.get_artifacts_by_type("Model") if a.uri.endswith("/4")]
    model.custom_properties[digests.FILES_PROPERTY].string_value = trained
    client.put_artifacts([model])
    found = verify.verify(opened(workspace))["problems"]
    assert [(p["kind"], p["id"], p["path"]) for p in found if p["problem"].startswith("not")] == [
        ("version", FIRST_VERSION + 4, str(served / "saved_model.pb"))
    ]


def test_a_version_taken_out_of_service_is_missed_only_by_who_asks_for_it(workspace):
    shutil.rmtree(workspace.serving / str(FIRST_VERSION))
    assert verify.verify(opened(workspace))["ok"]
    document = verify.verify(opened(workspace), FIRST_VERSION)
    assert problems(document) == [("version", FIRST_VERSION, "missing", None)]


def test_a_version_that_was_rolled_back_is_compared_where_it_lies(workspace, tmp_path):
    versions.roll_back(workspace.serving)
    assert verify.verify(opened(workspace), "latest")["ok"]
    moved = tmp_path / "moved"
    shutil.move(workspace.root, moved)
    (hidden,) = versions.list_rolled_back(Workspace(moved).serving)
    (hidden.path / "saved_model.pb").write_bytes(b"somebody else's")
    for version in ("latest", None):
        document = verify.verify(opened(Workspace(moved)), version)
        assert problems(document) == [("version", hidden.number, "altered", "saved_model.pb")]


def test_without_a_record_only_presence_is_checked_and_that_is_said(stock):
    document = verify.verify(stock)
    # The fixture's files are nowhere, as its folder is not of this machine.
    assert {problem["problem"] for problem in document["problems"]} == {"missing"}
    assert document["files"] == 0


def test_a_workspace_may_be_moved_and_still_verifies(workspace, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(workspace.root, moved)
    document = verify.verify(open_store(moved / "metadata.sqlite"))
    assert document["ok"]
    assert document["versions"] == 10
    assert document["files"] > 100


# --- stale and prune


def test_nothing_that_a_pushed_or_blessed_model_needs_is_ever_unused(workspace):
    document = stale.stale(opened(workspace), workspace.pipeline_root)
    unused = {(artifact["type"], artifact["uri"]) for artifact in document["unreferenced"]}
    # Run 9 was not blessed, and run 10 is the newest.
    assert {uri.rpartition("/")[2] for _, uri in unused} == {"9"}
    assert {name for name, _ in unused} == {
        "Model", "ModelRun", "ModelEvaluation", "ModelBlessing",
    }  # fmt: skip
    assert document["bytes"] == sum(artifact["bytes"] for artifact in document["unreferenced"]) > 0
    assert document["missing"] == document["running"] == document["folders"] == []


def test_prune_shows_asks_removes_and_marks_what_it_removed(workspace):
    refused = CliRunner().invoke(
        main, ["lineage", "stale", "--prune", "--workspace", str(workspace.root)], input="n\n"
    )
    assert "unused" in refused.output and "Remove what is unused?" in refused.output
    assert (workspace.pipeline_root / "Trainer/model/9").is_dir()

    text = run("stale", "--prune", "--yes", "--workspace", workspace.root)
    assert "4 unused" in text
    assert not (workspace.pipeline_root / "Trainer/model/9").exists()
    states = {a.uri: a.state for a in opened(workspace).all_artifacts.values()}
    assert states[f"{workspace.pipeline_root}/Trainer/model/9"] == "DELETED"
    assert sum(state == "DELETED" for state in states.values()) == 4
    assert verify.verify(opened(workspace))["ok"]
    assert stale.stale(opened(workspace), workspace.pipeline_root)["bytes"] == 0


def test_prune_touches_nothing_outside_the_pipeline_root(workspace, tmp_path):
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "thesis").write_text("years of work")
    client = writer(workspace)
    model = pb.Artifact(
        type_id=client.get_artifact_type("Model").id, uri=str(outside), state=pb.Artifact.LIVE
    )
    client.put_artifacts([model])
    link = workspace.pipeline_root / "Trainer/model/9"
    shutil.rmtree(link)
    link.symlink_to(outside)
    run("stale", "--prune", "--yes", "--workspace", workspace.root)
    assert (outside / "thesis").read_text() == "years of work"


def test_prune_refuses_a_workspace_that_a_run_holds(workspace):
    with workspace.lock():
        text = run("stale", "--prune", "--yes", "--workspace", workspace.root, code=2)
    assert "is held by another run" in text
    assert (workspace.pipeline_root / "Trainer/model/9").is_dir()


def test_an_execution_that_only_claims_to_run_is_told_from_one_that_does(workspace):
    add_execution(workspace, "Trainer", "run-00010", pb.Execution.RUNNING)
    [ghost] = json.loads(run("stale", "--json", "--workspace", workspace.root))["running"]
    assert (ghost["node"], ghost["run"]) == ("Trainer", "run-00010")
    assert "does not run any more" in run("stale", "--workspace", workspace.root)
    # Nobody can tell from a store alone.
    assert "claims to run" in run("stale", "--metadata", workspace.metadata)
    with workspace.lock():
        assert json.loads(run("stale", "--json", "--workspace", workspace.root))["running"] == []


def test_folders_that_a_killed_run_left_are_found_and_those_of_a_living_one_are_not(workspace):
    execution = add_execution(workspace, "Trainer", "run-00010", pb.Execution.RUNNING)
    left = workspace.pipeline_root / "Trainer" / "model" / str(execution.id)
    left.mkdir()
    (left / "half").write_bytes(b"12345")
    document = stale.stale(opened(workspace), workspace.pipeline_root, alive=False)
    assert document["folders"] == [{"path": str(left), "files": 1, "bytes": 5}]
    assert stale.stale(opened(workspace), workspace.pipeline_root, alive=True)["folders"] == []


def test_of_a_copied_workspace_the_copy_is_looked_at(workspace, tmp_path):
    copy = Workspace.at(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    document = stale.stale(opened(copy), copy.pipeline_root)
    assert document["folders"] == []
    assert all(a["path"].startswith(f"{copy.root}/") for a in document["unreferenced"])
    run("stale", "--prune", "--yes", "--workspace", copy.root)
    assert not (copy.pipeline_root / "Trainer/model/9").exists()
    assert (workspace.pipeline_root / "Trainer/model/9").is_dir()


def test_artifacts_whose_files_are_gone_are_listed(workspace):
    shutil.rmtree(workspace.pipeline_root / "Trainer/model_run/4")
    [gone] = stale.stale(opened(workspace), workspace.pipeline_root)["missing"]
    assert gone["uri"].endswith("Trainer/model_run/4")


# --- commands


def test_a_failed_execution_shows_its_error_wherever_it_is_seen(workspace):
    words = "setting 'steps' takes an int, not 'many'"
    execution = add_execution(workspace, "Trainer", "run-00011", pb.Execution.FAILED, error=words)
    space = ("--workspace", workspace.root)
    assert f"run-00011 failed: {words}" in run("runs", *space)
    assert words in run("show", f"execution:{execution.id}", *space)
    assert words in run("show", "run-00011", *space)
    [row] = json.loads(run("runs", "--state", "FAILED", "--json", *space))["runs"]
    assert (row["run"], row["error"]) == ("run-00011", words)


def test_a_run_that_was_killed_is_not_called_running(workspace):
    add_execution(workspace, "Trainer", "run-00011", pb.Execution.RUNNING)
    rows = documents.runs(opened(workspace), alive=False)["runs"]
    assert rows[0]["state"] == "FAILED"
    assert documents.runs(opened(workspace), alive=True)["runs"][0]["state"] == "RUNNING"


def test_the_origin_leads_to_data_set_checksums_seed_and_versions(workspace):
    document = json.loads(run("trace", "--json", "--workspace", workspace.root))
    origin = document["origin"]
    assert origin["data"]["dataset"] == "mnist"
    assert origin["data"]["dataset_version"] == "3.0.1"
    assert origin["data"]["checksums.train-images-idx3-ubyte.gz"] == "0" * 64
    assert origin["seed"] == 10
    assert origin["source"]["Trainer.source_hash"] == "0123456789abcdef"
    assert origin["versions"]["tfx"] == "1.16.0"
    assert origin["metrics"]["fid"] == pytest.approx(1.01)
    # The data was made by the first run and reused by the ten others.
    [examples] = [a for a in document["artifacts"] if "MnistExampleGen" in a["uri"]]
    assert examples["reused"]["count"] == 10


def test_a_version_that_a_later_run_only_found_there_is_traced_to_who_pushed_it(workspace):
    client = writer(workspace)
    version = str(FIRST_VERSION + 10)
    again = pb.Artifact(
        type_id=client.get_artifact_type("PushedModel").id, uri="/again", state=pb.Artifact.LIVE
    )
    again.custom_properties["pushed"].int_value = 1
    again.custom_properties["new"].int_value = 0
    again.custom_properties["pushed_version"].string_value = version
    client.put_artifacts([again])
    assert documents.find_version(opened(workspace), version).uri != "/again"
    assert documents.find_version(opened(workspace), "latest").uri.endswith("pushed_model/10")


def test_wrong_usage_and_empty_workspaces_are_answered_with_one_message(workspace, tmp_path):
    text = run("runs", "--workspace", tmp_path / "nothing", code=2)
    assert "there was no run in" in text and "mnist-gan run" in text
    text = run("runs", "--metadata", tmp_path / "absent.sqlite", code=2)
    assert "there is no ML Metadata store at" in text
    text = run("trace", "--version", "7", "--workspace", workspace.root, code=2)
    assert "no version 7 was pushed" in text
    text = run("trace", "--version", "7", "--artifact", "1", "--workspace", workspace.root, code=2)
    assert "not both" in text
    text = run("stale", "--prune", "--metadata", workspace.metadata, code=2)
    assert "works on a workspace" in text


def test_drawings_come_on_stdout_alone(workspace):
    assert run("trace", "--mermaid", "--workspace", workspace.root).startswith("flowchart TD\n")
    dot = run("trace", "--dot", "--workspace", workspace.root)
    assert dot.startswith("digraph lineage {\n") and dot.endswith("}\n")


def test_the_commands_import_neither_tensorflow_nor_tfx(workspace):
    program = (
        "import sys\n"
        "from pipeline.commands.lineage import lineage\n"
        "assert 'ml_metadata' not in sys.modules\n"
        "for arguments in (['runs'], ['trace'], ['verify'], ['stale'], ['diff', 'latest', '1']):\n"
        f"    arguments += ['--workspace', {str(workspace.root)!r}]\n"
        "    lineage(arguments, standalone_mode=False)\n"
        "assert not {'tensorflow', 'tfx', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_a_store_of_many_runs_is_read_in_bulk_with_the_same_answer(workspace, monkeypatch):
    root = documents.find_version(opened(workspace), "latest").id
    one_by_one = documents.trace(opened(workspace), [root])
    monkeypatch.setattr(lineage_store, "_MANY", 0)
    assert documents.trace(opened(workspace), [root]) == one_by_one


def test_the_versions_of_a_trace_are_those_that_its_nodes_ran_on(workspace):
    client = writer(workspace)
    made = {e.id: e for e in client.get_executions() if e.last_known_state == pb.Execution.COMPLETE}
    for execution in made.values():
        trained = execution.type.endswith("Trainer")
        noted = {"tensorflow": "2.16.2"} if trained else {"tensorflow": "2.16.1", "tfx": "1.16.0"}
        execution.custom_properties[VERSIONS_PROPERTY].string_value = json.dumps(noted)
    client.put_executions(list(made.values()))
    store = opened(workspace)
    version = documents.find_version(store, "latest")
    origin = documents.trace(store, [version.id])["origin"]
    assert origin["versions"] == {"tensorflow": "2.16.1, 2.16.2", "tfx": "1.16.0"}
    # They are no settings.
    assert not [key for key in origin["config"] if "library_versions" in key]


def test_times_are_those_of_any_clock_and_never_negative():
    record = pb.Execution(
        last_known_state=pb.Execution.COMPLETE,
        create_time_since_epoch=2**31 * 1000,  # what 32 bits do not hold
        last_update_time_since_epoch=(2**31 - 3600) * 1000,  # an hour was put back meanwhile
    )
    assert Execution(record).seconds == 0
    assert documents.iso(record.create_time_since_epoch) == "2038-01-19T03:14:08Z"


def test_runs_are_sorted_as_they_were_made_when_the_clock_is_set_back(workspace):
    newest = add_execution(
        workspace, "Trainer", "2001-01-01T00:00:00.000000Z", pb.Execution.RUNNING
    )
    store = open_store(workspace.metadata)
    assert store.runs()[0].name == "2001-01-01T00:00:00.000000Z"
    assert store.place_of(newest.id) == ("Trainer", "2001-01-01T00:00:00.000000Z")
