"""DataGate: nothing is trained on data that ExampleValidator complains of."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, component_spec, standard_artifacts, standard_component_specs

from components.data_gate import executor


class DataGateReport(artifact.Artifact):
    """A folder with `data_gate.json`: numbers of examples and of labels, split by split."""

    TYPE_NAME = "DataGateReport"


class DataGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of DataGate."""

    PARAMETERS = {  # noqa: RUF012 (TFX's own way)
        "source_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
        standard_component_specs.STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        ),
        standard_component_specs.ANOMALIES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleAnomalies
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.EXAMPLES_OK_KEY: component_spec.ChannelParameter(type=DataGateReport),
    }


class DataGate(base_component.BaseComponent):
    """Fails with the list of anomalies if there are any.

    ExampleValidator itself only writes them down. Nodes that must not see bad data take DataGate
    as upstream node.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        statistics: types.BaseChannel,
        anomalies: types.BaseChannel,
        source_hash: str = "",
    ):
        """Builds the node.

        Args:
          examples: MnistExampleGen's `examples`; says how many there should be.
          statistics: StatisticsGen's `statistics`, made with
            `components.example_schema.executor.statistics_schema`.
          anomalies: ExampleValidator's `anomalies`.
          source_hash: hash of the code that runs; another hash is another execution.
        """
        super().__init__(
            spec=DataGateSpec(
                examples=examples,
                statistics=statistics,
                anomalies=anomalies,
                source_hash=source_hash,
                examples_ok=types.Channel(type=DataGateReport),
            )
        )
