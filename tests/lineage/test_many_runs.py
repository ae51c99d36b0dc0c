"""Downwards a store shows as much as it had runs: the newest are followed, the rest counted."""

import collections

from click import unstyle

from benchmarks.lineage import make_store
from lineage import documents, render
from lineage.store import connect, open_store


def test_downwards_the_newest_of_each_node_are_followed_and_the_others_counted(tmp_path):
    make_store(connect(tmp_path / "metadata.sqlite", readonly=False), runs=4)
    store = open_store(tmp_path / "metadata.sqlite")
    document = documents.trace(store, [1], "down", limit=2)
    nodes = collections.Counter(execution["node"] for execution in document["executions"])
    assert nodes["Evaluator"] == 2
    assert nodes["StatisticsGen"] == 1  # older than every Evaluator, and still there
    [examples] = [a for a in document["artifacts"] if a["id"] == 1]
    assert examples["consumers_omitted"] == 2
    text = "\n".join(unstyle(line) for line in render.trace(document))
    assert "and 2 older executions (--limit 0 shows all)" in text
    assert "Evaluator (2 executions), see above" in text

    everything = documents.trace(store, [1], "down")
    assert {a["consumers_omitted"] for a in everything["artifacts"]} == {0}
    assert sum(execution["node"] == "Evaluator" for execution in everything["executions"]) == 4
