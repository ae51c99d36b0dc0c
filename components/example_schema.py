"""ExampleSchema: what SchemaGen inferred, made to say what an example of this project is."""

import os

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.schema_gen import executor as schema_gen_executor
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from components import dataset_properties


def constrain(schema: schema_pb2.Schema, num_classes: int) -> schema_pb2.Schema:
    """Returns `schema` with `image`, `label` and `id` as this project defines them.

    Each is there exactly once in every example; a label is one of 0 to num_classes - 1. What was
    inferred about them is replaced: an inferred schema agrees with any data, it is the data's
    own. Other features stay as inferred.
    """
    result = schema_pb2.Schema()
    result.CopyFrom(schema)
    del result.feature[:]
    _exactly_one(result, "image", schema_pb2.BYTES).image_domain.SetInParent()
    _exactly_one(result, "id", schema_pb2.BYTES)
    label = _exactly_one(result, "label", schema_pb2.INT)
    label.int_domain.CopyFrom(schema_pb2.IntDomain(min=0, max=num_classes - 1, is_categorical=True))
    ours = {feature.name for feature in result.feature}
    result.feature.extend(feature for feature in schema.feature if feature.name not in ours)
    return result


def _exactly_one(
    schema: schema_pb2.Schema, name: str, kind: "schema_pb2.FeatureType"
) -> schema_pb2.Feature:
    feature = schema.feature.add(name=name, type=kind)
    feature.presence.CopyFrom(schema_pb2.FeaturePresence(min_fraction=1.0, min_count=1))
    feature.shape.SetInParent()  # a scalar: not one value at most, but one
    return feature


def statistics_schema() -> schema_pb2.Schema:
    """Schema for StatisticsGen's options: how to count, not what is allowed.

    Without it TFDV takes images and ids for words and ranks all of them by frequency, which
    costs as much as everything else it does; and it takes labels for quantities and counts them
    in intervals.
    """
    schema = schema_pb2.Schema()
    for name in ("image", "id"):
        # Neither a lie about `id` nor a check: the one mark of "bytes, not words" that TFDV heeds.
        schema.feature.add(name=name, type=schema_pb2.BYTES).image_domain.SetInParent()
    label = schema.feature.add(name="label", type=schema_pb2.INT)
    label.int_domain.is_categorical = True
    return schema


@component
def ExampleSchema(
    inferred_schema: InputArtifact[standard_artifacts.Schema],
    examples: InputArtifact[standard_artifacts.Examples],
    example_schema: OutputArtifact[standard_artifacts.Schema],
    source_hash: Parameter[str] = "",
) -> None:
    """Merges an inferred schema with the constraints.

    Between SchemaGen, whose schema fits any data, and ExampleValidator, which needs a rule.
    ImportSchemaGen, TFX's own way to a curated schema, takes a file: it can't follow the number of
    classes, and a change of the file's content does not reach its cache key.

    Args:
      inferred_schema: SchemaGen's.
      examples: MnistExampleGen's; the number of classes is among its properties.
      example_schema: gets the result. No `schema`, which is SchemaGen's: some orchestrators know
        an output by its key alone.
      source_hash: of the code that runs; another hash is another execution.
    """
    inferred = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(inferred_schema.uri))
    result = constrain(inferred, dataset_properties.read(examples).num_classes)
    fileio.makedirs(example_schema.uri)
    path = os.path.join(example_schema.uri, schema_gen_executor.DEFAULT_FILE_NAME)
    io_utils.write_pbtxt_file(path, result)
