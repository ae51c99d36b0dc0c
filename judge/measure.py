"""From tallies of fakes and the real reference to figures.

`figures` gathers what `evaluation.json` calls `metrics`; every name is explained in
`judge/README.md`.
"""

import dataclasses
import logging
import math
from collections.abc import Callable

import numpy as np

from common.images import to_uint8
from judge import reference as reference_lib
from judge.generation import Fakes, first_seed, ordered_labels
from judge.reference import Reference, apportion
from metrics import frechet, kernel, labels, memorisation, pixels
from metrics.cas import classification_accuracy_score

_log = logging.getLogger(__name__)

# Below this accuracy on real reference images the classifier does not know these classes (it was
# made for other data), and nothing that it says about classes is reported.
KNOWS_CLASSES = 0.5


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The train image nearest to each of the first fakes of the sample, in pixels.

    Attributes:
      distances: float64 [N].
      indices: int64 [N], rows of the reference's train images.
    """

    distances: np.ndarray
    indices: np.ndarray


def protocol(num_fakes: int) -> str:
    """The name of FID's protocol: "fid_10k_test" for 10,000 fakes against the test split."""
    thousands = num_fakes % 1000 == 0
    return f"fid_{num_fakes // 1000}k_test" if thousands else f"fid_{num_fakes}_test"


def knows_classes(reference: Reference, fakes: Fakes) -> bool:
    """Whether the classifier's classes are those of the data."""
    return (
        fakes.sample.probabilities.shape[1] == reference.data.num_classes
        and reference.accuracy >= KNOWS_CLASSES
    )


def fid_figures(fakes: Fakes, reference: Reference, confidence: float) -> dict:
    """FID and what puts it into proportion."""
    real = frechet.FeatureStats.of(reference.features)
    found = frechet.frechet_interval(
        [group.moments for group in fakes.groups], real, level=confidence
    )
    return {
        "fid": found.estimate,
        "fid_interval": [max(found.low, 0.0), found.high],
        "fid_floor": reference.floor,
        "fid_ratio": found.estimate / reference.floor if reference.floor > 0 else math.nan,
        "fid_trace_share": frechet.frechet_share(found.estimate, real.cov),
    }


def variety_figures(fakes: Fakes, reference: Reference, conditional: bool) -> dict:
    """KID, precision, recall, density and coverage, with what real train images reach."""
    sample = fakes.sample.features
    kid, kid_error = kernel.kernel_distance(sample, reference.features)
    found = reference_lib.manifold_figures(reference.features, sample, reference.radii)
    if conditional:
        within = reference_lib.class_coverage(
            reference.features, reference.labels, sample, fakes.sample.asked
        )
        found["class_coverage"] = min(within.values(), default=math.nan)
    real = {f"real_{name}": reference.real_figures[name] for name in found}
    return {"kid": kid, "kid_error": kid_error, **found, **real}


def memory_figures(fakes: Fakes, reference: Reference) -> tuple[dict, Neighbours]:
    """Whether fakes repeat train images, in features and in pixels."""
    first = slice(reference_lib.MEMORY_SAMPLE)
    by_features, _ = memorisation.nearest(fakes.sample.features[first], reference.train_features)
    by_pixels, indices = memorisation.nearest(
        memorisation.pixel_rows(fakes.sample.images[first]),
        memorisation.pixel_rows(reference.train_images),
    )
    feature = memorisation.memorisation(by_features, reference.to_train)
    pixel = memorisation.memorisation(by_pixels, reference.to_train_pixels)
    return {
        "copies": pixel.suspect_share,
        "copies_features": feature.suspect_share,
        "nearest_ratio": pixel.ratio,
        "nearest_ratio_features": feature.ratio,
    }, Neighbours(by_pixels, indices)


