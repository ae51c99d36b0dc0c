"""The Evaluator: judges the exported generator and blesses it, or does not."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.evaluator import executor
from judge import judge_config


class EvaluatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Evaluator."""

    INPUTS = {  # noqa: RUF012 - TFX reads class attributes
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    PARAMETERS = {  # noqa: RUF012
        "judge_config": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
        "preset": component_spec.ExecutionParameter(type=str),
        "extractor_digest": component_spec.ExecutionParameter(type=str),
        "serving_base": component_spec.ExecutionParameter(type=str),
        "force_bless": component_spec.ExecutionParameter(type=str),
        "replace": component_spec.ExecutionParameter(type=str),
        "source_hash": component_spec.ExecutionParameter(type=str),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Draws digits from the exported generator, measures them against the test split, decides.

    `outputs["evaluation"]` holds `evaluation.json` (schema: `judge/README.md`) and
    images; `outputs["blessing"]` keeps TFX's contract of ModelBlessing, so TFX's own Pusher and
    `LatestBlessedModelStrategy` understand it.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        judge_config: judge_config.JudgeConfig,
        seed: int,
        preset: str = "",
        baseline_model: types.BaseChannel | None = None,
        serving_base: str = "",
        extractor_digest: str = "",
        force_bless: str = "",
        replace: str = "",
        source_hash: str = "",
    ) -> None:
        """Declares the node.

        Args:
          examples: Examples with the splits `train` and `test`.
          model: the Trainer's Model.
          judge_config: what to measure and which thresholds.
          seed: where the latents come from; candidate and baseline get the same.
          preset: name of the settings, for the record.
          baseline_model: the generator in service (`baseline.InServiceStrategy`); may resolve to
            nothing. It is drawn and judged again, by the candidate's protocol.
          serving_base: the folder of versions that the Pusher pushes to: the version in service
            there must not be replaced by what was judged less strictly or on other data. "" asks
            for no more than the comparison with `baseline_model`.
          extractor_digest: digest of the feature extractor's weights, so that other weights judge
            again; "" leaves that to `source_hash`.
          force_bless: a reason to bless the model though it misses a threshold; "" is the rule.
          replace: a reason to bless it though the version in service is better, was judged more
            strictly or on other data; "" is the rule.
          source_hash: digest of the code that the executor runs.
        """
        super().__init__(
            spec=EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
                judge_config=judge_config.model_dump_json(),
                seed=seed,
                preset=preset,
                extractor_digest=extractor_digest,
                serving_base=serving_base,
                force_bless=force_bless,
                replace=replace,
                source_hash=source_hash,
            )
        )
