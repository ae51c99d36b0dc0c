"""Digits and judgements about them as PNG files. Pillow and Matplotlib.

Every function writes its file whole or not at all and returns nothing; the same arguments give the
same bytes with the same libraries. Digits are grey on black as the data has them, enlarged without
smoothing.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from common.files import atomic_path
from common.images import BETWEEN, IMAGE_SHAPE, check_images, tile

# Nothing for paper and a middle grey for ink: legible on light pages and on dark ones.
_EDGE = 10  # pixels right of a sheet and below it
_SCALE = 2  # how many pixels a pixel becomes
_SIDE = "image side"  # in a PNG's text: pixels across each of its images, before enlarging
_PAPER, _INK = (255, 255, 255, 0), (118, 118, 118, 255)
_LINE, _FAKE = "#767676", "#d1702f"  # seen on light and on dark pages


def digit_grid(
    path: str | os.PathLike,
    images: np.ndarray,
    columns: int,
    *,
    row_names: Sequence[str] = (),
    title: str = "",
) -> None:
    """A sheet of digits, with a name at the left of each row and a title, where given.

    Args:
      path: the PNG to write.
      images: uint8 [N, H, W, C], N >= 1, row by row.
      columns: how many in a row.
      row_names: one name per row, or none.
      title: one line above.

    Raises:
      ValueError: wrong dtype or shape, or another number of names than of rows.
    """
    sheet = tile(images, columns, scale=_SCALE)
    rows = -(-len(images) // columns)
    if row_names and len(row_names) != rows:
        raise ValueError(f"row_names must be {rows}, one per row, got {len(row_names)}")
    page = _labelled([("", sheet)], title, row_names)
    page.info[_SIDE] = str(images.shape[1])
    _write(page, path)


def first_column(path: str | os.PathLike) -> list[Image.Image]:
    """The first image of each row of a `digit_grid` of ten columns, grey, twice as large."""
    with Image.open(path) as sheet:
        side = _SCALE * int(sheet.info.get(_SIDE, IMAGE_SHAPE[0]))  # older sheets do not say it
    pitch = side + 2  # the gap of `tile`
    with Image.open(path) as sheet:
        left, bottom = sheet.width - _EDGE - 10 * pitch, sheet.height - _EDGE
        tops = range(bottom - pitch, 0, -pitch)
        return [
            sheet.crop((left, top, left + side, top + side)).convert("L") for top in reversed(tops)
        ]


def real_above_fake(
    path: str | os.PathLike, real: np.ndarray, fake: np.ndarray, *, columns: int
) -> None:
    """Two sheets of digits, the real ones above the generated ones.

    Args:
      path: the PNG to write.
      real, fake: uint8 [N, H, W, C], N >= 1; in the same order of classes.
      columns: how many in a row; one class per column if the images are in that order.

    Raises:
      ValueError: wrong dtypes or shapes.
    """
    sheets = [
        ("real", tile(real, columns, scale=_SCALE)),
        ("generated", tile(fake, columns, scale=_SCALE)),
    ]
    _write(_labelled(sheets, "", ()), path)


def pairs(
    path: str | os.PathLike,
    upper: np.ndarray,
    lower: np.ndarray,
    values: Sequence[float],
    *,
    title: str = "",
    note: str = "",
    columns: int = 10,
) -> None:
    """Pairs of digits one above the other, each with a number below: a fake and its neighbour.

    Args:
      path: the PNG to write.
      upper, lower: uint8 [N, H, W, C], N >= 1.
      values: N numbers, such as distances.
      title: one line above.
      note: what the numbers are to be read by; goes below the title.
      columns: pairs in a row.

    Raises:
      ValueError: wrong dtypes or shapes, or different counts.
    """
    if not len(upper) == len(lower) == len(values):
        raise ValueError(
            "upper, lower and values must be equally many, "
            f"got {len(upper)}, {len(lower)} and {len(values)}"
        )
    columns = min(columns, len(upper))
    sheets: list[tuple[str, np.ndarray]] = []
    captions = []
    for start in range(0, len(upper), columns):
        part = slice(start, start + columns)
        both = np.concatenate([_filled(upper[part], columns), _filled(lower[part], columns)])
        sheets.append(("", tile(both, columns, scale=_SCALE)))
        captions.append([f"{value:.3g}" for value in values[part]])
    subtitle = "above: generated; below: nearest in training; the number: their distance"
    subtitle += f"\n{note}" if note else ""
    _write(_labelled(sheets, title, (), captions=captions, subtitle=subtitle), path)


def histogram(
    path: str | os.PathLike,
    values: np.ndarray,
    *,
    xlabel: str,
    title: str,
    limit: float,
    limit_name: str,
) -> None:
    """The distribution of numbers of generated images, and a dashed upright line.

    Args:
      path: the PNG to write.
      values: numbers [N]; what is not finite is left out.
      xlabel: what the numbers are.
      title: one line above.
      limit, limit_name: where the line is, and what it is.

    Raises:
      ValueError: no finite number.
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        raise ValueError("values must hold at least one finite number")
    # The object interface: no global state, no display, safe in threads.
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.hist(
        values, 60, density=True, histtype="stepfilled", alpha=0.45, color=_FAKE, label="generated"
    )
    axes.axvline(limit, color=_LINE, linestyle="--", linewidth=1, label=limit_name)
    axes.set_xlabel(xlabel)
    axes.set_yticks([])
    axes.legend(frameon=False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    for text in figure.findobj(Text):
        text.set_color([part / 255 for part in _INK])
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        figure.savefig(file, format="png", dpi=110, transparent=True, metadata={"Software": None})


def _filled(images: np.ndarray, columns: int) -> np.ndarray:
    """Pads a row of images with grey ones, so that a second row starts below the first."""
    images = check_images("images", images)
    missing = columns - len(images)
    return np.concatenate([images, np.full((missing, *images.shape[1:]), BETWEEN, np.uint8)])


def _write(page: Image.Image, path: str | os.PathLike) -> None:
    told = PngImagePlugin.PngInfo()
    for name, text in page.info.items():
        told.add_text(str(name), text)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        page.save(file, format="PNG", optimize=True, pnginfo=told)


def _labelled(
    sheets: Sequence[tuple[str, np.ndarray]],
    title: str,
    row_names: Sequence[str],
    captions: Sequence[Sequence[str]] = (),
    subtitle: str = "",
) -> Image.Image:
    """Sets sheets of digits below each other, with text about them."""
    font, small = ImageFont.load_default(16), ImageFont.load_default(13)
    left = 10 + int(max([0.0, *(small.getlength(name) + 8 for name in row_names)]))
    wide = max(sheet.shape[1] for _, sheet in sheets)
    below = subtitle.splitlines()
    texts = max(font.getlength(title), *map(small.getlength, below), 0.0)
    width = int(max(left + wide, texts + 20)) + _EDGE
    heads = [22 if name else 6 for name, _ in sheets]
    feet = [18 if captions else 0] * len(sheets)
    top = 8 + (24 if title else 0) + 20 * len(below)
    height = top + sum(heads) + sum(feet) + sum(sheet.shape[0] for _, sheet in sheets) + _EDGE
    page = Image.new("RGBA", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((10, 8), title, _INK, font)
    for index, line in enumerate(below):
        draw.text((10, 8 + (24 if title else 0) + 20 * index), line, _INK, small)
    for index, (name, sheet) in enumerate(sheets):
        if name:
            draw.text((left, top + 3), name, _INK, small)
        top += heads[index]
        page.paste(Image.fromarray(sheet).convert("RGBA"), (left, top))
        for row, row_name in enumerate(row_names):
            middle = top + (row + 0.5) * sheet.shape[0] / len(row_names)
            draw.text((left - 6, middle), row_name, _INK, small, anchor="rm")
        top += sheet.shape[0]
        if captions:
            columns = max(map(len, captions))
            names = [*captions[index], *[""] * (columns - len(captions[index]))]
            _across(draw, names, left, wide, top + 2, small)
            top += feet[index]
    return page


def _across(
    draw: ImageDraw.ImageDraw, names: Sequence[str], left: int, width: int, top: int, font: Any
) -> None:
    """Writes a name over the middle of each column."""
    for index, name in enumerate(names):
        draw.text((left + (index + 0.5) * width / len(names), top), name, _INK, font, anchor="ma")
