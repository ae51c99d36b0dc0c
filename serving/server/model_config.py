"""The list of models that a server is given, as TF Serving's text ModelServerConfig.

`mnist-gan serve` without flags also reads `models.config` among a base path's versions, where
there is one: that is where labels live, since they are no property of a folder. Needs no
TensorFlow.
"""

import os
import pathlib
import re

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from common.files import write_atomically
from serving.server import text_protos
from serving.server.errors import invalid_argument, not_found
from serving.server.versions_manager import PLATFORM, version_folders

FILE_NAME = "models.config"
# Where TF Serving's image expects models. The local server puts the folder that it was given in
# its place, so one file with labels serves both.
IMAGE_FOLDER = "/models"


def single_model(
    name: str, base_path: str | os.PathLike
) -> model_server_config_pb2.ModelServerConfig:
    """A list of one model with the default policy: its newest version."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name=name, base_path=os.fspath(base_path), model_platform=PLATFORM
    )
    return config


def read(path: str | os.PathLike) -> model_server_config_pb2.ModelServerConfig:
    """Reads a text ModelServerConfig.

    Raises:
      ServingError: the file is missing, or is something else.
    """
    try:
        return text_protos.read(path, model_server_config_pb2.ModelServerConfig)
    except OSError as error:
        raise not_found(f"the model config file can't be read: {error}") from None
    except ValueError as error:
        raise invalid_argument(str(error)) from None


def labels(base_path: str | os.PathLike) -> dict[str, int]:
    """The labels of the model under a base path and the versions that they point at."""
    config, _ = _labels_file(base_path, "")
    return dict(config.model_config_list.config[0].version_labels)


def _labels_file(
    base_path: str | os.PathLike, name: str
) -> tuple[model_server_config_pb2.ModelServerConfig, pathlib.Path]:
    """The list among a base path's versions, a fresh one where there is none, and its path."""
    path = pathlib.Path(base_path, FILE_NAME)
    config = read(path) if path.is_file() else single_model(name, f"{IMAGE_FOLDER}/{name}")
    if len(config.model_config_list.config) != 1:
        raise invalid_argument(f"{path} does not list one model: remove it to start afresh")
    return config, path


def set_label(
    base_path: str | os.PathLike, name: str, label: str, version: int | None
) -> dict[str, int]:
    """Points a label at a version, or removes it; a running server follows within its poll.

    A label can name a version that is loaded, so from the first label on all versions are.

    Args:
      base_path: the base path of the model `name`.
      label: for instance `stable`.
      version: one that exists under the base path; None removes the label.

    Returns:
      All labels, and the versions that they point at.

    Raises:
      ServingError: there is no such version or label, the label could not stand in a URL, or the
        file that is there can't be read.
    """
    if not re.fullmatch(r"[^/:\s]+", label):
        raise invalid_argument(f"{label!r} is no label: no spaces, colons or slashes")
    config, path = _labels_file(base_path, name)
    model = config.model_config_list.config[0]
    if version is None:
        if label not in model.version_labels:
            known = ", ".join(sorted(model.version_labels)) or "there are none"
            raise not_found(f"there is no label {label!r}: {known}")
        del model.version_labels[label]
    else:
        there = sorted(version_folders(base_path)) if os.path.isdir(base_path) else []
        if version not in there:
            known = ", ".join(map(str, there)) or "none"
            raise not_found(f"version {version} is not under {base_path}; there are: {known}")
        model.version_labels[label] = version
    if model.version_labels:
        model.model_version_policy.all.SetInParent()
        write_atomically(path, text_format.MessageToString(config))
    else:
        path.unlink(missing_ok=True)
    return dict(model.version_labels)
