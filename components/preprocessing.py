"""From an example's PNG to what the networks see, and back."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from common.images import GREY_LEVELS, IMAGE_SHAPE, VALUE_RANGE, ImageShape, to_floats
from common.transform_counts import COUNTS_FILE, LABEL, LEVEL, VALUE, VALUE_BINS


def decode(images: tf.Tensor, shape: ImageShape = IMAGE_SHAPE) -> tf.Tensor:
    """Decodes PNG files.

    Args:
      images: string [n], each the bytes of a PNG file.
      shape: of one image.

    Returns:
      uint8 [n, *shape].

    Raises:
      tf.errors.InvalidArgumentError: when it runs, bytes that are no PNG file of that size.
    """
    return tf.map_fn(
        lambda image: tf.ensure_shape(tf.io.decode_png(image, channels=shape[2]), shape),
        images,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
    )


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """What TFX's Transform analyses, applies and saves as a graph.

    The normalisation takes nothing from the data: 0 and 255 mean the same in every data set, and
    whoever knows the range [-1, 1] can turn a generator's output into pixels. What the analyser
    finds is for people: it counts grey levels and labels into a file among the graph's assets,
    which `common.transform_counts` reads.

    Args:
      inputs: `image` string [n] (PNG), `label` int64 [n], `id` string [n].
      custom_config: `image_shape`, height, width and channels; and the hash of this code, so
        that TFX's cache sees edits of it, which is not used.

    Returns:
      `image`: float32 [n, *image_shape] in [-1, 1].
      `label`: int64 [n].
      `id`: string [n].
    """
    shape = tuple((custom_config or {}).get("image_shape", IMAGE_SHAPE))
    pixels = decode(inputs["image"], shape)
    images = to_floats(tf.cast(pixels, tf.float32))
    _count(pixels, images, inputs["label"])
    return {
        "image": images,
        "label": inputs["label"],
        "id": inputs["id"],
    }


def _count(pixels: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> None:
    """Counts grey levels, transformed values and labels of the whole analysed split.

    All in one vocabulary with counts as weights: each analyser more is another pass of Beam
    stages, 2 to 3 s of processor time for mean and variance alone, which follow from the counts.
    """
    levels = tf.math.bincount(
        tf.reshape(tf.cast(pixels, tf.int32), [-1]), minlength=GREY_LEVELS, maxlength=GREY_LEVELS
    )
    values = tf.histogram_fixed_width(images, VALUE_RANGE, VALUE_BINS)
    names = tf.concat(
        [
            tf.constant([f"{LEVEL} {level}" for level in range(GREY_LEVELS)]),
            tf.constant([f"{VALUE} {number}" for number in range(VALUE_BINS)]),
            tf.strings.join([f"{LABEL} ", tf.strings.as_string(labels)]),
        ],
        axis=0,
    )
    counts = tf.cast(tf.concat([levels, values], axis=0), tf.float32)
    weights = tf.concat([counts, tf.ones_like(labels, tf.float32)], axis=0)
    tft.vocabulary(names, weights=weights, vocab_filename=COUNTS_FILE, store_frequency=True)
