"""The settings that say which images the pipeline learns from. Needs no TensorFlow."""

import os
import pathlib

import pydantic
from pydantic import ConfigDict, Field

DATA_DIR_VARIABLE = "MNIST_GAN_DATA_DIR"
MNIST_FOLDER = pathlib.Path("data", "mnist")
"""Where MNIST's original files may lie below the current folder, to be found without a name."""


class DataConfig(pydantic.BaseModel):
    """Which data set, where its original files are, and how much of each split to take."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(
        "auto",
        min_length=1,
        description="'mnist', 'digits' (embedded, needs no files), the name of any TFDS set of "
        "28x28 grey images with labels ('fashion_mnist', 'emnist/letters'), or 'auto': MNIST "
        "where it can be had, digits where not",
    )
    data_dir: pathlib.Path | None = Field(
        None,
        description="folder with the data set's original files, as TFDS names them, or where TFDS "
        f"has prepared it; without it {DATA_DIR_VARIABLE} or TFDS_DATA_DIR names it, MNIST may be "
        f"in {MNIST_FOLDER}, or it is downloaded",
    )

    @pydantic.field_validator("data_dir", mode="before")
    @classmethod
    def _blank_is_none(cls, folder: object) -> object:
        """An empty name is no name: as a path it would be the current folder."""
        return None if isinstance(folder, str) and not folder.strip() else folder

    @pydantic.field_validator("data_dir")
    @classmethod
    def _home(cls, folder: pathlib.Path | None) -> pathlib.Path | None:
        """`--data-dir=~/x` reaches us with the tilde."""
        return folder.expanduser() if folder else folder

    train_examples: int | None = Field(
        None, ge=1, description="take this many from the start of the train split; default: all"
    )
    eval_examples: int | None = Field(
        None, ge=1, description="take this many from the start of the eval split; default: all"
    )
    test_examples: int | None = Field(
        None, ge=1, description="take this many from the start of the test split; default: all"
    )


def default_data_dir(dataset: str) -> str | None:
    """The folder of original files for `dataset` where the user named none; None if there is none.

    It is the folder that the environment names, else `MNIST_FOLDER` for MNIST, if anything is in
    it. An empty variable counts as unset.
    """
    if folder := os.environ.get(DATA_DIR_VARIABLE, "").strip():
        return folder
    is_mnist = dataset.partition(":")[0] in ("auto", "mnist")
    if is_mnist and MNIST_FOLDER.is_dir() and any(MNIST_FOLDER.iterdir()):
        return str(MNIST_FOLDER)
    return None
