"""GeneratorValidator: nothing is pushed that a model server can't serve; see `server_checks.py`."""

import contextlib
import json
import logging
import os
import pathlib
import tempfile
import time

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx.components.evaluator import constants
from tfx.components.infra_validator import executor as tfx_infra_validator
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact, standard_artifacts
from tfx.utils import io_utils

from common.contract import WARMUP_FILE, ContractError, GeneratorContract
from components import properties
from components import server_checks as checks
from components.baseline import model_dir
from components.validator_config import ValidatorConfig
from serving import process, versions
from serving.server import tensors

REPORT_FILE = "validation.json"
LOG_FILE = "server.log"
_LONGEST_REASON = 2000

_progress = logging.getLogger("mnist_gan.progress")


@component
def GeneratorValidator(
    model: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    validator_config: Parameter[str],
    source_hash: Parameter[str] = "",
) -> None:
    """Starts a model server on the exported generator and asks it what users will ask.

    A generator that can't be served is "not blessed", with the reason: no exception. `blessing`
    keeps TFX's contract, so that TFX's own Pusher understands it. (TFX's InfraValidator starts
    servers in Docker and Kubernetes only, and knows only models whose input is one string.)

    Args:
      model: the Trainer's, an exported generator.
      blessing: a folder with TFX's empty file INFRA_BLESSED or INFRA_NOT_BLESSED,
        `validation.json` and, where it is not blessed, the server's log. Its properties are TFX's
        `blessed`, and `reason`, `server`, `seconds`, `model_digest`, `current_model` and
        `current_model_id`.
      validator_config: a ValidatorConfig as JSON.
      source_hash: of the code that runs, the local server's included; another hash is another
        execution.

    Raises:
      process.ProgramError: the configuration names a server that is not there.
    """
    started = time.monotonic()
    config = ValidatorConfig.model_validate_json(validator_config)
    program = process.find_tf_serving(config.model_server)
    with tempfile.TemporaryDirectory(prefix="mnist-gan-validator-") as folder:
        # A copy: the artifact may lie where no server can read it, and has no version number.
        version = os.path.join(folder, "1")
        io_utils.copy_dir(model_dir(model), version)
        found, log = _validate(pathlib.Path(version), program, config.load_timeout)
        # The Pusher pushes what was tried, and nothing else.
        with contextlib.suppress(OSError):  # no SavedModel: told among the checks
            blessing.set_string_custom_property("model_digest", versions.model_digest(version))
    name = os.path.basename(program) if program else "the local server"
    faults = [check for check in found if not check.passed]
    reason = f"Blessed: {name} passes all {len(found)} checks."
    if faults:
        told = "; ".join(f"{check.name}: {check.detail}" for check in faults)
        reason = f"Not blessed by GeneratorValidator: {told}"[:_LONGEST_REASON]
    seconds = time.monotonic() - started
    _write(blessing, found, reason, name, seconds, log)
    # As on a ModelBlessing: whose blessing it is.
    owner = {
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY: model.uri,
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY: model.id,
    }
    properties.note(blessing, owner)


def _validate(
    version: pathlib.Path, program: str, load_timeout: float
) -> tuple[list[checks.Check], str]:
    """Checks of the generator in folder `version`, and what the server wrote."""
    try:
        contract = GeneratorContract.load(version)
        requests = _warm_up_requests(version)
    except (ContractError, OSError, ValueError) as error:
        return [checks.Check("contract", False, str(error))], ""
    begun = time.monotonic()
    try:
        with process.running(
            version.parent,
            model=checks.MODEL,
            program=program,
            # Once is enough: what does not load now is not blessed.
            arguments=["--max_num_load_retries=0"],
            seconds=load_timeout,
        ) as server:
            seconds = time.monotonic() - begun
            found = [checks.Check("load", True, f"the server was ready after {seconds:.1f} s")]
            found += checks.ask(server, contract, requests, version)
            return found, server.log()
    except process.StartError as error:
        return [checks.Check("load", False, str(error))], error.log


def _warm_up_requests(version: pathlib.Path) -> list[checks.Request]:
    """The warm-up requests beside a model.

    Raises:
      ValueError: there are none, or they can't be read.
    """
    path = version / WARMUP_FILE
    if not path.is_file():
        raise ValueError(f"there is no {WARMUP_FILE}")
    try:
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    except tf.errors.DataLossError as error:
        raise ValueError(f"{WARMUP_FILE} can't be read: {error.message}") from None
    requests = []
    for record in records:
        log = prediction_log_pb2.PredictionLog()
        with contextlib.suppress(Exception):  # protobuf's DecodeError has no home of its own
            log.ParseFromString(record)
        request = log.predict_log.request
        inputs = {alias: tensors.to_array(proto) for alias, proto in request.inputs.items()}
        if not inputs or not all(array.ndim for array in inputs.values()):
            raise ValueError(f"{WARMUP_FILE} holds what is no Predict request of several rows")
        requests.append(checks.Request(request.model_spec.signature_name, inputs))
    return requests


def _write(
    blessing: artifact.Artifact,
    found: list[checks.Check],
    reason: str,
    server: str,
    seconds: float,
    log: str,
) -> None:
    blessed = all(check.passed for check in found)
    document = {
        "schema_version": 1,
        "blessed": blessed,
        "reason": reason,
        "server": server,
        "seconds": round(seconds, 2),
        "checks": [check._asdict() for check in found],
    }
    fileio.makedirs(blessing.uri)
    path = os.path.join(blessing.uri, REPORT_FILE)
    io_utils.write_string_file(path, json.dumps(document, indent=2) + "\n")
    if blessed:
        tfx_infra_validator._mark_blessed(blessing)
    else:
        tfx_infra_validator._mark_not_blessed(blessing)
        io_utils.write_string_file(os.path.join(blessing.uri, LOG_FILE), log)
        _progress.warning("%s", reason)
    properties.note(blessing, {"reason": reason, "server": server, "seconds": seconds})
