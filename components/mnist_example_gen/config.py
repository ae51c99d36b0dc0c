"""The settings that say which images the pipeline learns from. Needs no TensorFlow."""

import pathlib

import pydantic
from pydantic import ConfigDict, Field


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
        description="folder with the data set's original files, as TFDS names them; without it "
        "they are downloaded",
    )

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
