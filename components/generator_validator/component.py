"""GeneratorValidator: nothing is pushed that a model server can't serve."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.generator_validator import executor, validator_config


class GeneratorValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of GeneratorValidator."""

    PARAMETERS = {  # noqa: RUF012 (TFX's own way)
        executor.CONFIG_KEY: component_spec.ExecutionParameter(type=str),
        "source_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        standard_component_specs.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        standard_component_specs.BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing
        ),
    }


class GeneratorValidator(base_component.BaseComponent):
    """Starts a model server on the exported generator and asks it what users will ask.

    `outputs["blessing"]` keeps TFX's contract of InfraBlessing, so that TFX's own Pusher
    understands it. (TFX's InfraValidator starts servers in Docker and Kubernetes only, and knows
    only models whose input is one string.)
    """

    SPEC_CLASS = GeneratorValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        validator_config: validator_config.ValidatorConfig,
        source_hash: str = "",
    ):
        """Builds the node.

        Args:
          model: the Trainer's `model`, an exported generator.
          validator_config: which server, and how long it may take.
          source_hash: hash of the code that runs, the local server's included; another hash is
            another execution.
        """
        super().__init__(
            spec=GeneratorValidatorSpec(
                model=model,
                validator_config=validator_config.model_dump_json(),
                source_hash=source_hash,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
