"""What a data set is: the one description of it, from its source to the pushed metadata.

The same names are on the Examples artifact, in the Trainer's parameters, and as `data` in
`generator.json`, `evaluation.json` and `metadata.json`. Needs neither TensorFlow nor TFX.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from common.images import IMAGE_SHAPE, ImageShape

ORIGINALS = "original files"
RECORDS = "prepared records; the original files are unknown"
_OLD_NAMES = {"name": "dataset", "version": "dataset_version"}  # until version 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A data set and which of its records make up the splits.

    Attributes:
      dataset: TFDS's name of it, with its configuration: "mnist", "emnist/letters".
      dataset_version: TFDS's version of it.
      num_classes: labels run from 0 to num_classes - 1.
      class_names: one name per class, in label order.
      image_shape: height, width and channels of each image: the one place that says it.
      split_slices: {"train", "eval", "test"}: TFDS slice, such as "train[50000:60000]".
      split_counts: examples in each.
      checksums: {file name: sha256} of the original files, or of the prepared records where those
        are unknown.
      checksums_of: what `checksums` are of: ORIGINALS or RECORDS.
      fingerprint: of `content_digest`; "" where the content is unknown.
    """

    dataset: str = ""
    dataset_version: str = ""
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    image_shape: ImageShape = IMAGE_SHAPE
    split_slices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    split_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    checksums: Mapping[str, str] = dataclasses.field(default_factory=dict)
    checksums_of: str = ORIGINALS
    fingerprint: str = ""

    def content_digest(self) -> str:
        """sha256 over everything that decides the examples' content, and over no path."""
        content = {
            "name": self.dataset,
            "version": self.dataset_version,
            "split_slices": self.split_slices,
            "num_classes": self.num_classes,
            "class_names": self.class_names,
            "checksums": self.checksums,
        }
        if self.image_shape != IMAGE_SHAPE:  # MNIST's digest is that of older versions
            content["image_shape"] = self.image_shape
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The fields above, of a subclass too, as JSON takes them."""
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(DatasetInfo)}
        return {
            **facts,
            "class_names": list(self.class_names),
            "image_shape": list(self.image_shape),
        }

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> "DatasetInfo":
        """The inverse of `to_dict`; reads the names of older versions, and leaves out others."""
        known = {field.name for field in dataclasses.fields(DatasetInfo)}
        renamed = {_OLD_NAMES.get(name, name): value for name, value in facts.items()}
        fields = {name: value for name, value in renamed.items() if name in known}
        fields["class_names"] = tuple(fields.get("class_names") or ())
        fields["image_shape"] = tuple(fields.get("image_shape") or IMAGE_SHAPE)
        return DatasetInfo(**fields)
