"""From an example's PNG to what the networks see, and back."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

IMAGE_SHAPE = (28, 28, 1)
PIXEL_STATISTICS = ("mean", "standard deviation", "smallest", "largest")
LABEL_COUNTS = "label_counts"  # file in the transform graph's assets: "count label" a line


def normalise(images: tf.Tensor) -> tf.Tensor:
    """Grey levels 0..255 (uint8, any shape) to float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def denormalise(images: tf.Tensor) -> tf.Tensor:
    """The inverse of `normalise`: [-1, 1] to uint8, rounded to nearest, clipped.

    Exact on all 256 levels; `serving.contract.to_uint8` is the same without TensorFlow.
    """
    levels = tf.round((images + 1.0) * 127.5)
    return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)


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
    a generator's output can be turned into pixels by whoever knows the range [-1, 1]. What the
    analysers find is kept for people: `pixel_statistics`, and the file `label_counts` among the
    graph's assets.

    Args:
      inputs: `image` string [n] (PNG), `label` int64 [n], `id` string [n].
      custom_config: holds the hash of this code, so that TFX's cache sees edits of it; not used.

    Returns:
      `image`: float32 [n, 28, 28, 1] in [-1, 1].
      `label`: int64 [n].
      `id`: string [n].
      `pixel_statistics`: float32 [n, 4], the same for all: mean, standard deviation, smallest and
        largest grey level (0..255) of the analysed split.
    """
    del custom_config
    image, label = inputs["image"], inputs["label"]
    pixels = decode(image)
    levels = tf.cast(pixels, tf.float32)
    statistics = tf.stack(
        [tft.mean(levels), tf.sqrt(tft.var(levels)), tft.min(levels), tft.max(levels)]
    )
    tft.vocabulary(tf.strings.as_string(label), vocab_filename=LABEL_COUNTS, store_frequency=True)
    return {
        "image": normalise(pixels),
        "label": label,
        "id": inputs["id"],
        "pixel_statistics": tf.tile(statistics[tf.newaxis], [tf.shape(label)[0], 1]),
    }
