"""What every exported generator promises, written beside its SavedModel.

`trainer/export.py` writes `assets.extra/generator.json`; the Evaluator, the Pusher, the server and
`mnist-gan generate` read it. TF Serving ignores the folder `assets.extra`, so the file travels
with the model wherever it is copied. Needs neither TensorFlow nor TFX.
"""

import dataclasses
import difflib
import json
import os
import pathlib
from typing import Any

import numpy as np

from common.text import parse_json

ASSETS_EXTRA = "assets.extra"
GENERATOR_FILE = f"{ASSETS_EXTRA}/generator.json"
WARMUP_FILE = f"{ASSETS_EXTRA}/tf_serving_warmup_requests"  # TF Serving's own name for it
METADATA_FILE = f"{ASSETS_EXTRA}/metadata.json"  # what a version was pushed with
REAL_FILE = f"{ASSETS_EXTRA}/real.png"  # of the test split: a row of ten for each class
UUID_FILE = f"{ASSETS_EXTRA}/mlmd_uuid"  # TF Serving publishes its content as a gauge
ANY_LABEL = -1  # "any class, chosen from the seed" in the signatures `generate` and `generate_png`


class ContractError(ValueError):
    """A folder does not hold a generator that keeps the contract; the message says what is off."""


@dataclasses.dataclass(frozen=True)
class GeneratorContract:
    """The facts about an exported generator that its users need and its graph does not tell.

    Attributes:
      model: the architecture's name, as in the setting `model`.
      latent_dim: length Z of one latent vector.
      latent_distribution: "normal" (standard normal) or "uniform" (on [-1, 1]).
      image_shape: height, width and channels of one image.
      value_range: lowest and highest value of the float `image` output.
      num_classes: labels run from 0 to num_classes - 1.
      class_names: one name per class, in label order.
      classes_present: labels that occur in the training data, ascending.
      conditional: whether the label decides the class of the image; not where there is one class
        only. An unconditional generator has the same signatures and refuses every label but
        ANY_LABEL.
      training: how the generator came to be: settings, seed, data, source hash, versions.
    """

    model: str
    latent_dim: int
    latent_distribution: str
    image_shape: tuple[int, int, int]
    value_range: tuple[float, float]
    num_classes: int
    class_names: tuple[str, ...]
    classes_present: tuple[int, ...]
    conditional: bool
    training: dict

    def effective_labels(self, classes: np.ndarray) -> np.ndarray:
        """The labels to ask for of `classes`, int64 of that shape.

        The classes themselves, or ANY_LABEL where the generator is unconditional.
        """
        classes = np.asarray(classes, np.int64)
        return classes if self.conditional else np.full_like(classes, ANY_LABEL)

    def ten_of_each(self, seed: int) -> tuple[list[int], list[int]]:
        """Labels and seeds of ten images of each class present, class after class.

        As many images of whatever class comes, where the generator is unconditional.
        """
        labels = self.effective_labels(np.repeat(self.classes_present, 10)).tolist()
        return labels, list(range(seed, seed + len(labels)))

    def label(self, wanted: str) -> int:
        """The label of a class by its name or, where no class is called so, by its number.

        Raises:
          ContractError: there is no such class.
        """
        if wanted in self.class_names:
            return self.class_names.index(wanted)
        try:
            return int(wanted)
        except ValueError:
            near = difflib.get_close_matches(wanted, self.class_names, n=3) or self.class_names
            raise ContractError(
                f"there is no class {wanted!r}: did you mean {', '.join(near[:10])}?"
            ) from None

    def write(self, model_dir: str | os.PathLike) -> None:
        """Writes the contract into the SavedModel folder `model_dir`."""
        path = pathlib.Path(model_dir, GENERATOR_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json() + "\n")

    def to_json(self) -> str:
        """The contract as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "GeneratorContract":
        """The contract that `to_json` wrote.

        Raises:
          ContractError: it is not JSON in UTF-8, or lacks a field.
        """
        try:
            tuples = ("image_shape", "value_range", "class_names", "classes_present")
            fields: dict[str, Any] = dict(parse_json(text).items())
            fields |= {name: tuple(fields[name]) for name in tuples if name in fields}
            return cls(**fields)
        except (ValueError, TypeError, AttributeError) as error:
            raise ContractError(f"it can't be read as a generator contract: {error}") from None

    @classmethod
    def load(cls, model_dir: str | os.PathLike) -> "GeneratorContract":
        """Reads the contract of the SavedModel folder `model_dir`.

        Raises:
          ContractError: the file is missing, is not JSON or lacks a field.
        """
        path = pathlib.Path(model_dir, GENERATOR_FILE)
        try:
            return cls.from_json(path.read_bytes())
        except FileNotFoundError:
            raise ContractError(
                f"{model_dir} holds no {GENERATOR_FILE}: it was not exported by this project"
            ) from None
        except ContractError as error:
            raise ContractError(f"{path}: {error}") from None
