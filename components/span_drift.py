"""SpanDrift: how far the newest span of the data is from the span before it."""

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow_data_validation as tfdv
from scipy import stats
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio

from common.images import SPANS_FILE, tile
from components import artifact_types, properties
from datasets import png
from datasets.examples import read_prepared
from datasets.source import DataSource
from metrics.two_sample import two_sample

DRIFT_FILE = "drift.json"
SURE = 0.99
_LOOKED_AT = 2_000  # images of either span, 6 s
_SHOWN, _IN_A_ROW = 20, 10


def label_drift(newest: Sequence[str], before: Sequence[str]) -> tuple[float, float]:
    """How far the shares of classes are from each other, as TFDV measures it.

    Args:
      newest, before: names of classes, one per image; numbers may differ between spans.

    Returns:
      the Jensen-Shannon divergence in bits, 0 to 1, and the largest that chance gives, `SURE` of
      the time: of two samples of one distribution 8 ln(2) / (1/N + 1/M) times the divergence is
      nearly chi-squared, with a degree of freedom less than there are classes.
    """
    statistics = [
        tfdv.generate_statistics_from_dataframe(pd.DataFrame({"label": names}, dtype=object))
        for names in (newest, before)
    ]
    schema = schema_pb2.Schema()
    label = schema.feature.add(name="label", type=schema_pb2.BYTES)
    label.drift_comparator.jensen_shannon_divergence.threshold = 0.0
    found = tfdv.validate_statistics(statistics[0], schema, previous_statistics=statistics[1])
    value = found.drift_skew_info[0].drift_measurements[0].value
    freedom = len({*newest, *before}) - 1
    quantile = stats.chi2.ppf(SURE, freedom) if freedom else 0.0
    chance = quantile * (1 / len(newest) + 1 / len(before)) / (8 * np.log(2))
    return float(value), float(chance)


@component
def SpanDrift(
    newest: Parameter[str],
    before: Parameter[str],
    drift_report: OutputArtifact[artifact_types.SpanDrift],
    source_hash: Parameter[str] = "",
) -> None:
    """Measures how far the train images of a span are from those of the span before; no judgement.

    The images are compared by the judge's two-sample classifier, which needs no other network:
    nothing is trained yet. `image_drift` is its accuracy, `image_chance` what the interval leaves.

    Args:
      newest, before: of `mnist_example_gen.content_of`, each of one span.
      drift_report: gets `drift.json` and `spans.png`.
      source_hash: of the code that runs; another hash is another execution.

    Raises:
      DataError: a prepared file is missing or damaged.
    """
    sources = [DataSource.from_json(text) for text in (newest, before)]
    shape = sources[0].image_shape  # what is grey in one span may be in colour in the other
    splits = [read_prepared(dataclasses.replace(s, image_shape=shape), "train") for s in sources]
    names = [
        [source.class_names[label] for label in split.labels]
        for source, split in zip(sources, splits, strict=True)
    ]
    images = two_sample(*(split.images[:_LOOKED_AT] for split in splits))
    labels, label_chance = label_drift(*names)
    facts = {
        "dataset": sources[0].dataset,
        "span": sources[0].spans[-1],
        "before": sources[1].spans[-1],
        "images": len(names[0]),
        "images_before": len(names[1]),
        "image_drift": images.accuracy,
        "image_chance": images.accuracy - images.accuracy_low,
        "label_drift": labels,
        "label_chance": label_chance,
        "classes_gone": ", ".join(sorted(set(names[1]) - set(names[0]))),
        "classes_new": ", ".join(sorted(set(names[0]) - set(names[1]))),
    }
    shown = np.concatenate([split.images[:_SHOWN] for split in splits[::-1]])
    fileio.makedirs(drift_report.uri)
    with fileio.open(os.path.join(drift_report.uri, SPANS_FILE), "wb") as image:
        image.write(png.encode_png(np.atleast_3d(tile(shown, _IN_A_ROW))))
    with fileio.open(os.path.join(drift_report.uri, DRIFT_FILE), "w") as file:
        file.write(json.dumps(facts, indent=2) + "\n")
    properties.note(drift_report, facts)
