"""Runs the executors between ExampleGen and Transform on artifacts in temporary folders."""

import json
import pathlib

import apache_beam as beam
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator
from tfx.components.schema_gen import executor as schema_gen
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from components import artifact_types, data_gate, example_schema, mnist_example_gen
from datasets.source import DataSource
from pipeline.pipeline import LOCAL_BEAM

EXCLUDE_NOTHING = {"exclude_splits": "null"}


def local_beam(workers: int = 1) -> beam.Pipeline:
    """An empty pipeline that runs in this process, with so many threads as its workers."""
    several = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_threading"]
    return beam.Pipeline(argv=[*LOCAL_BEAM, *(several if workers > 1 else ())])


def beam_executor(
    executor_class: type, folder: pathlib.Path, workers: int = 1
) -> base_beam_executor.BaseBeamExecutor:
    """An executor that runs Beam in this process.

    With `beam_pipeline_args` in its context it would parse pytest's own command line by absl.
    """
    context = base_beam_executor.BaseBeamExecutor.Context(
        make_beam_pipeline_fn=lambda: local_beam(workers),
        tmp_dir=str(folder / "tmp"),
        unique_id="1",
    )
    return executor_class(context)


def artifact(artifact_class: type, folder: pathlib.Path) -> types.Artifact:
    """An empty output artifact in `folder`."""
    result = artifact_class()
    result.uri = str(folder)
    return result


def generate_examples(source: DataSource, folder: pathlib.Path) -> types.Artifact:
    """What MnistExampleGen makes of `source`."""
    examples = artifact(standard_artifacts.Examples, folder / "examples")
    mnist_example_gen.MnistExampleGen.test_call(
        examples=examples,
        data_source=mnist_example_gen.content_of(source),
        beam_pipeline=local_beam(),
    )
    return examples


def write_schema(num_classes: int, folder: pathlib.Path) -> types.Artifact:
    """The schema that ExampleSchema makes of examples without further features."""
    schema = artifact(standard_artifacts.Schema, folder)
    constrained = example_schema.constrain(schema_pb2.Schema(), num_classes)
    io_utils.write_pbtxt_file(str(folder / "schema.pbtxt"), constrained)
    return schema


def statistics(examples: types.Artifact, folder: pathlib.Path, workers: int = 1) -> types.Artifact:
    """What StatisticsGen makes of `examples`."""
    found = artifact(standard_artifacts.ExampleStatistics, folder / "statistics")
    options = tfdv.StatsOptions(schema=example_schema.statistics_schema()).to_json()
    beam_executor(statistics_gen.Executor, folder, workers).Do(
        {"examples": [examples]},
        {"statistics": [found]},
        {**EXCLUDE_NOTHING, "stats_options_json": options},
    )
    return found


def validate(examples: types.Artifact, folder: pathlib.Path) -> dict[str, types.Artifact]:
    """StatisticsGen, SchemaGen, ExampleSchema and ExampleValidator, as the pipeline runs them."""
    made = {
        "statistics": statistics(examples, folder),
        "inferred_schema": artifact(standard_artifacts.Schema, folder / "inferred"),
        "schema": artifact(standard_artifacts.Schema, folder / "schema"),
        "anomalies": artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies"),
        "examples": examples,
    }

    def channel(*keys: str, **renamed: str) -> dict[str, list[types.Artifact]]:
        return {key: [made[renamed.get(key, key)]] for key in (*keys, *renamed)}

    schema_gen.Executor().Do(
        channel("statistics"), channel(schema="inferred_schema"), EXCLUDE_NOTHING
    )
    example_schema.ExampleSchema.test_call(
        inferred_schema=made["inferred_schema"], examples=examples, example_schema=made["schema"]
    )
    example_validator.Executor().Do(
        channel("statistics", "schema"), channel("anomalies"), EXCLUDE_NOTHING
    )
    return made


def pass_gate(made: dict[str, types.Artifact], folder: pathlib.Path, **parameters: float) -> dict:
    """What DataGate writes about the artifacts of `validate`, and SpanDrift's if it is there."""
    report = artifact(artifact_types.DataGateReport, folder / "gate")
    keys = ("examples", "statistics", "anomalies", "drift_report")
    inputs = {key: made[key] for key in keys if key in made}
    data_gate.DataGate.test_call(**inputs, **parameters, examples_ok=report)
    return json.loads(pathlib.Path(report.uri, data_gate.REPORT_FILE).read_text())
