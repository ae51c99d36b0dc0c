"""TF Serving's configuration messages that no Python package holds, from their fields alone.

`tensorflow-serving-api` has the messages of the API, but not BatchingParameters and
MonitoringConfig. They are described here, so that protobuf's own parser reads their files. Needs no
TensorFlow.
"""

import os
import pathlib
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
    wrappers_pb2,
)

_Field = descriptor_pb2.FieldDescriptorProto
_INT64 = ".google.protobuf.Int64Value"
_BOOL = ".google.protobuf.BoolValue"
_TEXT = ".google.protobuf.StringValue"
# Numbers and types as in session_bundle_config.proto and monitoring_config.proto of 2.16.1.
_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, _TEXT),
        "allowed_batch_sizes": (6, _Field.TYPE_INT64),
        "pad_variable_length_inputs": (7, _Field.TYPE_BOOL),
        "enable_large_batch_splitting": (8, _BOOL),
        "max_execution_batch_size": (9, _INT64),
    },
    "PrometheusConfig": {"enable": (1, _Field.TYPE_BOOL), "path": (2, _Field.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, ".tensorflow.serving.PrometheusConfig")},
}
_REPEATED = {"allowed_batch_sizes"}


def _classes() -> list[type[message.Message]]:
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/server/text_protos.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if field in _REPEATED else _Field.LABEL_OPTIONAL
            entry = described.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                entry.type, entry.type_name = _Field.TYPE_MESSAGE, kind
            else:
                entry.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    descriptors = [pool.FindMessageTypeByName(f"tensorflow.serving.{n}") for n in _MESSAGES]
    if hasattr(message_factory, "GetMessageClass"):
        return [message_factory.GetMessageClass(descriptor) for descriptor in descriptors]
    factory = message_factory.MessageFactory(pool)  # protobuf 3
    return [factory.GetPrototype(descriptor) for descriptor in descriptors]


BatchingParameters, _, MonitoringConfig = _classes()


def read(path: str | os.PathLike, kind: type[message.Message]) -> Any:
    """The text file `path` as a message of this kind.

    Raises:
      OSError: the file can't be read.
      ValueError: it is no such message.
    """
    try:
        return text_format.Parse(pathlib.Path(path).read_text(), kind())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Error parsing text-format {kind.DESCRIPTOR.full_name}: {error}. "
            f"Invalid protobuf file: '{path}'"
        ) from None
