"""What an example of this project is, as a TensorFlow Metadata schema."""

from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.schema_gen import executor as schema_gen_executor
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
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


class Executor(base_executor.BaseExecutor):
    """Merges an inferred schema with the constraints."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads `inferred_schema` (Schema) and `examples` (Examples), writes `schema` (Schema)."""
        self._log_startup(input_dict, output_dict, exec_properties)
        inferred = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(
                artifact_utils.get_single_uri(input_dict["inferred_schema"])
            )
        )
        examples = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.EXAMPLES_KEY]
        )
        num_classes = dataset_properties.read(examples).num_classes
        folder = artifact_utils.get_single_uri(output_dict[standard_component_specs.SCHEMA_KEY])
        fileio.makedirs(folder)
        io_utils.write_pbtxt_file(
            f"{folder}/{schema_gen_executor.DEFAULT_FILE_NAME}", constrain(inferred, num_classes)
        )
