"""Executor for TFX's Pusher: atomic, never twice, and with the documents of the model beside it."""

import contextlib
import logging
import os
import pathlib
import shutil
import uuid
from typing import Any

from tfx import types
from tfx.components.pusher import executor as tfx_pusher
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from common.contract import REAL_FILE, UUID_FILE, GeneratorContract
from common.text import parse_json
from components import model_card, properties
from serving import versions

# What the Evaluator leaves in the folder of its ModelBlessing for the Pusher.
EVALUATION_FILE = "evaluation.json"
IMAGES = {"samples.png": versions.SAMPLES_FILE, "real.png": REAL_FILE}

_log = logging.getLogger(__name__)
_NAMESPACE = uuid.UUID("6f0a3c0e-8c0b-5f3e-9d1a-2f6f7f6f4d4e")


class Executor(tfx_pusher.Executor):
    """Pushes a blessed model into the next version directory, or records why it did not.

    Use it as `Pusher(..., custom_executor_spec=executor_spec.ExecutorClassSpec(Executor))`. A
    class and no function of `@component`, because TFX tells functions nothing of the run, and
    `metadata.json` names it.

    Differs from TFX's own executor: the version appears in one rename, version numbers rise
    strictly, the same model is never pushed twice, nor again after it was rolled back, and
    `assets.extra` tells where the model comes from. The PushedModel artifact keeps TFX's
    properties (`pushed`, `pushed_destination`, `pushed_version`) and has `reason`, and `new` (1
    when this execution made the version).
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if every blessing among the inputs says so.

        Args:
          input_dict: `model`, `model_blessing` and maybe `infra_blessing`.
          output_dict: `pushed_model`, one PushedModel.
          exec_properties: `push_destination`, a PushDestination of kind filesystem as JSON.

        Raises:
          versions.PublishError: the model is not the one that was judged, there is no evaluation
            of it, or the copy failed; nothing was pushed.
        """
        pushed = artifact_utils.get_single_instance(output_dict[specs.PUSHED_MODEL_KEY])
        blessings = [
            artifact
            for key in (specs.MODEL_BLESSING_KEY, specs.INFRA_BLESSING_KEY)
            for artifact in input_dict.get(key) or []
        ]
        if not self.CheckBlessing(input_dict):
            self._refuse(pushed, _refusal(blessings))
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        model = artifact_utils.get_single_instance(input_dict[specs.MODEL_KEY])
        model_dir = self.GetModelPath(input_dict)
        contract = GeneratorContract.load(model_dir)
        judged = pathlib.Path(blessings[0].uri)
        evaluation = _evaluation(judged)
        _check_unaltered(model_dir, evaluation, blessings)
        if change := _change_since(evaluation, base):
            self._refuse(pushed, change)
            return
        images = {
            target: (judged / name).read_bytes()
            for name, target in IMAGES.items()
            if (judged / name).is_file()
        }
        folder = os.path.basename(pushed.uri)
        mlmd = {
            "pipeline_run_id": self._context.pipeline_run_id if self._context else None,
            # TFX puts outputs into a folder called after the execution, and tells it nowhere else.
            # Kubeflow has no such number.
            "execution_id": int(folder) if folder.isdecimal() else None,
        }
        mlmd |= {f"{key}_id": a.id for key, artifacts in input_dict.items() for a in artifacts}

        def describe(version: int) -> tuple[dict[str, bytes], dict]:
            # Once more after the copy was made, so that the copy is covered too.
            _check_unaltered(model_dir, evaluation, blessings)
            # Stable for the same model and version, so that a server's gauge leads back here.
            link = str(uuid.uuid5(_NAMESPACE, f"{versions.model_digest(model_dir)}/{version}"))
            record = model_card.metadata(
                contract,
                evaluation,
                model={
                    "name": pathlib.Path(base).name,
                    "uri": model.uri,
                    "digest": versions.model_digest(model_dir),
                },
                data=evaluation.get("data", {}),
                mlmd={**mlmd, "mlmd_uuid": link},
            )
            files = {
                versions.CARD_FILE: model_card.model_card({**record, "version": version}).encode(),
                UUID_FILE: link.encode(),
            }
            return files | images, record

        version, is_new = versions.publish(model_dir, base, describe)
        if version.is_rolled_back:
            self._refuse(
                pushed,
                f"version {version.number} holds this model and was rolled back; "
                f"`mnist-gan versions restore {version.number}` brings it back",
            )
            return
        # TFX keeps a copy in the artifact; the server's folder may be pruned, history should not.
        try:
            shutil.copytree(version.path, pushed.uri, dirs_exist_ok=True)
        except OSError:  # it is served already: a full disk must not make the push a failure now
            _log.warning("no copy of version %d is kept", version.number, exc_info=True)
            for part in os.scandir(pushed.uri):  # the folder stays: the runner watches it
                with contextlib.suppress(OSError):
                    shutil.rmtree(part) if part.is_dir() else os.unlink(part)
        self._MarkPushed(
            pushed, pushed_destination=str(version.path), pushed_version=str(version.number)
        )
        reason = f"version {version.number} already holds this model"
        if is_new:
            reason = f"pushed as version {version.number}"
        facts = {"new": is_new, "reason": reason}
        if link := version.metadata.get("mlmd", {}).get("mlmd_uuid"):
            facts["mlmd_uuid"] = link
        properties.note(pushed, facts)

    def _refuse(self, pushed: types.Artifact, why: str) -> None:
        pushed.set_string_custom_property("reason", f"not pushed: {why}")
        self._MarkNotPushed(pushed)


