"""What the judge saw, as images in the folder of the evaluation."""

import pathlib

import numpy as np

from common.images import BETWEEN
from judge import plots
from judge.generation import Fakes
from judge.measure import Measured
from judge.reference import Reference

_COLUMNS = 20
_ROWS = 5
_EXTREMES = 40
_PAIRS = 20


def draw(
    folder: pathlib.Path, reference: Reference, fakes: Fakes, measured: Measured | None
) -> None:
    """Writes `real_above_fake.png`, where there are fakes, and where they could be measured
    `worst_and_best.png`, `nearest_train.png` and `nearest_distances.png`.

    Args:
      folder: made if needed.
      reference, fakes: what was judged.
      measured: what `assess.judge` returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not len(fakes.images):
        return
    classes = fakes.asked if measured is None else measured.classes
    plots.real_above_fake(
        folder / "real_above_fake.png",
        reference.images[_in_columns(reference.labels)],
        fakes.images[_in_columns(classes)],
        columns=_COLUMNS,
    )
    if measured is None:
        return
    near = measured.nearest
    classes = classes[: len(near.trimmed)]
    _draw_extremes(folder / "worst_and_best.png", measured, classes)
    limit = float(reference.far_near["trimmed"][1])
    chosen = _shared_out(np.argsort(near.trimmed, kind="stable"), classes, _PAIRS)
    plots.pairs(
        folder / "nearest_train.png",
        fakes.images[chosen],
        reference.train_images[near.closest[chosen]],
        near.trimmed[chosen],
        title="Of each class, the generated images nearest to training images",
        note=(
            "in pixels, white counting 1, the pixels that differ most left out; a copy has 0, and "
            f"of real test images 1 in 100 is below {limit:.2f}"
        ),
    )
    plots.histogram(
        folder / "nearest_distances.png",
        near.trimmed,
        xlabel="distance to the nearest training image, in pixel space",
        title="Does it repeat what it was trained on?",
        limit=limit,
        limit_name="nearer: 1 % of real test images",
    )


def _draw_extremes(path: pathlib.Path, measured: Measured, classes: np.ndarray) -> None:
    # How far a fake lies from the real images, by the extractor on which it is worst.
    order = np.argsort(measured.nearest.distances[measured.worst_extractor], kind="stable")
    best = _shared_out(order, classes, _EXTREMES)
    worst = order[::-1][: len(best)]
    rows = -(-len(best) // _COLUMNS)
    images = measured.images
    blank = np.full((rows * _COLUMNS - len(best), *images.shape[1:]), BETWEEN, np.uint8)
    plots.digit_grid(
        path,
        np.concatenate([part for chosen in (worst, best) for part in (images[chosen], blank)]),
        _COLUMNS,
        row_names=["worst", *[""] * (rows - 1), "best", *[""] * (rows - 1)],
        title="Farthest from any train image; and, of each class, nearest to one",
    )


def _shared_out(order: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The first of `order` in each class, as many of each as fit into `count`, class after class.

    Else the simplest class, ones among the digits, would fill every image.
    """
    classes = np.unique(labels)
    each = max(1, count // len(classes))
    return np.concatenate([order[labels[order] == label][:each] for label in classes])[:count]


def _in_columns(labels: np.ndarray) -> np.ndarray:
    """Indices of images for a sheet of _ROWS x _COLUMNS, classes from left to right."""
    order = np.argsort(labels, kind="stable")
    # Evenly spaced in the sorted order: every class gets its share of columns.
    picks = order[np.linspace(0, len(order) - 1, _ROWS * _COLUMNS).astype(int)]
    return picks.reshape(_COLUMNS, _ROWS).T.ravel()
