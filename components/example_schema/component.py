"""ExampleSchema: what SchemaGen inferred, made to say what an MNIST example is."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.example_schema import executor


class ExampleSchemaSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of ExampleSchema."""

    PARAMETERS = {  # noqa: RUF012 (TFX's own way)
        "source_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "inferred_schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        standard_component_specs.SCHEMA_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Schema
        ),
    }


class ExampleSchema(base_component.BaseComponent):
    """Between SchemaGen, whose schema fits any data, and ExampleValidator, which needs a rule.

    ImportSchemaGen, TFX's own way to a curated schema, takes a file: it can't follow the number of
    classes, and a change of the file's content does not reach its cache key.
    """

    SPEC_CLASS = ExampleSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self, inferred_schema: types.BaseChannel, examples: types.BaseChannel, source_hash: str = ""
    ):
        """Builds the node.

        Args:
          inferred_schema: SchemaGen's `schema`.
          examples: MnistExampleGen's `examples`; the number of classes is among its properties.
          source_hash: hash of the code that runs; another hash is another execution.
        """
        super().__init__(
            spec=ExampleSchemaSpec(
                inferred_schema=inferred_schema,
                examples=examples,
                source_hash=source_hash,
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )
