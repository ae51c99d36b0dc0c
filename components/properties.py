"""Custom properties of artifacts."""

from collections.abc import Mapping
from typing import Any

from tfx import types


def note(artifact: types.Artifact, facts: Mapping[str, Any]) -> None:
    """Puts texts and numbers on an artifact; a bool becomes 0 or 1."""
    for name, value in facts.items():
        if isinstance(value, str):
            artifact.set_string_custom_property(name, value)
        elif isinstance(value, float):
            artifact.set_float_custom_property(name, value)
        else:
            artifact.set_int_custom_property(name, int(value))
