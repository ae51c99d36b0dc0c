"""What an image is here: its shape, its grey levels, and a grid of many. NumPy only.

Everywhere in the project an image is one of two things: uint8 grey levels 0..255 as files hold them
and people see them, or floats in [-1, 1] as the networks take and give them.
"""

from typing import Any

import numpy as np

ImageShape = tuple[int, int, int]
"""Height, width and channels of the images of a data set: its `DatasetInfo.image_shape`."""

IMAGE_SHAPE: ImageShape = (28, 28, 1)
"""MNIST's, for which the judge's pinned extractors are made."""

PINNED_FOR = ("mnist", "digits")
"""The data sets that these and thresholds are made for: digits in MNIST's format."""

IMAGE_SIZES = (28, 32, 64)
IMAGE_CHANNELS = (1, 3)
"""What the networks draw: squares of these sizes, grey or red, green and blue."""

GREY_LEVELS = 256
VALUE_RANGE = (-1.0, 1.0)
"""What black and white are as floats."""

DATA_SAMPLES_FILE = "samples.png"
"""A grid of real images in the folder of an Examples artifact; the report shows it."""

CONVERSIONS_FILE = "conversions.png"
"""Beside it, where image files were converted: some of them before and after."""

SPANS_FILE = "spans.png"
"""Images of the newest span and of the one before, in the folder of a SpanDrift artifact."""

BETWEEN = 128
"""Grey level between the images of a sheet: neutral on light pages and on dark ones."""

_HALF = (GREY_LEVELS - 1) / 2
_GAP = 2  # pixels between the images of a grid


def to_floats(levels: Any) -> Any:
    """Grey levels 0..255 to [-1, 1].

    Args:
      levels: floats of any shape, a NumPy array or a tensor; not uint8, which would overflow.

    Returns:
      The same kind, shape and dtype.
    """
    return levels / _HALF - 1.0


def to_levels(images: Any) -> Any:
    """The inverse of `to_floats`: [-1, 1] to 0..255, neither rounded nor clipped."""
    return (images + 1.0) * _HALF


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Pixels as people and metrics see them: [-1, 1] to 0..255, rounded to nearest, clipped.

    Exact on all 256 levels: `to_uint8(to_floats(levels)) == levels`.

    Args:
      images: floats of any shape.

    Returns:
      uint8 of the same shape.

    Raises:
      ValueError: a value is NaN or infinite.
    """
    images = np.asarray(images)
    if not np.isfinite(images).all():
        raise ValueError("images hold values that are not finite")
    return np.clip(np.rint(to_levels(images)), 0, GREY_LEVELS - 1).astype(np.uint8)


def describe_shape(shape: tuple[int, ...]) -> str:
    """For people: "28x28 grey", "64x64 colour"; other shapes as "28x28x2"."""
    colour = {1: " grey", 3: " colour"}.get(shape[-1]) if len(shape) == 3 else None
    return "x".join(map(str, shape[:2])) + colour if colour else "x".join(map(str, shape))


def shape_of(images: np.ndarray) -> ImageShape:
    """Height, width and channels of images [N, H, W, C]."""
    _, height, width, channels = images.shape
    return height, width, channels


def is_known(shape: tuple[int, ...]) -> bool:
    """Whether the networks draw images of such a shape."""
    height, width, channels = shape if len(shape) == 3 else (0, 0, 0)
    return height == width and height in IMAGE_SIZES and channels in IMAGE_CHANNELS


def check_images(name: str, values: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Returns `values` after checking that they are uint8 [N, *shape].

    Args:
      name: of the array, for the message.
      values: the array.
      shape: of one image; None takes every shape that the networks draw.

    Raises:
      ValueError: another dtype or shape; `name` is in the text.
    """
    values = np.asarray(values)
    if values.dtype != np.uint8:
        raise ValueError(
            f"{name} must be uint8 pixels (0..255, rounded as they are served), got {values.dtype}"
        )
    fits = is_known(values.shape[1:]) if shape is None else values.shape[1:] == tuple(shape)
    if not fits:
        wanted = ", ".join(["N", *(map(str, shape) if shape else ["size", "size", "1 or 3"])])
        sizes = "" if shape else f" with a size of {', '.join(map(str, IMAGE_SIZES))}"
        raise ValueError(f"{name} must have shape [{wanted}]{sizes}, got {list(values.shape)}")
    return values


def tile(images: np.ndarray, columns: int, *, scale: int = 2) -> np.ndarray:
    """Lays images out as a grid, row by row.

    Args:
      images: uint8 [N, H, W, 1 or 3], N >= 1.
      columns: images in a row; empty places of the last row stay grey, as gaps are.
      scale: every pixel becomes scale x scale.

    Returns:
      uint8 [height, width], of colour images [height, width, 3].

    Raises:
      ValueError: wrong dtype or shape, no image, or a number below 1.
    """
    images = check_images("images", images)
    if not len(images) or columns < 1 or scale < 1:
        raise ValueError("images, columns and scale must be at least 1")
    rows = -(-len(images) // columns)
    side, channels = images.shape[1] * scale, images.shape[3]
    size = (rows * (side + _GAP) + _GAP, columns * (side + _GAP) + _GAP, channels)
    sheet = np.full(size, BETWEEN, np.uint8)
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    for index, image in enumerate(large):
        top, left = (place * (side + _GAP) + _GAP for place in divmod(index, columns))
        sheet[top : top + side, left : left + side] = image
    return sheet[..., 0] if channels == 1 else sheet
