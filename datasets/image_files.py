"""Image files of others: which there are in a folder, and each as pixels, or why not.

Nothing about an image is changed without being asked for. NumPy and Pillow, no TensorFlow.
"""

import dataclasses
import io
import math
import os
import pathlib
import stat
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.images import IMAGE_SIZES, ImageShape, describe_shape
from common.text import plain

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pgm", ".pbm", ".ppm"),
)
# Pillow knows more, and would start another program (Ghostscript) for some.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_FIRST_FRAME = ("GIF", "MPO")  # MPO is a JPEG of a telephone: a photograph and a preview of it
MOST_PIXELS = 100_000_000
_PAIRS, _TILE = 10, 96  # of `before_and_after`: images, and pixels across each
_GREY_SPREAD = 8  # grey levels between the channels of a grey image that was compressed

Range = tuple[float, float]


class ImageError(ValueError):
    """An image file can't be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is done to images that are not as the networks take them. The default: nothing.

    Attributes:
      image_size: the shorter side becomes so many pixels, the middle square stays.
      channels: 1 makes colours grey, 3 repeats grey as red, green and blue.
      background: grey level 0..255 behind what is transparent.
    """

    image_size: int | None = None
    channels: int | None = None
    background: int | None = None


AS_THEY_ARE = Conversion()


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out; macOS puts `__MACOSX` into archives."""
    return name.startswith(".") or name == "__MACOSX"


def list_files(root: pathlib.Path) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Files below `root` that are images by their names, and others, both in the order of names.

    Links to folders are followed, each folder is met once; hidden files and folders are left out.

    Raises:
      OSError: a folder can't be read; without it a class could vanish.
    """

    def fail(error: OSError) -> None:
        raise error

    seen = set()
    images: list[pathlib.Path] = []
    others: list[pathlib.Path] = []
    for folder, folders, files in os.walk(root, onerror=fail, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a loop of links, or a folder that was met already
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in files:
            if not is_hidden(name):
                found = images if name.lower().endswith(SUFFIXES) else others
                found.append(pathlib.Path(folder, name))
    return sorted(images), sorted(others)


def printable(name: str | os.PathLike) -> str:
    """A file's name as UTF-8 can have it: other bytes are shown as \\xNN."""
    return plain(os.fsencode(name).decode("utf-8", "backslashreplace"))


def read_image(
    file: pathlib.Path | io.BytesIO,
    conversion: Conversion = AS_THEY_ARE,
    value_range: Range | None = None,
    shape: ImageShape | None = None,
) -> tuple[np.ndarray, str]:
    """One image file as uint8 [size, size, 1 or 3], turned as its EXIF data says.

    Args:
      file: PNG, JPEG, WebP, BMP, GIF (the first frame), TIFF, PGM, PBM or PPM; or its content.
      conversion: what may be changed so that it fits.
      value_range: what black and white are in the file; None where the file says it itself.
      shape: what it has to have; a grey file is repeated in three channels where these are
        wanted. None takes it as it is, if it has a size that the networks draw.

    Returns:
      the pixels, and what was assumed ("" for nothing).

    Raises:
      ImageError: it can't be read, has another size or colours, or does not say what its pixels
        mean.
    """
    try:
        if isinstance(file, pathlib.Path) and not stat.S_ISREG(os.stat(file).st_mode):
            raise ImageError("no regular file")  # a FIFO would be waited for
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see MOST_PIXELS
            with Image.open(file, formats=_FORMATS) as picture:
                return _pixels(picture, conversion, value_range, shape)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"more than {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise ImageError("no image that can be read") from None
    except Exception as error:  # Pillow raises nearly anything for a broken file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(plain(reason)) from None


def to_levels(values: np.ndarray, value_range: Range) -> np.ndarray:
    """Pixels of any range as uint8.

    Raises:
      ValueError: there are values that are not finite or outside the range.
    """
    low, high = value_range
    values = np.asarray(values, np.float64)
    check_values(values, value_range)
    return np.rint(np.clip((values - low) / (high - low), 0.0, 1.0) * 255.0).astype(np.uint8)


def check_values(values: np.ndarray, value_range: Range) -> None:
    """Lets pass what lies in the range, give or take what rounding does.

    Raises:
      ValueError: there are values that are not finite or outside the range.
    """
    low, high = value_range
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    slack = 0.002 * (high - low)  # rounding overshoots a little
    least, most = float(values.min()), float(values.max())
    if least < low - slack or most > high + slack:
        raise ValueError(
            f"it holds values from {least:.4g} to {most:.4g}, outside the range {low:g} to {high:g}"
        )


def parse_value_range(text: str) -> Range:
    """The two numbers of "-1,1".

    Raises:
      ValueError: they are not two finite numbers, the lower one first.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"a range of values is LOW,HIGH, such as -1,1 or 0,255, not {text!r}")
    return low, high


def size_of(file: pathlib.Path) -> tuple[int, int] | None:
    """Width and height by the file's header; None where it can't be read."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as picture:
                return picture.size
    except Exception:  # Pillow raises nearly anything for a broken file; `read_image` says it
        return None


def nearest_size(side: int) -> int:
    """The largest of IMAGE_SIZES that `side` has room for, else the smallest."""
    return max((size for size in IMAGE_SIZES if size <= side), default=IMAGE_SIZES[0])


def before_and_after(
    files: Sequence[pathlib.Path], conversion: Conversion, shape: ImageShape
) -> Image.Image:
    """A strip of some images as their files have them, and below as they are learnt from.

    Args:
      files: images, of which ten are shown that can be read.
      conversion, shape: as of `read_image`.
    """
    pairs: list[tuple[Image.Image, Image.Image]] = []
    for file in files[:: max(1, len(files) // (2 * _PAIRS))]:
        try:
            after, _ = read_image(file, conversion, shape=shape)
            with Image.open(file, formats=_FORMATS) as picture:
                before = ImageOps.exif_transpose(picture).convert("RGBA")
        except (ImageError, OSError, ValueError):
            continue
        pixels = Image.fromarray(after.squeeze()).convert("RGB")
        pairs.append((before, pixels.resize((_TILE, _TILE), Image.Resampling.NEAREST)))
        if len(pairs) == _PAIRS:
            break
    strip = Image.new("RGB", (_PAIRS * (_TILE + 2), 2 * _TILE + 2), "white")
    for column, (before, pixels) in enumerate(pairs):
        small = ImageOps.contain(before, (_TILE, _TILE))
        left = column * (_TILE + 2)
        place = (left + (_TILE - small.width) // 2, (_TILE - small.height) // 2)
        strip.paste(small, place, small)
        strip.paste(pixels, (left, _TILE + 2))
    return strip


def _pixels(
    picture: Image.Image,
    conversion: Conversion,
    value_range: Range | None,
    shape: ImageShape | None,
) -> tuple[np.ndarray, str]:
    # From the header, before anything is decoded.
    width, height = picture.size
    sizes = IMAGE_SIZES if shape is None else shape[:1]
    if conversion.image_size is None and (width != height or width not in sizes):
        wanted = " or ".join(f"{size}x{size}" for size in sizes)
        size = nearest_size(min(width, height)) if shape is None else shape[0]
        raise ImageError(
            f"{width}x{height} pixels, not {wanted} (--set image_size={size} scales and crops it)"
        )
    if width * height > MOST_PIXELS:
        raise ImageError(f"{width}x{height} pixels, more than {MOST_PIXELS:,} in all")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format not in _FIRST_FRAME:
        raise ImageError(f"{frames} images in one file")
    picture.load()
    channels = conversion.channels or (shape[2] if shape else None)
    levels, how = _levels(ImageOps.exif_transpose(picture), conversion, value_range)
    if channels == 1 and levels.ndim == 3:
        raise ImageError("it is in colour (--set channels=1 makes it grey)")
    size = conversion.image_size or width
    if levels.shape[:2] != (size, size):
        fitted = ImageOps.fit(Image.fromarray(levels), (size, size), Image.Resampling.LANCZOS)
        levels = np.asarray(fitted, np.uint8)
    if levels.ndim == 2:
        levels = levels[..., None].repeat(channels or 1, axis=2)
    if frames > 1 and picture.format == "GIF":
        how = "of a GIF that moves the first frame is taken" + (f"; {how}" if how else "")
    if shape is not None and levels.shape != shape:
        raise ImageError(f"it is {describe_shape(levels.shape)}, not {describe_shape(shape)}")
    return levels, how


def _levels(
    picture: Image.Image, conversion: Conversion, value_range: Range | None
) -> tuple[np.ndarray, str]:
    """uint8 [height, width], of colours [height, width, 3], and what was assumed."""
    mode, how = picture.mode, ""
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PNG"):
        deep = np.asarray(picture).astype(np.float64)
        return to_levels(deep, value_range or (0.0, 65535.0)), "" if value_range else (
            "16-bit pixels run from 0 to 65535"
        )
    if mode in ("I", "F"):
        if value_range is None:
            kind = "floats" if mode == "F" else "32-bit integers"
            raise ImageError(
                f"its pixels are {kind}, which do not say what black and white are "
                "(`mnist-gan evaluate` takes --value-range)"
            )
        return to_levels(np.asarray(picture), value_range), ""
    if mode == "P" or "transparency" in picture.info:
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    if "A" in picture.getbands() or "a" in picture.getbands():
        picture, how = _opaque(picture.convert("RGBA"), conversion.background)
    if picture.mode == "CMYK":
        how = "inks (CMYK) become colours without their profile"
    if picture.mode not in ("1", "L"):
        colours = np.asarray(picture.convert("RGB"), np.uint8)
        spread = int((colours.max(axis=-1) - colours.min(axis=-1)).max())
        picture = Image.fromarray(colours)
    else:
        spread = 0
    in_colour = spread > _GREY_SPREAD and conversion.channels != 1
    levels = np.asarray(picture.convert("RGB" if in_colour else "L"), np.uint8)
    return levels if value_range is None else to_levels(levels, value_range), how


def _opaque(picture: Image.Image, background: int | None) -> tuple[Image.Image, str]:
    """An RGBA image without its transparency, and what was assumed."""
    if background is not None:
        ground = Image.new("RGBA", picture.size, (background, background, background, 255))
        return Image.alpha_composite(ground, picture).convert("RGB"), ""
    pixels = np.asarray(picture, np.uint8)
    alpha = pixels[..., 3]
    if alpha.min() == alpha.max():
        return picture.convert("RGB"), ""
    colours = pixels[alpha > 0][:, :3]
    if (colours == colours[0]).all():
        how = "the ink is the alpha channel where an image has one colour"
        return Image.fromarray(alpha.copy()), how
    raise ImageError(
        "both its colours and its transparency vary (--set background=255 puts white behind it)"
    )
