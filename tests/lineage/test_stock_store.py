"""The lineage of a pipeline that is not this project's: no property of ours is in its store."""

import datetime
import json

import pytest
from click import unstyle

from lineage import documents, render
from lineage.store import StoreError, open_store

FIRST, CACHED, FAILED = (
    "2026-11-21T23:57:04.729956",
    "2026-11-21T23:57:43.423673",
    "2026-11-21T23:57:44.230912",
)


def artifacts_of(document: dict) -> dict[int, dict]:
    return {artifact["id"]: artifact for artifact in document["artifacts"]}


def nodes_of(document: dict) -> list[str]:
    return [execution["node"] for execution in document["executions"]]


def test_runs_are_listed_newest_first_with_state_verdict_and_version(stock):
    rows = documents.runs(stock)["runs"]
    assert [row["run"] for row in rows] == [FAILED, CACHED, FIRST]
    assert [row["state"] for row in rows] == ["FAILED", "COMPLETE", "COMPLETE"]
    assert [row["blessed"] for row in rows] == [None, True, True]
    assert [row["pushed_version"] for row in rows] == [None, 1795305464, 1795305463]
    assert rows[1]["nodes"] == {"CACHED": 5, "COMPLETE": 2}


def test_runs_are_filtered_before_they_are_counted(stock):
    assert [r["run"] for r in documents.runs(stock, state="failed")["runs"]] == [FAILED]
    assert [r["run"] for r in documents.runs(stock, blessed=True, limit=1)["runs"]] == [CACHED]
    since = datetime.datetime.fromisoformat("2026-11-21T23:57:40+00:00")
    assert [r["run"] for r in documents.runs(stock, since=since)["runs"]] == [FAILED, CACHED]


def test_a_version_leads_back_to_the_executions_that_really_made_it(stock):
    document = documents.trace(stock, [documents.find_version(stock, "latest").id])
    assert nodes_of(document) == [
        "CsvExampleGen", "StatisticsGen", "SchemaGen", "Transform", "TinyTrainer", "TinyJudge",
        "Pusher",
    ]  # fmt: skip
    assert {execution["state"] for execution in document["executions"]} == {"COMPLETE"}
    by_node = {execution["node"]: execution for execution in document["executions"]}
    assert by_node["TinyTrainer"]["run"] == FIRST
    assert by_node["Pusher"]["run"] == CACHED


def test_reuse_from_the_cache_is_listed_apart_from_the_producer(stock):
    document = documents.trace(stock, [documents.find_version(stock, "latest").id])
    [examples] = [a for a in document["artifacts"] if a["uri"].endswith("CsvExampleGen/examples/1")]
    assert examples["producer"] == 1
    assert examples["reused"]["count"] == 2
    assert [reuse["run"] for reuse in examples["reused"]["newest"]] == [FAILED, CACHED]


def test_resolvers_and_the_execution_cache_stay_out_of_sight(stock):
    names = json.dumps([documents.runs(stock), documents.trace(stock, [16]),
                        documents.trace(stock, [1], "down")])  # fmt: skip
    assert "latest_blessed" not in names
    assert "Resolver" not in names


def test_a_baseline_that_is_also_the_model_is_an_input_and_not_only_a_reference(stock):
    [judge] = [e for e in documents.trace(stock, [15])["executions"] if e["node"] == "TinyJudge"]
    assert judge["inputs"] == {"baseline_model": [12], "model": [12]}
    assert judge["references"] == []


def test_downwards_one_sees_what_came_of_the_data_and_that_a_training_failed(stock):
    document = documents.trace(stock, [1], "down")
    pushed = [a["summary"] for a in document["artifacts"] if a["type"] == "PushedModel"]
    assert pushed == ["version 1795305463", "version 1795305464"]
    states = {e["id"]: e["state"] for e in document["executions"] if e["node"] == "TinyTrainer"}
    assert sorted(states.values()) == ["COMPLETE", "FAILED"]
    assert "CACHED" not in {execution["state"] for execution in document["executions"]}


def test_the_origin_names_data_settings_and_version_of_tfx(stock):
    origin = documents.trace(stock, [16])["origin"]
    assert origin["data"]["input_fingerprint"].startswith("split:single_split,num_files:1")
    assert origin["config"]["TinyTrainer.steps"] == 10
    assert origin["config"]["CsvExampleGen.input_base"] == "/stock/data"
    assert origin["versions"] == {"tfx": "1.16.0"}
    assert origin["verdict"]["blessed"] == 1
    assert [run["run"] for run in origin["runs"]] == [FIRST, CACHED]


