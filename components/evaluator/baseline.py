"""Which generator the new one is compared with, or starts from: the latest blessed, servable one.

TFX's `LatestBlessedModelStrategy` returns the very model under judgement when a run is repeated:
the Evaluator would then get an input that it did not have before and judge again, against itself.
"""

import pathlib

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.util import model_utils
from tfx.dsl.components.common import resolver
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from serving import versions


class LatestOtherBlessedModelStrategy(resolver.ResolverStrategy):
    """Resolves the latest blessed Model that is not the current one.

        Resolver(
            strategy_class=LatestOtherBlessedModelStrategy,
            current=trainer.outputs["model"],  # may be left out
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
            infra_blessing=Channel(type=standard_artifacts.InfraBlessing),  # may be left out
        )

    Without `current` it is the latest of all: where training starts with `base_model=latest`.

    "Another" means another artifact with other content: training once more to the very same
    weights does not make a rival. A model that GeneratorValidator found no server to serve was
    never pushed, so it is none either. The latest is the one that was blessed last. Where there is
    none, `model` and `model_blessing` resolve to nothing, which the Evaluator takes as "no
    baseline".
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Picks the baseline; `current` passes through."""
        del store  # all that is needed is on the artifacts
        current = input_dict.get("current", [])
        result = {"model": [], "model_blessing": []}
        if "current" in input_dict:
            result["current"] = current
        servable = {}
        # Asked anew a model may fare otherwise: the last word counts.
        for blessing in sorted(input_dict.get("infra_blessing", ()), key=lambda a: a.id):
            servable[_judged_model(blessing)] = model_utils.is_infra_validated(blessing)
        if "infra_blessing" in input_dict:
            result["infra_blessing"] = []
        models = {model.id: model for model in input_dict["model"]}
        blessings = sorted(input_dict["model_blessing"], key=lambda a: a.id, reverse=True)
        own_ids = {model.id for model in current}
        own_digests = {_digest(model) for model in current} - {None}
        for blessing in blessings:
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) != 1:
                continue
            model = models.get(_judged_model(blessing))
            if model is None or not servable.get(model.id, True):
                continue
            if model.id in own_ids or _digest(model) in own_digests:
                continue
            result.update(model=[model], model_blessing=[blessing])
            break
        return result


def _judged_model(blessing: types.Artifact) -> int:
    return blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY)


def _digest(model: standard_artifacts.Model) -> str | None:
    """The content's digest; None for a model that can't be read here (the Evaluator says so)."""
    folder = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    if not pathlib.Path(folder).is_dir():
        return None
    try:
        return versions.model_digest(folder)
    except OSError:
        return None
