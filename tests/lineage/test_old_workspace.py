"""A workspace that version 0.1 made still opens, wherever it lies today.

`data/workspace_0_1.tar.xz` holds the store and the documents of one run of the preset `smoke`, no
weights and no graphs: what loads those is TensorFlow.
"""

import json
import pathlib
import tarfile

import pytest
from click.testing import CliRunner

from common.contract import GeneratorContract
from common.workspace import Workspace
from datasets.info import DatasetInfo
from lineage.store import open_store
from pipeline import cli, upkeep
from serving import versions

PACKED = pathlib.Path(__file__).parent / "data" / "workspace_0_1.tar.xz"
VERSION = 1795800520


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("old") / "workspace"
    with tarfile.open(PACKED) as archive:
        archive.extractall(root, filter="data")
    (root / "serving" / "mnist_gan" / str(VERSION) / "saved_model.pb").touch()
    return Workspace.at(root)


def call(old: Workspace, *arguments: str) -> dict:
    command = [*arguments, "--workspace", str(old.root), "--json"]
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_status_tells_of_its_run(old):
    run = call(old, "status")
    assert (run["state"], run["preset"], run["dataset"]) == ("COMPLETE", "smoke", "digits")
    assert {node["state"] for node in run["nodes"]} == {"COMPLETE"}
    assert run["blessed"] and run["infra_blessed"] and run["pushed_version"] == VERSION
    assert run["pushed_path"] == str(old.root / "serving" / "mnist_gan" / str(VERSION))
    assert run["metrics"]["fid"] > 0


def test_its_version_is_traced_to_the_data(old):
    document = call(old, "lineage", "trace")
    nodes = [execution["node"] for execution in document["executions"]]
    assert nodes[0] == "MnistExampleGen" and nodes[-1] == "Pusher"
    assert document["origin"]["data"]["dataset"] == "digits"
    assert "checksums.digits.csv.gz" in document["origin"]["data"]


def test_its_report_has_verdict_data_training_judge_and_lineage(old):
    page = pathlib.Path(call(old, "report")["report"]).read_text()
    assert f"version {VERSION}" in page
    assert "Losses while training" in page
    assert "Share of each class in each split" in page
    assert "TypeError" not in page and "KeyError" not in page and "AttributeError" not in page


def test_its_version_can_be_served_and_its_metadata_is_read(old):
    [row] = call(old, "versions", "list")["versions"]
    assert (row["version"], row["current"], row["blessed"]) == (VERSION, True, True)
    served = versions.latest(old.serving)
    assert served.metadata["data"]["dataset"] == "digits"
    contract = GeneratorContract.load(served.path)
    info = DatasetInfo.from_dict(contract.training["data"])
    assert (info.dataset, info.dataset_version) == ("digits", "1.0.0")
    assert info.class_names == contract.class_names
    assert info.fingerprint == served.metadata["data"]["fingerprint"] == info.content_digest()


def test_a_run_can_start_from_its_generator(old):
    upkeep.follow_move(old)
    store = open_store(old.metadata)
    [blessing] = store.artifacts_of_type("ModelBlessing")
    # What TFX's LatestBlessedModelStrategy goes by.
    assert blessing.properties["blessed"] == 1
    model = store.artifacts([blessing.properties["current_model_id"]])
    [path] = [store.path_of(artifact.uri) for artifact in model.values()]
    assert path.is_relative_to(old.root) and path.is_dir()
