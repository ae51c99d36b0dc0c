"""Which generator the new one is compared with: the version in service.

A resolver and not a component: it names an artifact that exists instead of making one on each run,
so what was judged against the same version stays in TFX's cache.
"""

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from serving import versions

DIGEST_PROPERTY = "model_digest"


class InServiceStrategy(resolver.ResolverStrategy):
    """Resolves the newest version that is not rolled back and holds another model.

        Resolver(
            strategy_class=InServiceStrategy,
            config={"serving_base": "workspace/serving/mnist_gan"},
            current=trainer.outputs["model"],
            model=Channel(type=standard_artifacts.Model),
        )

    "Another" means other content: a model that is in service already is compared with the version
    before it, as it was when it was pushed. `model` resolves to the Trainer's Model where ML
    Metadata knows it, else to a Model artifact that is registered at the version's folder, and to
    nothing where nothing else is in service.
    """

    def __init__(self, serving_base: str) -> None:
        self._serving_base = serving_base

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Picks the baseline; `current` passes through."""
        current = input_dict["current"]
        own = model_digest(current[0]) if current else None
        found = versions.in_service(self._serving_base, other_than=own)
        models = [] if found is None else [_artifact(store, *found, input_dict["model"])]
        return {"current": current, "model": models}


def model_dir(model: types.Artifact) -> str:
    """The folder of the SavedModel in a Model artifact."""
    return path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))


def model_digest(model: types.Artifact) -> str | None:
    """The digest of the SavedModel in a Model artifact; None where it can't be read."""
    try:
        return versions.model_digest(model_dir(model))
    except OSError:
        return None


def _artifact(
    store: mlmd.MetadataStore,
    version: versions.Version,
    digest: str | None,
    models: list[types.Artifact],
) -> types.Artifact:
    recorded = (version.metadata.get("mlmd") or {}).get("model_id")
    for model in models:
        if model.id == recorded and digest is not None and model_digest(model) == digest:
            return model
    kind = store.get_artifact_type(standard_artifacts.Model.TYPE_NAME)
    uri = str(version.path)
    known = [
        artifact
        for artifact in store.get_artifacts_by_uri(uri)
        if artifact.type_id == kind.id
        and artifact.custom_properties[DIGEST_PROPERTY].string_value == (digest or "")
    ]
    if not known:
        artifact = metadata_store_pb2.Artifact(
            type_id=kind.id, uri=uri, state=metadata_store_pb2.Artifact.LIVE
        )
        artifact.custom_properties[DIGEST_PROPERTY].string_value = digest or ""
        known = store.get_artifacts_by_id(store.put_artifacts([artifact]))
    return artifact_utils.deserialize_artifact(kind, known[-1])
