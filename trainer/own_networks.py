"""Networks, and maybe a loss, from a file of the user's in the place of the built-in ones.

The file has `build_generator(config, num_classes, shape)` and `build_discriminator` as
`trainer/models.py` has them; `mnist-gan new` writes one. A `LOSS`, a `losses.GanLoss`, takes the
place of the setting `loss`.
"""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable
from types import ModuleType

import keras

from common.images import ImageShape
from trainer.losses import GanLoss
from trainer.models import CDCGAN, Architecture
from trainer.training_config import TrainingConfig


class OwnNetworksError(ValueError):
    """The file, or what it builds, can't be used; the message says why."""


def load(path: str) -> tuple[Architecture, GanLoss | None]:
    """The networks of a file, and its loss where it has one.

    Raises:
      OwnNetworksError: there is no such file, it fails, or it lacks a function.
    """
    if not pathlib.Path(path).is_file():
        raise OwnNetworksError(f"networks: there is no file {path}")
    spec = importlib.util.spec_from_file_location("own_networks", path)
    if spec is None or spec.loader is None:
        raise OwnNetworksError(f"networks: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is anybody's code
        raise OwnNetworksError(f"networks: {path}: {type(error).__name__}: {error}") from error
    loss = getattr(module, "LOSS", None)
    if loss is not None and not isinstance(loss, GanLoss):
        raise OwnNetworksError(f"networks: LOSS of {path} must be a trainer.losses.GanLoss")
    return dataclasses.replace(
        CDCGAN,
        build_generator=_checked(module, "build_generator", path),
        build_discriminator=_checked(module, "build_discriminator", path),
    ), loss


def _checked(module: ModuleType, name: str, path: str) -> Callable:
    """A function of the file; what it builds is looked at."""
    function = getattr(module, name, None)
    if not callable(function):
        raise OwnNetworksError(f"networks: {path} has no function {name}")

    def build(config: TrainingConfig, num_classes: int, shape: ImageShape) -> keras.Model:
        try:
            network = function(config, num_classes, shape)
            found = tuple(network.output_shape[1:])
        except Exception as error:
            raise OwnNetworksError(
                f"networks: {name} of {path}: {type(error).__name__}: {error}"
            ) from error
        wanted = shape if name == "build_generator" else (1,)
        if found != tuple(wanted):
            raise OwnNetworksError(
                f"networks: {name} of {path} gives {list(found)} for each image, not {list(wanted)}"
            )
        return network

    return build