def test_two_runs_differ_in_the_one_setting_that_was_changed(stock):
    sections = documents.diff(stock, FIRST, FAILED)["sections"]
    [steps] = sections["config"]["different"]
    assert steps == {"name": "TinyTrainer.steps", "a": 10, "b": -1}
    # What came from the cache is described by who made it.
    assert sections["config"]["same"] > 5
    assert sections["data"]["different"] == []


def test_nodes_that_one_run_did_not_come_to_are_named_and_their_settings_left_out(stock):
    sections = documents.diff(stock, FIRST, FAILED)["sections"]
    states = {row["name"]: (row["a"], row["b"]) for row in sections["nodes"]["different"]}
    assert states["Transform"] == ("COMPLETE", "CACHED")
    assert states["TinyTrainer"] == ("COMPLETE", "FAILED")
    assert states["Pusher"] == ("COMPLETE", None)
    assert "Pusher" not in json.dumps([sections["config"], sections["artifacts"]])


def test_the_same_thing_does_not_differ_from_itself(stock):
    sections = documents.diff(stock, "latest", "version:1795305464")["sections"]
    assert all(section["different"] == [] for section in sections.values())
    assert sections["config"]["same"] > 5


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("12", ["artifact", "execution"]),
        ("artifact:12", ["artifact"]),
        ("execution:12", ["execution"]),
        ("1795305463", ["artifact"]),
        ("latest", ["artifact"]),
        ("2026-11-21T23:57:43", ["run"]),
        ("run:latest", ["run"]),
    ],
)
def test_names_mean_what_the_help_says(stock, name, kinds):
    assert [match["kind"] for match in documents.show(stock, name)["matches"]] == kinds


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("9999", "nothing is called '9999'"),
        ("artifact:9999", "there is no artifact 9999"),
        ("version:1", "no version 1 was pushed (newest: 1795305463, 1795305464)"),
        ("2026-11-21", "3 runs begin with '2026-11-21'"),
        ("artifact:pusher", "there is no artifact pusher"),
        (f"artifact:{2**63}", f"there is no artifact {2**63}"),
        ("²", "nothing is called '²'"),
    ],
)
def test_a_name_that_means_nothing_is_answered_in_words(stock, name, words):
    with pytest.raises(documents.NotFoundError) as caught:
        if name == "2026-11-21":
            documents.find_run(stock, name)
        documents.show(stock, name)
    assert words in str(caught.value)


def test_the_tree_names_each_execution_once_and_points_back_to_it(stock):
    lines = [unstyle(line) for line in render.trace(documents.trace(stock, [16]))]
    tree = lines[: lines.index("")]
    assert tree[0].startswith("PushedModel 16  version 1795305464")
    assert sum("Transform (execution 5)  complete" in line for line in tree) == 1
    assert sum("Transform (execution 5), see above" in line for line in tree) == 1
    # Every line hangs below the one that it belongs to.
    assert tree[1].startswith("└── Pusher")
    assert all(line[:4] in ("    ",) for line in tree[2:])


def test_mermaid_and_dot_hold_every_node_and_every_arrow(stock):
    document = documents.trace(stock, [16])
    arrows = render.graph_edges(document)
    flow, dot = (list(view(document)) for view in (render.mermaid, render.dot))
    assert flow[0] == "flowchart TD"
    assert sum("-->" in line for line in flow) == len(arrows)
    assert sum(" -> " in line for line in dot) == len(arrows)
    for artifact in document["artifacts"]:
        assert any(line.strip().startswith(f"a{artifact['id']}([") for line in flow)
        assert any(line.strip().startswith(f"a{artifact['id']} [label=") for line in dot)
    assert ("a1", "e5", "examples", False) in arrows


def test_a_file_that_is_no_store_is_refused_in_words(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be mistaken for one" * 50)
    with pytest.raises(StoreError, match="can't be read as ML Metadata"):
        open_store(path)
    with pytest.raises(FileNotFoundError, match="no ML Metadata store"):
        open_store(tmp_path / "absent.sqlite")
    with pytest.raises(StoreError, match="sqlite, mysql or grpc"):
        open_store("oracle://host/db")


def test_reading_changes_no_byte_of_the_store(stock_file):
    before = stock_file.read_bytes()
    store = open_store(f"sqlite:///{stock_file}")
    documents.trace(store, [16])
    documents.show(store, "12")
    assert stock_file.read_bytes() == before
