"""`DatasetInfo` as custom properties of an Examples artifact: texts, JSON and one number."""

import json

from tfx import types

from components import properties
from datasets.info import DatasetInfo

_TEXTS = ("dataset", "dataset_version", "checksums_of", "fingerprint")
_DOCUMENTS = ("class_names", "image_shape", "split_slices", "split_counts", "checksums")


def write(examples: types.Artifact, info: DatasetInfo) -> None:
    """Puts `info` on the artifact."""
    plain = (*_TEXTS, "num_classes")
    properties.note(
        examples,
        {
            name: value if name in plain else json.dumps(value, sort_keys=True)
            for name, value in info.to_dict().items()
        },
    )


def read(examples: types.Artifact) -> DatasetInfo:
    """What `write` put there; empty fields where it did not, as in another pipeline's Examples."""
    facts: dict = {name: examples.get_string_custom_property(name) for name in _TEXTS}
    for name in _DOCUMENTS:
        if text := examples.get_string_custom_property(name):
            facts[name] = json.loads(text)
    facts["num_classes"] = examples.get_int_custom_property("num_classes")
    return DatasetInfo.from_dict(facts)
