"""From tallies of fakes and the real reference to figures. NumPy only."""

import math

import numpy as np

from components.evaluator.generation import Fakes
from components.evaluator.reference import Reference
from metrics import frechet

# Below this accuracy on real reference images the classifier does not know these classes (it was
# made for other data), and nothing that it says about classes is reported.
KNOWS_CLASSES = 0.5


def protocol(num_fakes: int) -> str:
    """The name of FID's protocol: "fid_10k_test" for 10,000 fakes against the test split."""
    thousands = num_fakes % 1000 == 0
    return f"fid_{num_fakes // 1000}k_test" if thousands else f"fid_{num_fakes}_test"


def knows_classes(reference: Reference) -> bool:
    """Whether the classifier's classes are those of the data."""
    return reference.accuracy >= KNOWS_CLASSES


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


def class_figures(fakes: Fakes, reference: Reference) -> tuple[dict, list[dict]]:
    """What the classifier says about the fakes' classes: figures, and one row a class.

    Empty where the classifier does not know the data's classes.
    """
    if not knows_classes(reference):
        return {}, []
    total = fakes.total
    finite = total.drawn - total.not_finite
    counts = reference.class_counts()
    # Real images go through the same classifier, so that its own habits cancel out.
    real = np.bincount(reference.predicted, minlength=len(total.predicted)) / len(reference.labels)
    shares = total.predicted / max(finite, 1)
    sample = fakes.sample
    guesses = sample.probabilities.argmax(axis=1)
    rows = []
    for label in np.flatnonzero(counts):
        asked = sample.asked == label
        rows.append(
            {
                "label": int(label),
                "name": reference.data.class_names[label],
                "share": float(shares[label]),
                "reference_share": float(real[label]),
                "accuracy": float(np.mean(guesses[asked] == label)) if asked.any() else None,
            }
        )
    return {
        "accuracy": total.correct / max(finite, 1),
        "reference_accuracy": reference.accuracy,
        "class_share": min(
            row["share"] / row["reference_share"] for row in rows if row["reference_share"] > 0
        ),
    }, rows


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
