"""The pipeline's own TFX components, one file each."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Types of artifacts: Kubeflow imports them by a name of two parts, `components.NAME`.

    TFX is loaded for whoever asks for one, not for all that is in this package.
    """
    if not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("components.artifact_types"), name)
