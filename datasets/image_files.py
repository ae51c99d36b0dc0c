"""Image files of others: which there are in a folder, and each as pixels, or why not.

Nothing about an image is changed without being asked for. NumPy and Pillow, no TensorFlow.
"""

import dataclasses
import math
import os
import pathlib
import stat
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.images import IMAGE_SHAPE
from common.text import plain

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pgm", ".pbm", ".ppm"),
)
# Pillow knows more, and would start another program (Ghostscript) for some.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_FIRST_FRAME = ("GIF", "MPO")  # MPO is a JPEG of a telephone: a photograph and a preview of it
MOST_PIXELS = 100_000_000
_GREY_SPREAD = 8  # grey levels between the channels of a grey image that was compressed

Range = tuple[float, float]


class ImageError(ValueError):
    """An image file can't be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is done to images that are not as the networks take them. The default: nothing.

    Attributes:
      image_size: the shorter side becomes so many pixels, the middle square stays.
      channels: 1 makes colours grey.
      background: grey level 0..255 behind what is transparent.
    """

    image_size: int | None = None
    channels: int | None = None
    background: int | None = None


AS_THEY_ARE = Conversion()


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
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                found = images if name.lower().endswith(SUFFIXES) else others
                found.append(pathlib.Path(folder, name))
    return sorted(images), sorted(others)


def printable(name: str | os.PathLike) -> str:
    """A file's name as UTF-8 can have it: other bytes are shown as \\xNN."""
    return plain(os.fsencode(name).decode("utf-8", "backslashreplace"))


def read_image(
    file: pathlib.Path,
    conversion: Conversion = AS_THEY_ARE,
    value_range: Range | None = None,
) -> tuple[np.ndarray, str]:
    """One image file as uint8 [28, 28, 1], turned as its EXIF data says.

    Args:
      file: PNG, JPEG, WebP, BMP, GIF (the first frame), TIFF, PGM, PBM or PPM.
      conversion: what may be changed so that it fits.
      value_range: what black and white are in the file; None where the file says it itself.

    Returns:
      the pixels, and what was assumed ("" for nothing).

    Raises:
      ImageError: it can't be read, has another size or colours, or does not say what its pixels
        mean.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ImageError("no regular file")  # a FIFO would be waited for
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see MOST_PIXELS
            with Image.open(file, formats=_FORMATS) as picture:
                return _pixels(picture, conversion, value_range)
    except ImageError:
        raise
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


def _pixels(
    picture: Image.Image, conversion: Conversion, value_range: Range | None
) -> tuple[np.ndarray, str]:
    # From the header, before anything is decoded.
    width, height = picture.size
    size = IMAGE_SHAPE[1], IMAGE_SHAPE[0]
    if conversion.image_size is None and (width, height) != size:
        raise ImageError(
            f"{width}x{height} pixels, not 28x28 (--set image_size=28 scales and crops it)"
        )
    if width * height > MOST_PIXELS:
        raise ImageError(f"{width}x{height} pixels, more than {MOST_PIXELS:,} in all")
    frames = 1 if picture.format in _FIRST_FRAME else getattr(picture, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{frames} images in one file")
    picture.load()
    levels, how = _grey_levels(ImageOps.exif_transpose(picture), conversion, value_range)
    if levels.shape != IMAGE_SHAPE[:2]:
        fitted = ImageOps.fit(Image.fromarray(levels), size, Image.Resampling.LANCZOS)
        levels = np.asarray(fitted, np.uint8)
    return levels[..., None], how


def _grey_levels(
    picture: Image.Image, conversion: Conversion, value_range: Range | None
) -> tuple[np.ndarray, str]:
    """uint8 [height, width], and what was assumed."""
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
    if picture.mode not in ("1", "L"):
        colours = np.asarray(picture.convert("RGB"), np.uint8)
        spread = int((colours.max(axis=-1) - colours.min(axis=-1)).max())
        if spread > _GREY_SPREAD and conversion.channels != 1:
            raise ImageError("it is in colour (--set channels=1 makes it grey)")
        picture = Image.fromarray(colours)
    levels = np.asarray(picture.convert("L"), np.uint8)
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
