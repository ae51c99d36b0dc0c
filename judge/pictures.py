"""What the judge saw, as pictures in the folder of the evaluation."""

import pathlib

import numpy as np

from judge import plots
from judge.generation import Fakes
from judge.measure import Neighbours
from judge.reference import Reference
from metrics import frechet, memorisation

_COLUMNS = 20
_ROWS = 5
_EXTREMES = 40
_PAIRS = 20
_STEPS = 10


def draw(
    folder: pathlib.Path,
    document: dict,
    reference: Reference,
    fakes: Fakes,
    neighbours: Neighbours | None,
    *,
    conditional: bool = True,
    baseline: Fakes | None = None,
) -> None:
    """Writes the pictures that there is something to show on.

    `real_above_fake.png`; and where the generator could be measured, `worst_and_best.png`,
    `nearest_train.png`, `class_shares.png`, `class_fid.png` and `class_accuracy.png`,
    `precision_recall.png`, `density_coverage.png`, `fid.png`, `nearest_distances.png`.

    Args:
      folder: made if needed.
      document: what `judge` returned.
      reference, fakes: what it was made from.
      neighbours: nearest train images of the fakes, as `judge` returned them.
      conditional: whether the fakes are of the class asked for.
      baseline: fakes of the generator that it was compared with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sample = fakes.sample
    if not len(sample.images):
        return
    classes = sample.classes(conditional)
    plots.real_above_fake(
        folder / "real_above_fake.png",
        reference.images[_in_columns(reference.labels)],
        sample.images[_in_columns(classes)],
        columns=_COLUMNS,
    )
    if neighbours is None:
        return
    _draw_extremes(folder / "worst_and_best.png", reference, fakes, classes)
    _draw_neighbours(folder / "nearest_train.png", reference, fakes, neighbours, classes)
    _draw_classes(folder, document)
    _draw_variety(folder, document["metrics"])
    shown = {"this generator": fakes}
    if baseline is not None:
        shown["blessed before"] = baseline
    _draw_fid(folder / "fid.png", reference, shown, document["metrics"]["fid_interval"])
    plots.histograms(
        folder / "nearest_distances.png",
        {"real test images": reference.to_train_pixels, "generated": neighbours.distances},
        xlabel="distance to the nearest training image, in pixel space",
        title="Does it repeat what it was trained on?",
        lines={"nearer: 1 % of the test images": _near(reference)},
    )


def _near(reference: Reference) -> float:
    """The distance to the nearest train image below which only 1 % of the test images are."""
    return float(np.quantile(reference.to_train_pixels, 0.01))


def _draw_extremes(
    path: pathlib.Path, reference: Reference, fakes: Fakes, classes: np.ndarray
) -> None:
    # How far a fake lies from the real images, in the features that FID looks at.
    distances, _ = memorisation.nearest(fakes.sample.features, reference.features)
    order = np.argsort(distances, kind="stable")
    best = _shared_out(order, classes, _EXTREMES)
    worst = order[::-1][: len(best)]
    rows = -(-len(best) // _COLUMNS)
    blank = np.full((rows * _COLUMNS - len(best), *fakes.sample.images.shape[1:]), 255, np.uint8)
    images = [part for chosen in (worst, best) for part in (fakes.sample.images[chosen], blank)]
    plots.digit_grid(
        path,
        np.concatenate(images),
        _COLUMNS,
        row_names=["worst", *[""] * (rows - 1), "best", *[""] * (rows - 1)],
        title="Farthest from any real test image; and, of each class, nearest to one",
    )


def _draw_neighbours(
    path: pathlib.Path,
    reference: Reference,
    fakes: Fakes,
    neighbours: Neighbours,
    classes: np.ndarray,
) -> None:
    order = np.argsort(neighbours.distances, kind="stable")
    chosen = _shared_out(order, classes, _PAIRS)
    plots.pairs(
        path,
        fakes.sample.images[chosen],
        reference.train_images[neighbours.indices[chosen]],
        neighbours.distances[chosen],
        title="Of each class, the generated images nearest to training images",
        note=(
            "in pixels, white counting 1; a copy has 0, and of real test images 1 in 100 is below "
            f"{_near(reference):.2f}"
        ),
    )


def _draw_classes(folder: pathlib.Path, document: dict) -> None:
    rows = document["classes"]
    if not rows:
        return
    names = [row["name"] for row in rows]
    plots.class_bars(
        folder / "class_shares.png",
        {
            "real": [row["reference_share"] for row in rows],
            "generated": [row["share"] for row in rows],
        },
        names,
        ylabel="share",
        title="Classes that the classifier sees",
        percent=True,
    )
    plots.class_bars(
        folder / "class_fid.png",
        {
            "real train images": [row["fid_floor"] for row in rows],
            "generated": [row["fid"] for row in rows],
        },
        names,
        ylabel="FID within the class",
        title="How far each class is from that of the real test images",
    )
    if any(row["accuracy"] is not None for row in rows):
        plots.class_bars(
            folder / "class_accuracy.png",
            {
                "real test images": [row["reference_accuracy"] for row in rows],
                "generated": [row["accuracy"] for row in rows],
            },
            names,
            ylabel="taken for what they should be",
            title="Does it draw what it was asked for? The classifier says",
            percent=True,
        )


def _draw_variety(folder: pathlib.Path, figures: dict) -> None:
    for name, upper, right, axes in (
        ("precision_recall", "precision", "recall", ("recall: variety", "precision: fidelity")),
        ("density_coverage", "density", "coverage", ("coverage: variety", "density: fidelity")),
    ):
        plots.precision_recall_plot(
            folder / f"{name}.png",
            {
                "generated": (figures[upper], figures[right]),
                "real train images": (figures[f"real_{upper}"], figures[f"real_{right}"]),
            },
            axes_names=axes,
            title="Against the real test images",
        )


def _draw_fid(
    path: pathlib.Path, reference: Reference, series: dict[str, Fakes], interval: list[float]
) -> None:
    """FID against how many fakes it is measured on: it falls with n for anything, real or not."""
    real = frechet.FeatureStats.of(reference.features)
    curves = {
        name: _growing([group.moments for group in fakes.groups], real)
        for name, fakes in series.items()
    }
    first = next(iter(curves))
    parts = np.array_split(reference.real_sample, _STEPS)
    floor = {
        "real train images (floor)": _growing(
            [frechet.FeatureStats.of(part) for part in parts], real
        )
    }
    plots.lines(
        path,
        {first: curves.pop(first), **floor, **curves},
        xlabel="images that it is measured on",
        ylabel="FID",
        title="FID falls with the number of images: it compares at the same number only",
        log=True,
        intervals={first: tuple(interval)},
    )


def _growing(
    groups: list[frechet.FeatureStats], real: frechet.FeatureStats
) -> tuple[list[int], list[float]]:
    ends = sorted({max(1, len(groups) * step // _STEPS) for step in range(1, _STEPS + 1)})
    merged = [frechet.FeatureStats.combined(groups[:end]) for end in ends]
    return (
        [stats.n for stats in merged],
        [frechet.frechet_distance_between(stats, real) for stats in merged],
    )


def _shared_out(order: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The first of `order` in each class, as many of each as fit into `count`, class after class.

    Else the simplest class, ones among the digits, would fill every picture.
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
