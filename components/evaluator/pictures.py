"""What the judge saw, as pictures. NumPy and Pillow only."""

import numpy as np
from PIL import Image

from components.evaluator.generation import Fakes
from components.evaluator.reference import Reference
from serving.local import contact_sheet

_COLUMNS = 20
_ROWS = 5


def real_above_fake(reference: Reference, fakes: Fakes) -> Image.Image:
    """Real test images above fakes, both in order of class, a column for each class or two."""
    sheets = [
        contact_sheet(images[_in_columns(labels)], _COLUMNS)
        for images, labels in (
            (reference.images, reference.labels),
            (fakes.sample.images, fakes.sample.asked),
        )
    ]
    width = max(sheet.width for sheet in sheets)
    line = Image.new("L", (width, 6), 96)
    return stack([sheets[0], line, sheets[1]])


def stack(pictures: list[Image.Image]) -> Image.Image:
    """The pictures one below the other, on white."""
    sheet = Image.new(
        pictures[0].mode,
        (max(p.width for p in pictures), sum(p.height for p in pictures)),
        "white",
    )
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def _in_columns(labels: np.ndarray) -> np.ndarray:
    """Indices of images for a sheet of _ROWS x _COLUMNS, classes from left to right."""
    order = np.argsort(labels, kind="stable")
    # Evenly spaced in the sorted order: every class gets its share of columns.
    picks = order[np.linspace(0, len(order) - 1, _ROWS * _COLUMNS).astype(int)]
    return picks.reshape(_COLUMNS, _ROWS).T.ravel()
