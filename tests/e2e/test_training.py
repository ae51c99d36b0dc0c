"""Other models and warm starts, the whole way, and what becomes of their versions.

The tests of this file share a copy of the first run's workspace, in the order in which they stand.
"""

import json
import shutil

import pytest
from click.testing import CliRunner

from common.contract import GeneratorContract
from lineage import documents
from lineage.store import open_store
from pipeline import cli
from tests.e2e.conftest import call, pushed, run, start
from tests.e2e.test_pipeline import NODES

pytestmark = pytest.mark.e2e

DCGAN = ("--set", "model=dcgan", "--set", "steps=8", "--replace", "to show another model")


def test_base_model_is_refused_before_anything_runs_where_nothing_was_blessed(tmp_path):
    result = call(tmp_path / "fresh", "--set", "base_model=latest")
    assert result.returncode == 2
    assert "no generator was blessed yet" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "fresh" / "metadata.sqlite").exists()


def test_a_search_halves_and_leaves_what_it_found(first, workspace):
    refused = call(workspace, "--set", "hyperparameters=latest")
    assert refused.returncode == 2 and "`mnist-gan tune` makes them" in refused.stderr
    options = ("--set", "steps=6", "--set", "loss=hinge", "--trials", "3")
    searched = start(workspace, *options, command="tune").wait()
    assert searched.returncode == 0, searched.stderr
    document = json.loads(searched.stdout)
    states = {node["id"]: node["state"] for node in document["nodes"]}
    assert states.pop("Tuner") == "COMPLETE" and set(states.values()) == {"CACHED"}
    assert "Trainer" not in states
    best, *others = document["search"]["trials"]
    assert [t["steps"] for t in (best, *others)] == [6, 2, 2, 2]
    assert best["number"] == min(others, key=lambda t: t["fid"])["number"]
    assert "loss" not in best["settings"]  # it was held
    assert "Search for settings" in (workspace / "report" / "index.html").read_text()
    assert len(list((workspace / "tensorboard" / "tuner").iterdir())) == 4


def test_training_starts_from_the_latest_blessed_generator_with_what_the_search_found(
    first, workspace
):
    blessings = open_store(workspace / "metadata.sqlite").artifacts_of_type("ModelBlessing")
    blessed = {b.properties["current_model_id"] for b in blessings if b.properties["blessed"] == 1}
    latest = ("--set", "base_model=latest", "--set", "hyperparameters=latest")
    warm = run(workspace, *latest, "--set", "steps=30", "--replace", "a test")
    assert warm.exit_code == 0, warm.document
    assert warm.states()["Trainer"] == "COMPLETE"
    assert "BaseModel" not in warm.states()  # a lookup is no work

    store = open_store(workspace / "metadata.sqlite")
    assert store.execution_of(warm.document["run_id"], "BaseModel")
    trainer = store.execution_of(warm.document["run_id"], "Trainer")
    events = store.events_of_executions([trainer.id])
    inputs = {key: e.artifact for e in events if e.kind == "input" for key in e.keys}
    assert inputs["base_model"] == max(blessed)
    model = store.artifacts(inputs.values())[inputs["base_model"]]
    version = pushed(workspace)[-1]
    assert version.number == warm.document["pushed_version"]
    contract = GeneratorContract.load(version.path)
    assert contract.training["warm_start"].startswith(model.uri)
    found = store.artifacts_of_type("HyperParameters")[-1]
    assert inputs["hyperparameters"] == found.id
    best = documents.search(store, store.artifacts_of_type("TunerResults"))["trials"][0]["settings"]
    assert best.items() <= contract.training["config"].items()
    facts = store.run_named(warm.document["run_id"]).properties
    assert facts["hyperparameters"] == {"model": "cdcgan", **best}


def test_a_model_without_labels_goes_the_whole_way(first, workspace, tmp_path):
    other = run(workspace, *DCGAN)
    assert other.exit_code == 0, other.document
    assert other.document["blessed"] is True
    assert "accuracy" not in other.document["metrics"]
    version = pushed(workspace)[-1]
    assert version.number == other.document["pushed_version"]
    contract = GeneratorContract.load(version.path)
    assert (contract.model, contract.latent_distribution) == ("dcgan", "uniform")
    page = (workspace / "report" / "index.html").read_text()
    assert "Nothing to show" not in page

    arguments = ["generate", "--workspace", str(workspace), "--count", "4"]
    drawn = CliRunner().invoke(cli.main, [*arguments, "--out", str(tmp_path / "any.png")])
    assert drawn.exit_code == 0, drawn.output
    refused = CliRunner().invoke(
        cli.main, [*arguments, "--digit", "7", "--out", str(tmp_path / "seven.png")]
    )
    assert refused.exit_code == 2
    assert "can't be asked for class 7" in refused.output


def test_a_version_that_somebody_emptied_is_pushed_again(first, workspace):
    emptied = pushed(workspace)[-1]
    shutil.rmtree(emptied.path)
    emptied.path.mkdir()
    again = run(workspace, *DCGAN)
    assert again.states() == {**dict.fromkeys(NODES, "CACHED"), "Pusher": "COMPLETE"}
    assert pushed(workspace)[-1].number == again.document["pushed_version"] > emptied.number
    emptied.path.rmdir()


def test_a_version_that_was_rolled_back_stays_so_through_the_next_run(first, workspace):
    def ask(*arguments: str) -> str:
        result = CliRunner().invoke(cli.main, [*arguments, "--workspace", str(workspace)])
        assert result.exit_code == 0, result.output
        return result.output

    *older, newest = (version.number for version in pushed(workspace))
    ask("versions", "rollback")
    again = run(workspace, *DCGAN)
    assert again.states() == dict.fromkeys(NODES, "CACHED")
    assert [version.number for version in pushed(workspace)] == older
    assert (again.document["pushed_version"], again.document["rolled_back"]) == (newest, True)
    assert f"{newest} (rolled back)" in ask("status")
    assert str(newest) in ask("lineage", "trace", "--version", str(newest))
    ask("lineage", "verify", "--version", str(newest))
    ask("versions", "restore", str(newest))
    assert json.loads(ask("status", "--json"))["rolled_back"] is False
