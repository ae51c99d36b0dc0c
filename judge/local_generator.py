"""Draws digits from an exported generator in this process, without a server.

TensorFlow is imported when a generator is loaded, not before.
"""

import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from common.contract import ANY_LABEL, GeneratorContract
from common.images import to_uint8
from judge import safe_model

SIGNATURE = "generate"
_BATCH = 500


class GeneratorError(ValueError):
    """A folder can't be used as a generator, or it was asked for what it can't draw."""


class Generator:
    """An exported generator, loaded.

    Attributes:
      contract: what it promises.
    """

    def __init__(self, model_dir: str | os.PathLike) -> None:
        """Loads the SavedModel in `model_dir`.

        Raises:
          ContractError: there is no contract beside it.
          GeneratorError: it would do more than compute (`safe_model`), TensorFlow can't load it,
            or it lacks the signature `generate`.
        """
        # First, so that a wrong folder is told without waiting for TensorFlow.
        self.contract = GeneratorContract.load(model_dir)
        if not pathlib.Path(model_dir, "saved_model.pb").is_file():
            raise GeneratorError(f"{model_dir} holds no saved_model.pb")
        import tensorflow as tf

        try:
            safe_model.check(model_dir)
            self._module = tf.saved_model.load(os.fspath(model_dir))
        except safe_model.UnsafeModelError as error:
            raise GeneratorError(str(error)) from None
        except Exception as error:  # TensorFlow raises nearly anything here
            raise GeneratorError(f"TensorFlow can't load {model_dir}: {error}") from error
        signatures = self._module.signatures
        if SIGNATURE not in signatures:
            raise GeneratorError(
                f"{model_dir} has no signature {SIGNATURE!r}; it has {', '.join(signatures)}"
            )
        self._generate = signatures[SIGNATURE]

    def draw(self, seeds: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What the signature `generate` answers, in batches.

        Args:
          seeds: int64 [N].
          labels: int64 [N], class numbers or ANY_LABEL.

        Returns:
          float32 [N, height, width, channels] as the model gives them: nominally in [-1, 1], not
          checked.

        Raises:
          GeneratorError: the model refuses the request or answers with something else.
        """
        import tensorflow as tf

        seeds, labels = np.asarray(seeds, np.int64), np.asarray(labels, np.int64)
        expected = tuple(self.contract.image_shape)
        parts = [np.zeros((0, *expected), np.float32)]
        for start in range(0, len(seeds), _BATCH):
            part = slice(start, start + _BATCH)
            try:
                answer = self._generate(
                    seed=tf.constant(seeds[part]), label=tf.constant(labels[part])
                )
                images = answer["image"].numpy()
            except (tf.errors.OpError, TypeError, ValueError, KeyError) as error:
                first_line = str(getattr(error, "message", error)).splitlines()[0]
                raise GeneratorError(f"the generator did not answer: {first_line}") from error
            if images.shape != (len(seeds[part]), *expected):
                raise GeneratorError(
                    f"the generator answered with shape {list(images.shape)} where its contract "
                    f"promises {[len(seeds[part]), *expected]}"
                )
            parts.append(images)
        return np.concatenate(parts)


# One, so that drawing twice from the same version loads it once.
@functools.lru_cache(maxsize=1)
def load(model_dir: str) -> Generator:
    """The generator in `model_dir`, loaded once."""
    return Generator(model_dir)


def draw(model_dir: str | os.PathLike, labels: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
    """Draws one image for each label and seed.

    Args:
      model_dir: a SavedModel that keeps the contract, for instance a pushed version.
      labels: class numbers, or ANY_LABEL for one that the seed chooses.
      seeds: as many as there are labels; the same seed and label give the same image.

    Returns:
      uint8 [N, height, width, channels].

    Raises:
      ContractError: the folder holds no generator of this project.
      GeneratorError: a label that the model never saw, or a model that does not work.
    """
    contract = GeneratorContract.load(model_dir)
    check_labels(contract, labels)
    if len(labels) != len(seeds):
        raise GeneratorError(
            f"{len(labels)} labels and {len(seeds)} seeds: one seed for each label"
        )
    return to_uint8(load(os.fspath(model_dir)).draw(np.asarray(seeds), np.asarray(labels)))


def check_labels(contract: GeneratorContract, labels: Sequence[int]) -> None:
    """Refuses labels that the generator can't draw.

    Raises:
      GeneratorError: names the label and the classes there are.
    """
    allowed = {*contract.classes_present, ANY_LABEL} if contract.conditional else {ANY_LABEL}
    for label in labels:
        if int(label) not in allowed:
            if not contract.conditional:
                raise GeneratorError(
                    f"this generator ({contract.model}) draws whatever class comes and can't be "
                    f"asked for class {int(label)}: leave the class out (label {ANY_LABEL})"
                )
            raise GeneratorError(
                f"this generator never saw class {int(label)}: it draws "
                + ", ".join(class_title(contract, c) for c in contract.classes_present)
            )


def class_title(contract: GeneratorContract, label: int) -> str:
    """A class for people: "7", or "3 (dress)" where its name says more than its number."""
    name = contract.class_names[label]
    return str(label) if name == str(label) else f"{label} ({name})"
