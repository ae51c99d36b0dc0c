"""The settings that say which images the pipeline learns from. Needs no TensorFlow."""

import os
import pathlib
from typing import Literal

import pydantic
from pydantic import ConfigDict, Field

from datasets.image_files import Conversion

DATA_DIR_VARIABLE = "MNIST_GAN_DATA_DIR"
FOLDER_PREFIX = "folder:"
MNIST_FOLDER = pathlib.Path("data", "mnist")
"""Where MNIST's original files may lie below the current folder, to be found without a name."""


class DataConfig(pydantic.BaseModel):
    """Which data set, where its original files are, and how much of each split to take."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(
        "auto",
        min_length=1,
        description="'mnist', 'digits' (embedded, needs no files), the name of any TFDS set of "
        "images ('fashion_mnist', 'emnist/letters', 'cifar10'), 'folder:PATH' for a "
        "folder of image files, or 'auto': MNIST where it can be loaded, digits where not",
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

    image_size: Literal[28, 32, 64] | None = Field(
        None,
        description="the shorter side of each image is scaled to so many pixels, the middle square "
        "is kept; default: as they are, other sizes than these are refused",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="1 makes colours grey, 3 grey images colour; default: as they are"
    )
    background: int | None = Field(
        None,
        ge=0,
        le=255,
        description="images of a folder: grey level behind what is transparent, 0 black, 255 white",
    )
    skip_unreadable: bool = Field(
        False, description="images of a folder: leave out those that can't be used"
    )

    span: int | None = Field(
        None,
        ge=0,
        description="a folder of spans (span-1, span-2 ...): learn from this one; default: the "
        "newest, which has the highest number",
    )
    spans: int = Field(
        1,
        ge=0,
        description="a folder of spans: learn from so many together, that one and those before; "
        "0: from all",
    )
    max_image_drift: float = Field(
        0.75,
        ge=0.5,
        le=1,
        description="DataGate: how often images of the newest span may be told from those of the "
        "span before, apart from chance (two-sample classifier; 0.5: alike); 1 takes any",
    )
    max_label_drift: float = Field(
        0.02,
        ge=0,
        le=1,
        description="DataGate: how far its class shares may be from theirs, apart from chance "
        "(Jensen-Shannon divergence, bits); 1 takes any",
    )

    @property
    def is_folder(self) -> bool:
        """Whether the data set is a folder of image files."""
        return self.dataset.startswith(FOLDER_PREFIX)

    @property
    def conversion(self) -> Conversion:
        """What may be done to image files that do not fit."""
        return Conversion(self.image_size, self.channels, self.background)


def default_data_dir(dataset: str) -> str | None:
    """The folder of original files for `dataset` where the user named none; None if there is none.

    It is the folder that the environment names, else `MNIST_FOLDER` for MNIST, if anything is in
    it. An empty variable counts as unset, and a folder of images has its place in its own name.
    """
    if dataset.startswith(FOLDER_PREFIX):
        return None
    if folder := os.environ.get(DATA_DIR_VARIABLE, "").strip():
        return folder
    is_mnist = dataset.partition(":")[0] in ("auto", "mnist")
    if is_mnist and MNIST_FOLDER.is_dir() and any(MNIST_FOLDER.iterdir()):
        return str(MNIST_FOLDER)
    return None
