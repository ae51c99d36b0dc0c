"""MnistExampleGen: images with labels from TFDS, as TFX Examples with train, eval and test."""

import dataclasses

from tfx import types
from tfx.components.example_gen import component
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.mnist_example_gen import executor
from datasets.source import DataSource


class MnistExampleGenSpec(component_spec.ComponentSpec):
    """That of QueryBasedExampleGen, and the data source with what its code hashes to."""

    PARAMETERS = {  # noqa: RUF012 (TFX's own way)
        **standard_component_specs.QueryBasedExampleGenSpec.PARAMETERS,
        executor.DATA_SOURCE_KEY: component_spec.ExecutionParameter(type=str),
        "source_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}  # noqa: RUF012
    OUTPUTS = standard_component_specs.QueryBasedExampleGenSpec.OUTPUTS
    TYPE_ANNOTATION = standard_component_specs.QueryBasedExampleGenSpec.TYPE_ANNOTATION


class MnistExampleGen(component.QueryBasedExampleGen):
    """Writes the splits of a prepared TFDS set as `examples`.

    The driver of QueryBasedExampleGen looks at no file, so the cache key is the execution
    properties alone. They hold every fact that decides the content, checksums included, and
    leave out what does not: the name that the user asked by, and where the originals lie.
    """

    SPEC_CLASS = MnistExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, source: DataSource, source_hash: str = ""):
        """Builds the node.

        Args:
          source: of `source.resolve`.
          source_hash: hash of the code that runs; another hash is another execution.
        """
        splits = [
            example_gen_pb2.Input.Split(name=name, pattern=pattern)
            for name, pattern in source.split_slices.items()
        ]
        same_content = dataclasses.replace(source, requested=source.dataset, data_dir=None)
        spec = MnistExampleGenSpec(
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=example_gen_pb2.Output(),
            output_data_format=example_gen_pb2.FORMAT_TF_EXAMPLE,
            output_file_format=example_gen_pb2.FORMAT_TFRECORDS_GZIP,
            data_source=same_content.to_json(),
            source_hash=source_hash,
            examples=types.Channel(type=standard_artifacts.Examples),
        )
        # Past QueryBasedExampleGen's own constructor, which can only make its own spec.
        super(component.QueryBasedExampleGen, self).__init__(spec=spec)
