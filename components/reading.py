"""What several nodes read, and where they keep what they made of it."""

import os
import pathlib

from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from common.workspace import Workspace
from components import dataset_properties
from datasets.examples import Split, read_examples


def read_split(examples: types.Artifact, split: str) -> Split:
    """Reads one split of an Examples artifact.

    Raises:
      ValueError: the artifact has no such split or the split is empty.
    """
    if split not in artifact_utils.decode_split_names(examples.split_names):
        raise ValueError(f"the examples have no split {split!r}, only {examples.split_names}")
    folder = artifact_utils.get_split_uri([examples], split)
    files = sorted(os.path.join(folder, name) for name in fileio.listdir(folder) if ".gz" in name)
    try:
        return read_examples(files, dataset_properties.read(examples).image_shape)
    except ValueError as error:
        raise ValueError(f"the split {split!r} of the examples can't be read: {error}") from None


def cache_dir(output_uri: str) -> str | None:
    """Where a node keeps what it computed: in the workspace's cache, elsewhere beside its outputs.

    Not a parameter of the node: where something is cached must not decide whether it is judged.
    """
    if "://" in output_uri:
        return None
    node = pathlib.Path(output_uri).parents[1]
    if node.parent.name == "pipeline_root":
        return str(Workspace(node.parent.parent).cache)
    return str(node / ".reference")
