"""From an example's PNG to what the networks see, and back."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from common.images import GREY_LEVELS, IMAGE_SHAPE, to_floats
from components.transform.counts import COUNTS_FILE, LABEL, LEVEL


def decode(images: tf.Tensor) -> tf.Tensor:
    """Decodes PNG files.

    Args:
      images: string [n], each the bytes of a 28x28 PNG file.

    Returns:
      uint8 [n, 28, 28, 1].

    Raises:
      tf.errors.InvalidArgumentError: when it runs, bytes that are no PNG file of that size.
    """
    return tf.map_fn(
        lambda image: tf.ensure_shape(tf.io.decode_png(image, channels=1), IMAGE_SHAPE),
        images,
        fn_output_signature=tf.TensorSpec(IMAGE_SHAPE, tf.uint8),
    )


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """What TFX's Transform analyses, applies and saves as a graph.

    The normalisation takes nothing from the data: 0 and 255 mean the same in every data set, and
    whoever knows the range [-1, 1] can turn a generator's output into pixels. What the analyser
    finds is for people: it counts grey levels and labels into a file among the graph's assets,
    which `components.transform.counts` reads.

    Args:
      inputs: `image` string [n] (PNG), `label` int64 [n], `id` string [n].
      custom_config: holds the hash of this code, so that TFX's cache sees edits of it; not used.

    Returns:
      `image`: float32 [n, 28, 28, 1] in [-1, 1].
      `label`: int64 [n].
      `id`: string [n].
    """
    del custom_config
    pixels = decode(inputs["image"])
    _count(pixels, inputs["label"])
    return {
        "image": to_floats(tf.cast(pixels, tf.float32)),
        "label": inputs["label"],
        "id": inputs["id"],
    }


def _count(pixels: tf.Tensor, labels: tf.Tensor) -> None:
    """Counts grey levels and labels of the whole analysed split.

    Both in one vocabulary with counts as weights: each analyser more is another pass of Beam
    stages, 2 to 3 s of processor time for mean and variance alone, which follow from the counts.
    """
    levels = tf.math.bincount(
        tf.reshape(tf.cast(pixels, tf.int32), [-1]), minlength=GREY_LEVELS, maxlength=GREY_LEVELS
    )
    names = tf.concat(
        [
            tf.constant([f"{LEVEL} {level}" for level in range(GREY_LEVELS)]),
            tf.strings.join([f"{LABEL} ", tf.strings.as_string(labels)]),
        ],
        axis=0,
    )
    weights = tf.concat([tf.cast(levels, tf.float32), tf.ones_like(labels, tf.float32)], axis=0)
    tft.vocabulary(names, weights=weights, vocab_filename=COUNTS_FILE, store_frequency=True)
