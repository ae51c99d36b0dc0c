"""Reads what ExampleValidator found and stops the run when it found anything."""

import json
import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs

from components import dataset_properties

EXAMPLES_OK_KEY = "examples_ok"
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
    examples: dict[str, int], labels: dict[str, dict[int, int]], expected: dict[str, int]
) -> list[str]:
    """What is wrong with the numbers of examples.

    Args:
      examples: {split: number of examples}, as counted.
      labels: {split: {label: number of examples}}.
      expected: {split: number of examples}, as the data set promises; splits may lack.

    Returns:
      one sentence a fault.
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


class Executor(base_executor.BaseExecutor):
    """Fails when there is an anomaly; otherwise writes what it counted."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks all splits of `anomalies` and `statistics`, writes `examples_ok`.

        Args:
          input_dict: `examples` (Examples), `statistics` (ExampleStatistics), `anomalies`
            (ExampleAnomalies), one each.
          output_dict: `examples_ok` (DataGateReport): a folder with `data_gate.json`.
          exec_properties: not used.

        Raises:
          DataGateError: with every anomaly of every split.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples, statistics, anomalies = (
            artifact_utils.get_single_instance(input_dict[key])
            for key in (
                standard_component_specs.EXAMPLES_KEY,
                standard_component_specs.STATISTICS_KEY,
                standard_component_specs.ANOMALIES_KEY,
            )
        )
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
                split: {str(label): n for label, n in found.items()}
                for split, found in labels.items()
            },
        }
        folder = artifact_utils.get_single_uri(output_dict[EXAMPLES_OK_KEY])
        fileio.makedirs(folder)
        with fileio.open(os.path.join(folder, REPORT_FILE), "w") as file:
            file.write(json.dumps(report, indent=2) + "\n")
