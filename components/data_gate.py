"""DataGate: nothing is trained on data that ExampleValidator complains of."""

import json
import os
import textwrap
from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.example_validator import executor as example_validator_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from components import artifact_types, dataset_properties
from components.span_drift import DRIFT_FILE

REPORT_FILE = "data_gate.json"
MAX_UNSEEN_SHARE = 0.05
"""Largest share of a held-out split that may be of classes without a training example.

A generator can't draw what it never saw, and would be judged by it. A small slice of a data set
with hundreds of classes lacks a few by chance.
"""


class DataGateError(ValueError):
    """The data has anomalies; the message lists all of them."""


def read_anomalies(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One sentence an anomaly: which feature, and what is wrong with it."""
    found = [
        f"{feature}: {info.short_description}: {info.description}"
        for feature, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        info = anomalies.dataset_anomaly_info
        found.append(f"{info.short_description}: {info.description}")
    return found


def read_label_counts(statistics: statistics_pb2.DatasetFeatureStatistics) -> dict[int, int]:
    """Examples of each class that occurs, in label order. Labels are counted as categories."""
    for feature in statistics.features:
        if list(feature.path.step) == ["label"]:
            buckets = feature.string_stats.rank_histogram.buckets
            return dict(sorted((int(b.label), int(b.sample_count)) for b in buckets))
    return {}


def check_counts(
    examples: dict[str, int], labels: dict[str, dict[int, int]], expected: Mapping[str, int]
) -> list[str]:
    """What is wrong with the numbers of examples.

    Args:
      examples: {split: number of examples}, as counted.
      labels: {split: {label: number of examples}}.
      expected: {split: number of examples}, as the data set promises; splits may lack.

    Returns:
      one sentence per fault.
    """
    faults = []
    for split, count in examples.items():
        if count == 0:
            faults.append(f"{split}: there are no examples")
        elif count != expected.get(split, count):
            faults.append(f"{split}: {count:,} examples were read of {expected[split]:,}")
    for split, counts in labels.items():
        unseen = {label: n for label, n in counts.items() if label not in labels["train"]}
        if sum(unseen.values()) > MAX_UNSEEN_SHARE * sum(counts.values()):
            faults.append(
                f"{split}: {sum(unseen.values()):,} of {sum(counts.values()):,} examples are of "
                f"classes that have no training example: {', '.join(map(str, unseen))}"
            )
    return faults


def check_drift(found: Mapping, max_image_drift: float, max_label_drift: float) -> list[str]:
    """One sentence per figure that is above its threshold and what chance gives.

    Args:
      found: `drift.json` of SpanDrift.
      max_image_drift, max_label_drift: of `DataConfig`.
    """
    span, before = f"span {found['span']}", f"span {found['before']}"
    classes = "".join(
        f" ({what}: {textwrap.shorten(names, 200)})"
        for what in ("gone", "new")
        if (names := found[f"classes_{what}"])
    )
    faults = []
    for kind, allowed, form, sentence in (
        (
            "image",
            max_image_drift,
            ".1%",
            f"images of {span} and {before} are told apart: accuracy",
        ),
        (
            "label",
            max_label_drift,
            ".3g",
            f"{span} has other shares of classes than {before}{classes}:",
        ),
    ):
        value, threshold = found[f"{kind}_drift"], allowed + found[f"{kind}_chance"]
        if value > threshold:
            faults.append(
                f"{sentence} {value:{form}}, above the threshold of {threshold:{form}} "
                f"(max_{kind}_drift={allowed:g}, and chance): correct {span}, or accept it with "
                f"--set max_{kind}_drift=1"
            )
    return faults


@component
def DataGate(
    examples: InputArtifact[standard_artifacts.Examples],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    examples_ok: OutputArtifact[artifact_types.DataGateReport],
    drift_report: InputArtifact[artifact_types.SpanDrift] = None,
    max_image_drift: Parameter[float] = 1.0,
    max_label_drift: Parameter[float] = 1.0,
    source_hash: Parameter[str] = "",
) -> None:
    """Fails with the list of anomalies and drifts if there are any, else writes what it counted.

    ExampleValidator itself only writes them down. Nodes that must not see bad data take DataGate
    as upstream node.

    Args:
      examples: MnistExampleGen's; says how many there should be.
      statistics: StatisticsGen's, made with `example_schema.statistics_schema`.
      anomalies: ExampleValidator's.
      examples_ok: gets `data_gate.json`.
      drift_report: SpanDrift's; None where there is no span before.
      max_image_drift, max_label_drift: of `DataConfig`.
      source_hash: of the code that runs; another hash is another execution.

    Raises:
      DataGateError: with every anomaly of every split, and every drift above its threshold.
    """
    faults, counts, labels = [], {}, {}
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        folder = artifact_utils.get_split_uri([anomalies], split)
        path = os.path.join(folder, example_validator_executor.DEFAULT_FILE_NAME)
        with fileio.open(path, "rb") as file:
            found = anomalies_pb2.Anomalies.FromString(file.read())
        faults += [f"{split}: {anomaly}" for anomaly in read_anomalies(found)]
        proto = stats_artifact_utils.load_statistics(statistics, split).proto()
        counts[split] = int(proto.datasets[0].num_examples)
        labels[split] = read_label_counts(proto.datasets[0])
    info = dataset_properties.read(examples)
    faults += check_counts(counts, labels, info.split_counts)
    if drift_report is not None:
        with fileio.open(os.path.join(drift_report.uri, DRIFT_FILE)) as file:
            faults += check_drift(json.load(file), max_image_drift, max_label_drift)
    if faults:
        raise DataGateError(
            f"the examples of {info.dataset!r} have anomalies, nothing is trained on them:\n"
            + "\n".join(f"  - {fault}" for fault in faults)
        )
    report = {
        "dataset": info.dataset,
        "anomalies": faults,
        "examples": counts,
        "label_counts": {
            split: {str(label): n for label, n in found.items()} for split, found in labels.items()
        },
    }
    fileio.makedirs(examples_ok.uri)
    with fileio.open(os.path.join(examples_ok.uri, REPORT_FILE), "w") as file:
        file.write(json.dumps(report, indent=2) + "\n")
