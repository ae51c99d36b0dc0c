"""Tiny SavedModels that keep the generator's contract, good and bad in known ways."""

import functools
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from common.contract import GeneratorContract

LATENT = 4


class Replay(tf.Module):
    """Answers with stored images of the class asked for, chosen by the seed."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        conditional: bool = True,
    ) -> None:
        """
        Args:
          images: uint8 [N, 28, 28, 1], at least one of each class asked for.
          labels: int64 [N].
          change: (float images in [-1, 1], seeds) -> images, spoils what is answered.
          conditional: whether it takes other labels than -1.
        """
        super().__init__()
        order = np.argsort(labels, kind="stable")
        counts = np.bincount(labels)
        self.images = tf.Variable(images[order], trainable=False)
        self.counts = tf.Variable(counts, trainable=False, dtype=tf.int64)
        self.starts = tf.Variable(np.cumsum(counts) - counts, trainable=False, dtype=tf.int64)
        self.change = change
        self.allowed = len(counts) if conditional else 0  # labels below that, and -1

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="seed"),
            tf.TensorSpec([None], tf.int64, name="label"),
        ]
    )
    def generate(self, seed: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
        classes = tf.size(self.counts, tf.int64)
        with tf.control_dependencies(
            [
                tf.debugging.assert_less(label, tf.constant(self.allowed, tf.int64)),
                tf.debugging.assert_greater_equal(label, tf.constant(-1, tf.int64)),
            ]
        ):
            label = tf.where(label < 0, seed % classes, label)
        # Seeds that follow each other pick images far apart.
        pick = tf.gather(self.starts, label) + (seed * 7919) % tf.gather(self.counts, label)
        images = tf.cast(tf.gather(self.images, pick), tf.float32) / 127.5 - 1.0
        if self.change is not None:
            images = self.change(images, seed)
        return {"image": images}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, LATENT], tf.float32, name="latent"),
            tf.TensorSpec([None], tf.int64, name="label"),
        ]
    )
    def serve(self, latent: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.generate(tf.cast(latent[:, 0] * 1000.0, tf.int64), label)


def export(
    folder: pathlib.Path,
    images: np.ndarray,
    labels: np.ndarray,
    change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    **contract: object,
) -> pathlib.Path:
    """Writes a `Replay` with its contract to `folder`; `contract` overrides fields of it."""
    module = Replay(images, labels, change, conditional=bool(contract.get("conditional", True)))
    tf.saved_model.save(
        module,
        str(folder),
        signatures={"serving_default": module.serve, "generate": module.generate},
    )
    training = {
        "config": {"steps": 1},
        "preset": "standard",
        "seed": 3,
        "source_hash": "abc",
        "versions": {"python": "3"},
        "data": {"dataset": "mnist"},
    }
    facts = {"model": "replay", "training": training, **contract}
    contract_of(LATENT, int(labels.max()) + 1, **facts).write(folder)
    return folder


def contract_of(latent_dim: int, num_classes: int, **changes: object) -> GeneratorContract:
    """The contract of a conditional generator; `changes` overrides fields of it."""
    return GeneratorContract(
        **{
            "model": "cdcgan",
            "latent_dim": latent_dim,
            "latent_distribution": "normal",
            "image_shape": (28, 28, 1),
            "value_range": (-1.0, 1.0),
            "num_classes": num_classes,
            "class_names": tuple(map(str, range(num_classes))),
            "classes_present": tuple(range(num_classes)),
            "conditional": True,
            "training": {},
            **changes,
        }
    )


def noise(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Random pixels instead of the images."""
    return _for_each_seed(images, seeds, functools.partial(tf.random.stateless_uniform, minval=-1))


def not_a_number(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """NaN in every tenth image."""
    return tf.where((seeds % 10 == 0)[:, None, None, None], float("nan"), images)


def slightly_noisy(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Faint grey noise over the images."""
    return images + 0.25 * noise(images, seeds)


def _for_each_seed(images: tf.Tensor, seeds: tf.Tensor, draw: Callable) -> tf.Tensor:
    return tf.map_fn(
        lambda seed: draw([28, 28, 1], seed=tf.stack([seed, tf.constant(1, tf.int64)])),
        seeds,
        fn_output_signature=tf.float32,
    )
