"""Baseline: which generator the new one is compared with, the version in service."""

import os

from tfx import types
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import artifact_types, properties
from serving import versions


@component
def Baseline(
    candidate: InputArtifact[standard_artifacts.Model],
    in_service: OutputArtifact[artifact_types.InService],
    serving_base: Parameter[str],
    run: Parameter[str],
) -> None:
    """Names the newest version that is not rolled back and holds another model.

    "Another" means other content: a model that is in service already is compared with the version
    before it, as it was when it was pushed. A node of its own and no resolver, since only TFX's own
    strategies run on all orchestrators.

    Args:
      candidate: the Trainer's.
      in_service: gets the properties `served_path`, `version` and `model_digest`, of its files as
        they are now; none of them where nothing else is in service.
      serving_base: the folder of versions.
      run: the run's id, so that no run takes what was in service from the cache.
    """
    os.makedirs(in_service.uri, exist_ok=True)
    if found := versions.in_service(serving_base, other_than=model_digest(candidate)):
        version, digest = found
        facts = {"served_path": str(version.path), "version": version.number}
        properties.note(in_service, facts | {"model_digest": digest or ""})


def model_dir(model: types.Artifact) -> str:
    """The folder of the SavedModel in a Model artifact."""
    return path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))


def model_digest(model: types.Artifact) -> str | None:
    """The digest of the SavedModel in a Model artifact; None where it can't be read."""
    try:
        return versions.model_digest(model_dir(model))
    except OSError:
        return None