def _evaluation(folder: pathlib.Path) -> dict:
    """What the Evaluator found, from the folder of its blessing.

    Raises:
      versions.PublishError: there is none, or it can't be read.
    """
    try:
        return parse_json((folder / EVALUATION_FILE).read_bytes())
    except (OSError, ValueError) as error:
        what = "is damaged" if isinstance(error, ValueError) else "is missing"
        raise versions.PublishError(
            f"the {EVALUATION_FILE} beside the blessing {what}: nothing was pushed. "
            "`mnist-gan run --from Evaluator` judges the model again"
        ) from None


def _check_unaltered(model_dir: str, evaluation: dict, blessings: list[types.Artifact]) -> None:
    """Compares the model with what was judged and with what a server was tried on.

    Raises:
      versions.PublishError: the digests differ, or the evaluation names none.
    """
    try:
        digest = versions.model_digest(model_dir)
    except OSError as error:
        raise versions.PublishError(f"{error}: nothing was pushed") from None
    seen = {"judged": (evaluation.get("model") or {}).get("digest")}
    for blessing in blessings:
        if tried := blessing.get_string_custom_property("model_digest"):
            seen["tried on a server"] = tried
    for what, then in seen.items():
        if then != digest:
            raise versions.PublishError(
                f"the model in {model_dir} is not the one that was {what}: its digest is "
                f"{digest[:12]} now and was {str(then)[:12]} then. Nothing was pushed; "
                "`mnist-gan run --from Trainer` trains it again"
            )


def _change_since(evaluation: dict, base: str) -> str:
    """What has come into service since the model was judged against it; "" for nothing."""
    # Judged for no place, or another model's. The workspace may have moved since.
    if pathlib.Path(evaluation.get("serving_base") or "/").name != pathlib.Path(base).name:
        return ""
    found = versions.in_service(base, other_than=evaluation["model"]["digest"])
    version, digest = found or (None, None)
    if digest == (evaluation.get("baseline") or {}).get("digest"):
        return ""
    now = f"version {version.number} is" if version else "nothing else is"
    return f"{now} in service since this generator was judged; `mnist-gan run` judges it again"


def _refusal(blessings: list[types.Artifact]) -> str:
    refused = [b for b in blessings if not b.get_int_custom_property("blessed")]
    reasons = [b.get_string_custom_property("reason") for b in refused]
    return "; ".join(r for r in reasons if r) or "the model was not blessed"
