"""Reads a prepared TFDS set in Beam and writes it as TFX Examples."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx import types
from tfx.components.example_gen import base_example_gen_executor, write_split
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx_bsl.coders import example_coder

from common.images import DATA_SAMPLES_FILE
from components import dataset_properties
from datasets import examples as examples_reader
from datasets import tfds_store
from datasets.source import DataSource

DATA_SOURCE_KEY = "data_source"
DATASET_FILE = "dataset.json"  # in the artifact's folder: the same facts as its properties
_EXAMPLES_PER_FILE = 10_000  # so that downstream nodes can read in parallel
_LOG = logging.getLogger(__name__)


def serialized_examples(prepared_dir: str, split_slice: str) -> Iterator[bytes]:
    """Records of a prepared TFDS set as serialized tf.train.Examples, in TFDS's order.

    Raises:
      DataError: a file is missing or damaged.
    """
    encoder = example_coder.RecordBatchToExamplesEncoder()
    for records in examples_reader.read_records(prepared_dir, split_slice):
        offsets = pa.array(np.arange(len(records.ids) + 1, dtype=np.int32))
        columns = {
            "image": pa.array(records.images.tolist(), pa.binary()),
            "label": pa.array(records.labels),
            "id": pa.array(records.ids.tolist(), pa.binary()),
        }
        lists = [pa.ListArray.from_arrays(offsets, column) for column in columns.values()]
        yield from encoder.encode(pa.RecordBatch.from_arrays(lists, list(columns)))


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
def _ReadSplit(
    pipeline: beam.Pipeline, exec_properties: dict[str, Any], split_pattern: str
) -> beam.PCollection:
    """(file name, its serialized examples) for each output file of one split.

    TFX's own ExampleGens hand on single examples. With these a pass over MNIST takes a third of
    the time, and each example lands in the same place on every run, which "same seed, same
    generator" needs.
    """
    source = DataSource.from_json(exec_properties[DATA_SOURCE_KEY])
    part, _, bounds = split_pattern.rstrip("]").partition("[")
    start, end = map(int, bounds.split(":"))
    starts = range(start, end, _EXAMPLES_PER_FILE)
    files = [
        (
            f"{write_split.DEFAULT_TF_RECORD_FILE_NAME}-{i:05d}-of-{len(starts):05d}.gz",
            f"{part}[{first}:{min(first + _EXAMPLES_PER_FILE, end)}]",
        )
        for i, first in enumerate(starts)
    ]
    prepared_dir = str(source.prepared_dir)
    return (
        pipeline
        | "Files" >> beam.Create(files)
        | "Read"
        >> beam.MapTuple(lambda name, part: (name, list(serialized_examples(prepared_dir, part))))
    )


def _write(folder: str, file_name: str, examples: list[bytes]) -> None:
    tf.io.gfile.makedirs(folder)
    # PNG files hardly shrink: level 1 takes half the time of the default and 2 % more space.
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    with tf.io.TFRecordWriter(os.path.join(folder, file_name), options) as writer:
        for example in examples:
            writer.write(example)


class Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Writes the splits of a `DataSource` and says on the artifact what they are."""

    def GetInputSourceToExamplePTransform(self) -> Callable:
        """Returns the transform that reads one split, in whole files."""
        return _ReadSplit

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes gzipped TFRecords of tf.train.Examples, split by split.

        Args:
          input_dict: empty.
          output_dict: `examples`, one Examples artifact.
          exec_properties: those of QueryBasedExampleGen, and `data_source`: a `DataSource` as
            JSON.

        Raises:
          DataError: a prepared file is missing or damaged.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        source = DataSource.from_json(exec_properties[DATA_SOURCE_KEY])
        examples.split_names = artifact_utils.encode_split_names(list(source.split_slices))
        try:
            with self._make_beam_pipeline() as pipeline:
                splits = self.GenerateExamplesByBeam(pipeline, exec_properties)
                for split, files in splits.items():
                    folder = artifact_utils.get_split_uri([examples], split)
                    _ = files | f"Write[{split}]" >> beam.MapTuple(
                        lambda name, records, folder=folder: _write(folder, name, records)
                    )
        except Exception as error:
            # Beam hands on what a worker raised as the text of its traceback.
            if examples_reader.UNREADABLE not in str(error):
                raise
            message = str(error).rpartition(examples_reader.UNREADABLE)[2].splitlines()[0]
            raise tfds_store.DataError(message.partition(" [while running")[0]) from error
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(
            examples, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP)
        )
        describe(examples, source)
        grid = examples_reader.first_of_each_class(source, "train", per_class=10, most=20)
        with tf.io.gfile.GFile(os.path.join(examples.uri, DATA_SAMPLES_FILE), "wb") as file:
            file.write(tf.io.encode_png(grid[..., np.newaxis]).numpy())
        _LOG.info("wrote %s", source.split_counts)


def describe(examples: types.Artifact, source: DataSource) -> None:
    """Puts what the examples are on the artifact and into its folder."""
    dataset_properties.write(examples, source)
    examples.set_string_custom_property("fallback_reason", source.fallback_reason)
    facts = {**source.to_dict(), "fallback_reason": source.fallback_reason}
    with tf.io.gfile.GFile(os.path.join(examples.uri, DATASET_FILE), "w") as file:
        file.write(json.dumps(facts, indent=2, sort_keys=True) + "\n")
