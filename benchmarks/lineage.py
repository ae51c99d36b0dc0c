"""How long `mnist-gan lineage` takes on a store of many runs.

    python -m benchmarks.lineage [--runs 1000] [--repeat 5]

makes a synthetic ML Metadata store of that many runs of this project's pipeline (the first executes
every node, the later ones take the data nodes from the cache and train, judge and push again) and
times each command as a person feels it: a fresh process, from start to exit.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import click
import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from lineage.store import connect

# Node, inputs (key, producing node, output key), outputs (key, artifact type).
_EXAMPLES = ("examples", "MnistExampleGen", "examples")
_STATISTICS = ("statistics", "StatisticsGen", "statistics")
_SCHEMA = ("schema", "SchemaGen", "schema")
_GRAPH = ("transform_graph", "Transform", "transform_graph")
_MODEL = ("model", "Trainer", "model")
NODES: tuple[tuple[str, tuple[tuple[str, str, str], ...], dict[str, str]], ...] = (
    ("MnistExampleGen", (), {"examples": "Examples"}),
    ("StatisticsGen", (_EXAMPLES,), {"statistics": "ExampleStatistics"}),
    ("SchemaGen", (_STATISTICS,), {"schema": "Schema"}),
    ("ExampleValidator", (_STATISTICS, _SCHEMA), {"anomalies": "ExampleAnomalies"}),
    ("DataGate", (("anomalies", "ExampleValidator", "anomalies"),), {}),
    (
        "Transform",
        (_EXAMPLES, _SCHEMA),
        {"transform_graph": "TransformGraph", "transformed_examples": "Examples"},
    ),
    (
        "Trainer",
        (("examples", "Transform", "transformed_examples"), _GRAPH, _SCHEMA),
        {"model": "Model", "model_run": "ModelRun"},
    ),
    (
        "Evaluator",
        (_EXAMPLES, _MODEL),
        {"evaluation": "ModelEvaluation", "blessing": "ModelBlessing"},
    ),
    (
        "Pusher",
        (_MODEL, ("model_blessing", "Evaluator", "blessing")),
        {"pushed_model": "PushedModel"},
    ),
)
DATA_NODES = frozenset(node for node, _, _ in NODES[:6])
FIRST_VERSION = 1_700_000_000


def make_store(store: mlmd.MetadataStore, runs: int, root: str = "/synthetic") -> None:
    """Writes `runs` runs of NODES, at least one, to an empty store.

    Run i pushes version FIRST_VERSION + i; every tenth is not blessed and pushes nothing. Artifacts
    and versions claim to lie in the workspace `root`; no file is made there.
    """
    types = {
        name: store.put_artifact_type(pb.ArtifactType(name=name))
        for _, _, outputs in NODES
        for name in outputs.values()
    }
    node_types = {
        node: store.put_execution_type(pb.ExecutionType(name=f"synthetic.{node}"))
        for node, _, _ in NODES
    }
    context_types = {
        name: store.put_context_type(pb.ContextType(name=name))
        for name in ("pipeline", "pipeline_run", "node")
    }
    pipeline = pb.Context(type_id=context_types["pipeline"], name="synthetic")
    node_ids = store.put_contexts(
        [pb.Context(type_id=context_types["node"], name=f"synthetic.{n}") for n in node_types]
    )
    made: dict[tuple[str, str], int] = {}  # outputs of the data nodes, by node and key
    for index in range(runs):
        executions, artifacts, edges = [], [], []
        places = {place: {"id": artifact} for place, artifact in made.items()}
        for node, inputs, outputs in NODES:
            here, cached = len(executions), index > 0 and node in DATA_NODES
            executions.append(_execution(node_types[node], node, index, cached))
            for key, producer, output in inputs:
                edges.append(_edge(here, places[producer, output], pb.Event.INPUT, key))
            for key, name in outputs.items():
                if not cached:
                    places[node, key] = {"index": len(artifacts)}
                    artifacts.append(_artifact(types[name], key, index, root))
                    artifacts[-1].uri = f"{root}/pipeline_root/{node}/{key}/{index}"
                edges.append(_edge(here, places[node, key], pb.Event.OUTPUT, key))
        execution_ids, artifact_ids, _ = store.put_lineage_subgraph(
            executions,
            artifacts,
            [pipeline, _run(context_types["pipeline_run"], index)],
            edges,
            reuse_context_if_already_exist=True,
        )
        for (node, key), place in places.items():
            if node in DATA_NODES and "index" in place:
                made[node, key] = artifact_ids[place["index"]]
        associations = [
            pb.Association(execution_id=execution, context_id=context)
            for execution, context in zip(execution_ids, node_ids, strict=True)
        ]
        store.put_attributions_and_associations([], associations)


def _run(type_id: int, index: int) -> pb.Context:
    context = pb.Context(type_id=type_id, name=f"run-{index:05d}")
    facts = {
        "preset": "standard",
        "dataset": "mnist",
        "dataset_note": "",
        "settings": json.dumps({"preset": "standard", "seed": index, "training": {"steps": 3000}}),
        "data": json.dumps(
            {"dataset": "mnist", "dataset_version": "3.0.1", "checksums": {"a": "0" * 64}}
        ),
        "versions": json.dumps({"python": "3.10.13", "tfx": "1.16.0"}),
        "nodes": json.dumps([node for node, _, _ in NODES]),
        "state": "COMPLETE",
    }
    for key, value in facts.items():
        context.custom_properties[key].string_value = value
    context.custom_properties["seconds"].double_value = 400.0
    return context


def _execution(type_id: int, node: str, index: int, cached: bool) -> pb.Execution:
    state = pb.Execution.CACHED if cached else pb.Execution.COMPLETE
    execution = pb.Execution(type_id=type_id, last_known_state=state)
    execution.custom_properties["source_hash"].string_value = "0123456789abcdef"
    if node == "Trainer":
        settings = {"seed": index, "training": {"steps": 3000}}
        execution.custom_properties["custom_config"].string_value = json.dumps(settings)
    return execution


def _artifact(type_id: int, key: str, index: int, root: str) -> pb.Artifact:
    artifact = pb.Artifact(type_id=type_id, state=pb.Artifact.LIVE)
    facts = artifact.custom_properties
    facts["tfx_version"].string_value = "1.16.0"
    blessed = index % 10 != 9
    if key == "examples":
        facts["dataset"].string_value = "mnist"
        facts["dataset_version"].string_value = "3.0.1"
        facts["checksums"].string_value = json.dumps({"train-images-idx3-ubyte.gz": "0" * 64})
        facts["fingerprint"].string_value = "f" * 32
    elif key == "evaluation":
        facts["fid"].double_value = 1.0 + index / 1000
        facts["relative_fid"].double_value = 2.0 + index / 1000
        facts["cas"].double_value = 0.97
    elif key == "blessing":
        facts["blessed"].int_value = int(blessed)
        facts["reason"].string_value = "FID is low enough" if blessed else "FID is too high"
    elif key == "pushed_model":
        facts["pushed"].int_value = int(blessed)
        if blessed:
            facts["pushed_version"].string_value = str(FIRST_VERSION + index)
            destination = f"{root}/serving/mnist_gan/{FIRST_VERSION + index}"
            facts["pushed_destination"].string_value = destination
    return artifact


COMMANDS = (
    "runs",
    "runs --limit 0",
    "runs --not-blessed",
    "show latest",
    "trace",
    "trace --json",
    "trace --artifact 1 --down",
    "diff run-00000 latest",
    "stale",
)


@click.command()
@click.option("--runs", default=1000, show_default=True, help="Runs in the synthetic store.")
@click.option("--repeat", default=5, show_default=True, help="Times that each command is run.")
def main(runs: int, repeat: int) -> None:
    """Times `mnist-gan lineage` on a synthetic store."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "metadata.sqlite")
        make_store(connect(path, readonly=False), runs)
        click.echo(f"{runs} runs, median of {repeat}, process start to exit")
        for command in COMMANDS:
            seconds = statistics.median(_times(command, path, repeat))
            click.echo(f"{seconds:7.2f} s  mnist-gan lineage {command}")


def _times(command: str, path: pathlib.Path, repeat: int) -> list[float]:
    program = [sys.executable, "-m", "pipeline", "lineage", *command.split()]
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        subprocess.run([*program, "--metadata", str(path)], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begun)
    return seconds


def _edge(execution: int, place: dict[str, int], kind: int, key: str):
    """An event on the artifact of an index in the request, or of an id in the store."""
    event = pb.Event(type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    if "id" in place:
        event.artifact_id = place["id"]
    return execution, place.get("index"), event


if __name__ == "__main__":
    main()
