"""A small problem and one trained run, shared by the trainer's tests."""

import pathlib

import numpy as np
import pytest

from common.images import to_floats
from trainer.training_config import TrainingConfig, make_config

TINY = {
    "steps": 10,
    "batch_size": 8,
    "latent_dim": 8,
    "generator_channels": 8,
    "discriminator_channels": 8,
    "r1_interval": 4,
    "augment_share": 0.5,
    "log_interval": 4,
    "sample_interval": 5,
    "checkpoint_interval": 3,
    "precision": "float32",
}
CLASSES = 4
# What is tiny for every model; each has settings of its own besides.
_SHORT = {
    name: TINY[name]
    for name in ("steps", "batch_size", "log_interval", "checkpoint_interval", "precision")
}
TINY_OF = {
    "cdcgan": TINY,
    "dcgan": {**_SHORT, "model": "dcgan", "latent_dim": 8, "sample_interval": 5},
    "blocks5": {**_SHORT, "model": "blocks5", "latent_dim": 8, "sample_interval": 5},
    "gaussian_mlp": {**_SHORT, "model": "gaussian_mlp", "latent_dim": 8},
}


@pytest.fixture(scope="session")
def tiny_config() -> TrainingConfig:
    return make_config(**TINY)


@pytest.fixture(scope="session")
def tiny_levels() -> tuple[np.ndarray, np.ndarray]:
    """Bright squares, one corner per class: uint8 [60, 28, 28, 1] and int64 [60]."""
    labels = np.arange(60, dtype=np.int64) % CLASSES
    images = np.random.default_rng(0).integers(0, 40, [60, 28, 28, 1], dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 14 * (label // 2), 14 * (label % 2)
        image[row : row + 14, column : column + 14] += 200
    return images, labels


@pytest.fixture(scope="session")
def tiny_data(tiny_levels) -> tuple[np.ndarray, np.ndarray]:
    """The same as the networks take them: float32 in [-1, 1]."""
    images, labels = tiny_levels
    return to_floats(images.astype(np.float32)), labels


@pytest.fixture(scope="session")
def tiny_run(tiny_config, tiny_data, tmp_path_factory):
    """One uninterrupted run: (result, folder of its outputs, folder of its checkpoints)."""
    from trainer.training import train

    root: pathlib.Path = tmp_path_factory.mktemp("tiny_run")
    result = train(
        *tiny_data,
        tiny_config,
        CLASSES,
        7,
        checkpoint_dir=root / "checkpoints",
        output_dir=root / "out",
        log_dir=root / "tensorboard",
    )
    return result, root / "out", root / "checkpoints"
