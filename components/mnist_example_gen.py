"""MnistExampleGen: images with labels from TFDS, as TFX Examples with train, eval and test."""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx import types
from tfx.components.example_gen import write_split
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.coders import example_coder

from common.images import CONVERSIONS_FILE, DATA_SAMPLES_FILE, ImageShape
from components import dataset_properties
from datasets import examples as examples_reader
from datasets import image_folder, tfds_store
from datasets.source import DataSource
from metrics.near_duplicates import near_duplicates

_LOOKED_AT = 2_000  # held-out images that are compared with all train images, 2 s for MNIST
_EXAMPLES_PER_FILE = 10_000  # so that downstream nodes can read in parallel
_LOG = logging.getLogger(__name__)
_PROGRESS = logging.getLogger("mnist_gan.progress")


@component(use_beam=True)
def MnistExampleGen(
    examples: OutputArtifact[standard_artifacts.Examples],
    data_source: Parameter[str],
    source_hash: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes the splits of a prepared TFDS set as gzipped TFRecords of tf.train.Examples.

    TFX's own ExampleGens hand on single examples. With whole files a pass over MNIST takes a third
    of the time, and each example lands in the same place on every run, which "same seed, same
    generator" needs.

    Args:
      examples: gets the splits, and says what they are.
      data_source: of `content_of`. No file is looked at for the cache key.
      source_hash: of the code that runs; another hash is another execution.
      beam_pipeline: writes the files.

    Raises:
      DataError: a prepared file is missing or damaged.
    """
    source = DataSource.from_json(data_source)
    examples.split_names = artifact_utils.encode_split_names(list(source.split_slices))
    try:
        with beam_pipeline as pipeline:
            for split, split_slice in source.split_slices.items():
                files = output_files(artifact_utils.get_split_uri([examples], split), split_slice)
                made = pipeline | f"Files[{split}]" >> beam.Create(files)
                _ = made | f"Write[{split}]" >> beam.Map(
                    _write, str(source.prepared_dir), source.image_shape
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
    dataset_properties.write(examples, source)
    if source.spans:
        examples.span = source.spans[-1]  # as TFX's own ExampleGens have it
        examples.set_string_custom_property("spans", json.dumps(source.spans))
    examples.set_string_custom_property("note", source.note)
    grid = examples_reader.first_of_each_class(source, "train", per_class=10, most=20)
    with tf.io.gfile.GFile(os.path.join(examples.uri, DATA_SAMPLES_FILE), "wb") as file:
        file.write(tf.io.encode_png(np.atleast_3d(grid)).numpy())
    shown = image_folder.conversions_file(source.prepared_dir)
    if shown.is_file():
        tf.io.gfile.copy(shown, os.path.join(examples.uri, CONVERSIONS_FILE), overwrite=True)
    _note_near_duplicates(examples, source)
    _LOG.info("wrote %s", source.split_counts)


def _note_near_duplicates(examples: types.Artifact, source: DataSource) -> None:
    """Counts held-out images that are nearly train images; a sentence on the artifact if any."""
    train = examples_reader.read_prepared(source, "train").images
    found = {}
    for split in ("eval", "test"):
        images = examples_reader.read_prepared(source, split).images[:_LOOKED_AT]
        if count := int(near_duplicates(images, train).sum()):
            found[split] = f"{count:,} of {len(images):,} {split} images that were looked at"
    if found:
        note = f"{' and '.join(found.values())} nearly repeat a train image: FID is too good"
        _PROGRESS.warning("%s", note)
        examples.set_string_custom_property("near_duplicates", note)


def content_of(source: DataSource) -> str:
    """`source` as JSON, with every fact that decides the content, checksums included.

    Without what does not: the name that the user asked by, why it is not that one, where the
    originals lie, and what it is compared with.
    """
    return dataclasses.replace(
        source, requested=source.dataset, note="", data_dir=None, compared=()
    ).to_json()


def output_files(folder: str, split_slice: str) -> list[tuple[str, str]]:
    """Path and TFDS slice of each file in `folder` that a split is written to."""
    part, _, bounds = split_slice.rstrip("]").partition("[")
    start, end = map(int, bounds.split(":"))
    starts = range(start, end, _EXAMPLES_PER_FILE)
    prefix = os.path.join(folder, write_split.DEFAULT_TF_RECORD_FILE_NAME)
    return [
        (
            f"{prefix}-{i:05d}-of-{len(starts):05d}.gz",
            f"{part}[{first}:{min(first + _EXAMPLES_PER_FILE, end)}]",
        )
        for i, first in enumerate(starts)
    ]


def _write(file: tuple[str, str], prepared_dir: str, shape: ImageShape) -> None:
    path, part = file
    tf.io.gfile.makedirs(os.path.dirname(path))
    # PNG files hardly shrink: level 1 takes half the time of the default and 2 % more space.
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    with tf.io.TFRecordWriter(path, options) as writer:
        for example in serialized_examples(prepared_dir, part, shape):
            writer.write(example)


def serialized_examples(
    prepared_dir: str, split_slice: str, shape: ImageShape | None = None
) -> Iterator[bytes]:
    """Records of a prepared TFDS set as serialized tf.train.Examples, in TFDS's order.

    Args:
      prepared_dir, split_slice, shape: as of `examples.read_records`.

    Raises:
      DataError: a file is missing or damaged.
    """
    encoder = example_coder.RecordBatchToExamplesEncoder()
    for records in examples_reader.read_records(prepared_dir, split_slice, shape):
        offsets = pa.array(np.arange(len(records.ids) + 1, dtype=np.int32))
        columns = {
            "image": pa.array(records.images.tolist(), pa.binary()),
            "label": pa.array(records.labels),
            "id": pa.array(records.ids.tolist(), pa.binary()),
        }
        lists = [pa.ListArray.from_arrays(offsets, column) for column in columns.values()]
        yield from encoder.encode(pa.RecordBatch.from_arrays(lists, list(columns)))
