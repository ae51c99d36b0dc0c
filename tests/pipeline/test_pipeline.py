"""The DAG: what depends on what, and what is part of the cache key."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from tfx.orchestration.pipeline import Pipeline

from datasets.source import DataSource
from pipeline import configs
from pipeline.pipeline import LOOKUPS, create_pipeline
from tests.conftest import REPOSITORY

DATA = DataSource(
    requested="auto",
    dataset="letters",
    dataset_version="1.0.0",
    split_slices={"train": "train[0:60]", "eval": "train[60:70]", "test": "test[0:10]"},
    split_counts={"train": 60, "eval": 10, "test": 10},
    num_classes=26,
    class_names=tuple("abcdefghijklmnopqrstuvwxyz"),
    checksums={"letters.gz": "0" * 64},
    tfds_dir="tfds",
    fingerprint="f" * 64,
)


SPANS = dataclasses.replace(DATA, spans=(2,), compared=(DATA, DATA))


def make(
    tmp_path: pathlib.Path, data: DataSource = DATA, search: dict | None = None, **overrides: str
) -> Pipeline:
    return create_pipeline(
        settings=configs.load("smoke", overrides),
        data=data,
        metadata_path=tmp_path / "metadata.sqlite",
        pipeline_root=tmp_path / "root",
        serving_base=tmp_path / "serving",
        checkpoint_root=tmp_path / "checkpoints",
        tensorboard_root=tmp_path / "tensorboard",
        search=search,
    )


@pytest.fixture
def nodes(tmp_path):
    return {component.id: component for component in make(tmp_path).components}


def test_making_the_pipeline_touches_nothing(tmp_path):
    make(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_trained_before_the_gate_let_the_data_pass(nodes):
    assert nodes["DataGate"] in nodes["Transform"].upstream_nodes
    assert nodes["Transform"] in nodes["Trainer"].upstream_nodes


def test_a_span_is_compared_with_the_one_before_where_there_is_one(nodes, tmp_path):
    assert "SpanDrift" not in nodes
    made = {c.id: c for c in make(tmp_path, SPANS, max_image_drift="0.9").components}
    gate = made["DataGate"]
    assert gate.inputs["drift_report"] is made["SpanDrift"].outputs["drift_report"]
    assert gate.exec_properties["max_image_drift"] == 0.9


def test_the_push_depends_on_the_verdict_and_on_a_server_that_could_serve_it(nodes):
    validator = nodes["GeneratorValidator"]
    assert validator in nodes["Pusher"].upstream_nodes
    assert nodes["Evaluator"] in nodes["Pusher"].upstream_nodes
    assert nodes["Pusher"].inputs["infra_blessing"] is validator.outputs["blessing"]
    assert list(nodes).index("GeneratorValidator") < list(nodes).index("Evaluator")


def test_extractors_are_trained_of_data_that_none_are_pinned_for(nodes, tmp_path):
    made = nodes["FeatureExtractor"]
    assert nodes["DataGate"] in made.upstream_nodes
    assert nodes["Evaluator"].inputs["extractors"] is made.outputs["extractors"]
    assert made not in nodes["Trainer"].upstream_nodes
    looks = {c.id: c for c in make(tmp_path, eval_interval="100").components}
    assert looks["FeatureExtractor"] in looks["Trainer"].upstream_nodes
    for dataset in ("mnist", "digits"):
        pinned = make(tmp_path, dataclasses.replace(DATA, dataset=dataset))
        assert "FeatureExtractor" not in {c.id for c in pinned.components}


def test_only_lookups_are_left_out_of_a_report(tmp_path):
    latest = {"base_model": "latest", "hyperparameters": "latest"}
    nodes = {c.id: c for c in make(tmp_path, **latest).components}
    resolvers = {name for name, node in nodes.items() if type(node).__name__ == "Resolver"}
    assert resolvers | {"Baseline"} == LOOKUPS


def test_the_latest_blessed_generator_is_looked_up_where_training_starts_from_it(tmp_path, nodes):
    assert "BaseModel" not in nodes
    warm = {c.id: c for c in make(tmp_path, base_model="latest").components}
    assert warm["BaseModel"] in warm["Trainer"].upstream_nodes
    assert warm["Trainer"].inputs["base_model"].type_name == "Model"


def test_a_search_takes_the_place_of_training_and_is_trained_on_what_a_training_is(tmp_path):
    search = {"trials": 9, "minutes": 0, "fixed": ["loss"]}
    nodes = {c.id: c for c in make(tmp_path, search=search).components}
    assert list(nodes)[-1] == "Tuner" and "Trainer" not in nodes
    assert nodes["FeatureExtractor"] in nodes["Tuner"].upstream_nodes
    trains = {c.id: c for c in make(tmp_path, hyperparameters="latest").components}["Trainer"]
    assert trains.inputs["hyperparameters"].type_name == "HyperParameters"
    assert json.loads(nodes["Tuner"].exec_properties["eval_args"]) == {"splits": ["eval"]}
    with pytest.raises(ValueError, match="a run does"):
        make(tmp_path, search=search, base_model="latest")


def test_every_node_that_runs_our_code_has_the_hash_of_it(nodes):
    stock = {"StatisticsGen", "SchemaGen", "ExampleValidator"}
    for name, node in nodes.items():
        if name in LOOKUPS | stock:
            continue
        properties = node.exec_properties
        custom = json.loads(properties.get("custom_config") or "{}")
        assert len(properties.get("source_hash") or custom.get("source_hash") or "") == 16, name


@pytest.mark.parametrize(
    ("node", "setting"),
    [
        ("Trainer", {"steps": "7"}),
        ("Evaluator", {"max_relative_fid": "7"}),
        ("GeneratorValidator", {"model_server": "/usr/bin/other"}),
    ],
)
def test_a_setting_is_part_of_the_cache_key_of_the_node_that_uses_it_alone(
    tmp_path, nodes, node, setting
):
    changed = {c.id: c for c in make(tmp_path, **setting).components}
    assert _differing(nodes, changed) == {node}


def test_the_number_of_classes_is_the_data_sets(nodes):
    custom = json.loads(nodes["Trainer"].exec_properties["custom_config"])
    assert custom["data"]["num_classes"] == 26
    assert custom["data"]["fingerprint"] == DATA.fingerprint


def _differing(before, after) -> set[str]:
    """Nodes whose parameters are others."""
    return {
        name
        for name in before
        if name not in LOOKUPS
        and {k: str(v) for k, v in before[name].exec_properties.items()}
        != {k: str(v) for k, v in after[name].exec_properties.items()}
    }


@pytest.mark.slow
def test_tfx_s_own_runner_and_command_run_it_as_the_how_to_says(tmp_path):
    page = (REPOSITORY / "docs" / "how-to" / "elsewhere.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "file.py"
    begin = "from tfx.orchestration.pipeline import RunOptions\n"
    some = 'run(pipeline, RunOptions(to_nodes=["StatisticsGen"]))'  # the rest takes a minute
    file.write_text(begin + code.replace("run(pipeline)", some))
    commands = re.findall(r"^    tfx (.*)", page, re.MULTILINE)
    assert len(commands) == 2
    tfx = pathlib.Path(sys.executable).with_name("tfx")
    for command in commands:
        done = subprocess.run(
            [tfx, *command.replace("FILE", str(file)).split()],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("workspace/pipeline_root/StatisticsGen/statistics/*/Split-train"))
