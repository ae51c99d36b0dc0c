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
import tensorflow_datasets as tfds
from tfx import types
from tfx.components.example_gen import base_example_gen_executor, write_split
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx_bsl.coders import example_coder

from datasets import png, tfds_store
from datasets.source import DataSource

DATA_SOURCE_KEY = "data_source"
DATASET_FILE = "dataset.json"  # in the artifact's folder: the same facts as its properties
_EXAMPLES_PER_FILE = 10_000  # so that nodes behind this one can read in parallel
_BATCH = 1_000
_ERROR_MARK = "unreadable record: "
_LOG = logging.getLogger(__name__)


def read_examples(prepared_dir: str, split_slice: str) -> Iterator[bytes]:
    """Reads records of a prepared TFDS set, a batch at a time.

    The images stay the PNG files that TFDS stored, they are not decoded.

    Args:
      prepared_dir: folder that TFDS wrote.
      split_slice: TFDS slice, such as "train[50000:60000]".

    Yields:
      serialized tf.train.Examples with `image` (bytes), `label` (int64) and `id` (bytes, TFDS's
      own: name of the record file and number in it), in TFDS's order.

    Raises:
      DataError: a file is missing or damaged.
    """
    try:
        builder = tfds.builder_from_directory(prepared_dir)
        instructions = builder.info.splits[split_slice].file_instructions
        image_name, label_name = tfds_store.feature_names(builder)
        decoder = example_coder.ExamplesToRecordBatchDecoder()
        encoder = example_coder.RecordBatchToExamplesEncoder()
    except Exception as error:
        raise _unreadable(prepared_dir, prepared_dir, error) from error
    for part in instructions:
        try:
            records = tf.data.TFRecordDataset(part.filename).skip(part.skip).take(part.take)
            position = part.skip
            for batch in records.batch(_BATCH).as_numpy_iterator():
                columns = decoder.DecodeBatch(batch.tolist())
                images = columns.column(columns.schema.get_field_index(image_name))
                labels = columns.column(columns.schema.get_field_index(label_name))
                _check(images.flatten().to_pylist(), labels.flatten(), len(batch), position)
                ids = _ids(os.path.basename(part.filename), position, len(batch))
                yield from encoder.encode(
                    pa.RecordBatch.from_arrays([images, labels, ids], ["image", "label", "id"])
                )
                position += len(batch)
            if position != part.skip + part.take:
                raise ValueError(f"it ends after {position} records")
        except Exception as error:
            raise _unreadable(part.filename, prepared_dir, error) from error


def _check(images: list[bytes], labels: pa.Array, size: int, position: int) -> None:
    if len(images) != size or len(labels) != size:
        raise ValueError(f"a record among {position} to {position + size} lacks image or label")
    height, width, _ = tfds_store.IMAGE_SHAPE
    for number, image in enumerate(images, position):
        if not png.is_png(image, height, width):
            raise ValueError(f"the image of record {number} is not a PNG file of 28x28 pixels")


def _ids(file_name: str, start: int, size: int) -> pa.Array:
    ids = pa.array([f"{file_name}__{i}".encode() for i in range(start, start + size)], pa.binary())
    return pa.ListArray.from_arrays(pa.array(np.arange(size + 1, dtype=np.int32)), ids)


def _unreadable(path: str, prepared_dir: str, error: Exception) -> tfds_store.DataError:
    why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return tfds_store.DataError(
        f"{_ERROR_MARK}{path}: {why}. Delete the folder {prepared_dir} and run again: it is then "
        "prepared anew"
    )


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
        >> beam.MapTuple(lambda name, part: (name, list(read_examples(prepared_dir, part))))
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
            if _ERROR_MARK not in str(error):
                raise
            message = str(error).rpartition(_ERROR_MARK)[2].splitlines()[0]
            raise tfds_store.DataError(message.partition(" [while running")[0]) from error
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(
            examples, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP)
        )
        describe(examples, source)
        _LOG.info("wrote %s", source.split_counts)


def describe(examples: types.Artifact, source: DataSource) -> None:
    """Puts what the examples are on the artifact and into its folder."""
    facts = {
        "dataset": source.name,
        "dataset_version": source.version,
        "class_names": list(source.class_names),
        "split_slices": source.split_slices,
        "split_counts": source.split_counts,
        "checksums": source.checksums,
        "fingerprint": source.fingerprint,
        "fallback_reason": source.fallback_reason,
    }
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        examples.set_string_custom_property(key, text)
    examples.set_int_custom_property("num_classes", source.num_classes)
    facts["num_classes"] = source.num_classes
    with tf.io.gfile.GFile(os.path.join(examples.uri, DATASET_FILE), "w") as file:
        file.write(json.dumps(facts, indent=2, sort_keys=True) + "\n")
