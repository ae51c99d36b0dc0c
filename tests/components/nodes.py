"""Nodes that hand prepared folders to the nodes under test, in pipelines of two or three."""

import json
import shutil

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts


@component
def GiveExamples(
    examples: OutputArtifact[standard_artifacts.Examples],
    folder: Parameter[str],
    split_names: Parameter[str],
    properties: Parameter[str],
) -> None:
    """Copies an Examples artifact from `folder`."""
    shutil.copytree(folder, examples.uri, dirs_exist_ok=True)
    examples.split_names = split_names
    for key, value in json.loads(properties).items():
        if isinstance(value, int):
            examples.set_int_custom_property(key, value)
        else:
            examples.set_string_custom_property(key, value)


@component
def GiveModel(
    model: OutputArtifact[standard_artifacts.Model],
    folder: Parameter[str],
) -> None:
    """Copies a Model artifact from `folder`."""
    shutil.copytree(folder, model.uri, dirs_exist_ok=True)