def pixel_figures(fakes: Fakes, reference: Reference, conditional: bool) -> dict:
    """What pixels alone say: KLD of grey levels, sharpness, MSE (conditional generators only)."""
    sample = fakes.sample
    found = reference_lib.pixel_shape(reference.images, sample.images)
    found |= {f"real_{name}": reference.real_figures[name] for name in found}
    if conditional:
        found["pixel_mse"] = pixels.mse_to_nearest(
            sample.images,
            sample.asked,
            reference.images,
            reference.labels,
            reference.data.num_classes,
        ).mse
    return found


def class_figures(fakes: Fakes, reference: Reference, conditional: bool) -> tuple[dict, list[dict]]:
    """What the classifier says about the fakes' classes: figures, and one row a class.

    Both empty where the classifier does not know the data's classes.
    """
    if not knows_classes(reference, fakes):
        return {}, []
    num_classes = reference.data.num_classes
    counts, sample = fakes.total.confusion, fakes.sample
    # Real images go through the same classifier, so that its own habits cancel out.
    balance = labels.class_balance(
        counts.sum(axis=0), labels.label_histogram(reference.predicted, num_classes)
    )
    figures = {
        "reference_accuracy": reference.accuracy,
        "class_kl": balance.kl,
        "class_share": balance.smallest_ratio,
        "classifier_score": labels.classifier_score(sample.probabilities),
    }
    accuracy: dict[int, float] = {}
    if conditional:
        asked = labels.asked_accuracy(counts)
        accuracy = asked.per_class
        figures["accuracy"] = asked.accuracy
        figures["worst_class_accuracy"] = accuracy[asked.worst_class]
    distances = labels.per_class_frechet(
        labels.class_stats(reference.features, reference.labels, num_classes),
        labels.class_stats(sample.features, sample.classes(conditional), num_classes),
    )
    rows = [
        {
            "label": int(label),
            "name": reference.data.class_names[label],
            "share": balance.shares[label],
            "reference_share": balance.reference_shares[label],
            "accuracy": accuracy.get(int(label)),
            "reference_accuracy": float(
                np.mean(reference.predicted[reference.labels == label] == label)
            ),
            "fid": distances.get(int(label)),
            "fid_floor": reference.class_floors.get(int(label)),
        }
        for label in np.flatnonzero(reference.class_counts())
    ]
    return figures, rows


def classification_score(
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray], real: Reference, count: int, seed: int
) -> float:
    """Accuracy on the real reference of a classifier that was trained on fakes (CAS).

    Args:
      draw: (seeds, classes asked for) -> float images in [-1, 1].
      real: what it is tested on; its classes' shares are those of the fakes.
      count: fakes to train on.
      seed: of the judge.

    Returns:
      0..1; NaN where the generator can't give the fakes.
    """
    asked = ordered_labels(apportion(real.class_counts(), count), seed)
    # Behind the seeds of the other fakes: nothing is judged twice on the same images.
    seeds = first_seed(seed) + real.num_fakes + np.arange(count)
    try:
        images = to_uint8(draw(seeds, asked))
    except ValueError as error:
        _log.warning("no classification accuracy score: %s", error)
        return math.nan
    return classification_accuracy_score(
        images, asked, real.images, real.labels, real.data.num_classes, seed=seed
    ).accuracy


def compare(fakes: Fakes, baseline: Fakes, reference: Reference, confidence: float) -> dict:
    """How much worse than the baseline, paired: both were drawn from the same seeds and labels.

    Returns:
      `fid` of the baseline; `difference` and `difference_interval` of FID, candidate minus
      baseline: below 0 is better.
    """
    real = frechet.FeatureStats.of(reference.features)
    found = frechet.frechet_interval(
        [group.moments for group in fakes.groups],
        real,
        baseline=[group.moments for group in baseline.groups],
        level=confidence,
    )
    return {
        "fid": frechet.frechet_distance_between(baseline.total.moments, real),
        "difference": found.estimate,
        "difference_interval": [found.low, found.high],
    }
