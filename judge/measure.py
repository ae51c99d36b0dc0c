"""From fakes and the real reference to what the registry's rows ask for."""

import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from common.images import to_uint8
from judge import reference as reference_lib
from judge import registry
from judge.generation import Fakes, first_seed, ordered_labels
from judge.reference import Reference, apportion
from metrics import frechet, ink, kernel, labels, manifold, neighbours
from metrics import relative as relative_lib
from metrics import two_sample as two_sample_lib
from metrics.cas import classification_accuracy_score

_log = logging.getLogger(__name__)

# Below this accuracy on real reference images the classifier does not know these classes (it was
# made for other data), and nothing that it says about classes is reported.
KNOWS_CLASSES = 0.5


def protocol(num_fakes: int) -> str:
    """The name of FID's protocol: "fid_10k_train" for 10,000 fakes against train images."""
    thousands = num_fakes % 1000 == 0
    return f"fid_{num_fakes // 1000}k_train" if thousands else f"fid_{num_fakes}_train"


class Measured:
    """Fakes of one generator beside real images; each property is measured when it is asked for.

    Args:
      fakes: at least `reference.num_fakes` finite images.
      reference: the real images.
      extractors: the extractors; those of the reference.
      conditional: whether the fakes are of the class asked for.
      confidence: level of the intervals.
      cas: accuracy on real images of a classifier trained on fakes; None where it was not asked
        for.
    """

    def __init__(
        self,
        fakes: Fakes,
        reference: Reference,
        extractors: reference_lib.Extractors,
        *,
        conditional: bool = True,
        confidence: float = 0.95,
        cas: float | None = None,
    ) -> None:
        self.fakes, self.real, self.conditional = fakes, reference, conditional
        self.confidence, self.cas = confidence, cas
        self._extractors = extractors
        # What is compared all with all.
        self.images = fakes.images[: reference_lib.SAMPLE]

    def all(self) -> dict:
        """What `evaluation.json` calls `metrics`: every row of the registry that applies."""
        found: dict = {}
        for metric in registry.METRICS:
            value = metric.measure(self)
            if value is None:
                continue
            if isinstance(value, tuple):
                value, *interval = value
                found[f"{metric.key}_interval"] = interval
            found[metric.key] = value
            real = self.of_real(metric.key)
            if real is not None:
                found[f"real_{metric.key}"] = real
        return found

    @functools.cached_property
    def seen(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What `Extractors.see` gives of the fakes."""
        return self._extractors.see(self.fakes.images)

    @property
    def features(self) -> dict[str, np.ndarray]:
        return self.seen[0]

    @property
    def probabilities(self) -> np.ndarray:
        return self.seen[1]

    def of_real(self, key: str) -> float | None:
        return self.real.accuracy if key == "accuracy" else self.real.scores.get(key)

    @functools.cached_property
    def classes(self) -> np.ndarray:
        """int64 [N]: the class asked for, or the one seen of an unconditional generator."""
        if self.conditional or not self.knows_classes:
            return self.fakes.asked
        return self.probabilities.argmax(axis=1)

    @functools.cached_property
    def knows_classes(self) -> bool:
        """Whether the classifier's classes are those of the data."""
        return (
            self.probabilities.shape[1] == self.real.data.num_classes
            and self.real.accuracy >= KNOWS_CLASSES
        )

    @functools.cached_property
    def strata(self) -> np.ndarray:
        """int64 [N]: the class asked for; all alike where nobody can ask."""
        return self.fakes.asked if self.conditional else np.zeros_like(self.fakes.asked)

    # Distances.

    @functools.cached_property
    def relative(self) -> dict[str, relative_lib.RelativeFid]:
        """Relative FID by extractor."""
        return {
            name: relative_lib.relative_fid(
                self.features[name], self.strata, folds, level=self.confidence
            )
            for name, folds in self.real.folds.items()
        }

    @property
    def first_relative(self) -> relative_lib.RelativeFid:
        return self.relative[self.real.first]

    @property
    def worst_extractor(self) -> str:
        """The extractor on which relative FID is largest."""
        return max(self.relative, key=lambda name: self.relative[name].value)

    @property
    def worst_relative(self) -> tuple[float, float, float]:
        worst = self.relative[self.worst_extractor]
        return worst.value, worst.low, worst.high

    def relative_of(self, name: str) -> tuple[float, float, float] | None:
        found = self.relative.get(name)
        return None if found is None else (found.value, found.low, found.high)

    @property
    def fid_test(self) -> float:
        first = self.real.first
        return frechet.frechet_distance_from_features(
            self.features[first][: len(self.real.labels)], self.real.features[first]
        )

    @property
    def kid(self) -> float:
        first = self.real.first
        return kernel.kernel_distance(
            self.features[first][: reference_lib.SAMPLE],
            self.real.train_features[first][self.real.sample_rows],
        )

    # Two samples.

    @functools.cache  # noqa: B019 - lives as long as the judgement
    def _two_sample(self, view: str) -> two_sample_lib.TwoSample:
        shown = two_sample_lib.binarised if view == "binary" else lambda images: images
        return two_sample_lib.two_sample(
            shown(self.images), shown(self.real.sample), level=self.confidence
        )

    def sure(self, view: str) -> float:
        return self._two_sample(view).sure

    def two_sample(self, view: str, field: str) -> tuple[float, float, float]:
        found = self._two_sample(view)
        return tuple(getattr(found, field + ending) for ending in ("", "_low", "_high"))

    # Ink.

    @functools.cached_property
    def ink(self) -> dict[str, np.ndarray]:
        return ink.statistics(self.images)

    def ink_mean(self, name: str) -> float:
        return float(self.ink[name].mean())

    def ink_tell(self, name: str) -> float:
        return ink.one_threshold_accuracy(self.ink[name], self.real.sample_ink[name])

    @property
    def level_divergence(self) -> float:
        return ink.level_divergence(
            ink.level_histogram(self.images), ink.level_histogram(self.real.sample)
        )

    @property
    def pixel_shift(self) -> float:
        return ink.pixel_shift(self.images, self.real.sample)

    @property
    def pieces(self) -> float:
        return float(np.mean(self.ink["pieces"] > 1))

    @property
    def holes(self) -> float | None:
        if not (self.conditional or self.knows_classes):
            return None
        classes = self.classes[: len(self.images)]
        return float(np.mean(self.ink["holes"] != self.real.usual_holes[classes]))

    # One by one.

    @functools.cached_property
    def nearest(self) -> neighbours.Neighbours:
        """The nearest train images of the first fakes."""
        count = reference_lib.MEMORY_FAKES
        images = self.images[:count]
        return neighbours.neighbours(
            {name: rows[:count] for name, rows in self.features.items()},
            images,
            self.real.train_features,
            self.real.train_images,
            neighbours.telling_places(images, self.real.sample),
        )

    def _beyond(self, values: np.ndarray, name: str) -> float:
        return float(np.mean(values > self.real.far_near[name][0]))

    @property
    def outliers(self) -> float:
        return max(self._beyond(found, name) for name, found in self.nearest.distances.items())

    @property
    def outliers_ink(self) -> float:
        return self._beyond(neighbours.tail_scores(*self._telling), "ink")

    @property
    def broken(self) -> float:
        return float(np.mean(neighbours.beyond(*self._telling) > 0.5))

    @property
    def _telling(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        fakes, real = (
            {name: found[name] for name in ink.TELLING}
            for found in (self.ink, self.real.sample_ink)
        )
        return fakes, real

    @property
    def outliers_place(self) -> float:
        return self._beyond(neighbours.rare_ink(self.images, self.real.rare), "place")

    @property
    def copies(self) -> float:
        return float(np.mean(self.nearest.trimmed < self.real.far_near["trimmed"][1]))

    def copies_in(self, space: str) -> float:
        return float(np.mean(self.nearest.distances[space] < self.real.far_near[space][1]))

    @property
    def repeats(self) -> float:
        found = neighbours.repeats(neighbours.blurred_rows(self.images))
        return float(np.mean(found < self.real.far_near["repeats"][1]))

    # Variety and classes.

    @functools.cached_property
    def manifold(self) -> manifold.ManifoldScores:
        first = self.real.first
        return manifold.manifold_scores(
            self.real.features[first],
            self.features[first][: reference_lib.SAMPLE],
            reference_lib.NEIGHBOURS,
            real_radii=self.real.radii,
        )

    @property
    def class_coverage(self) -> float | None:
        if not self.conditional:
            return None
        first, count = self.real.first, reference_lib.SAMPLE
        within = reference_lib.class_coverage(
            self.real.features[first],
            self.real.labels,
            self.features[first][:count],
            self.fakes.asked[:count],
        )
        return min(within.values(), default=math.nan)

    @functools.cached_property
    def confusion(self) -> np.ndarray | None:
        """Counts [class asked for, class seen]; None where the classifier knows other classes."""
        if not self.knows_classes:
            return None
        return labels.confusion(
            self.fakes.asked, self.probabilities.argmax(axis=1), self.real.data.num_classes
        )

    @functools.cached_property
    def balance(self) -> labels.ClassBalance | None:
        # Real images go through the same classifier, so that its own habits cancel out.
        if self.confusion is None:
            return None
        real = labels.label_histogram(self.real.predicted, self.real.data.num_classes)
        return labels.class_balance(self.confusion.sum(axis=0), real)

    @functools.cached_property
    def class_accuracy(self) -> dict[int, float]:
        """Accuracy by class asked for; empty where nobody can ask, or the classifier can't tell."""
        if self.confusion is None or not self.conditional:
            return {}
        return labels.class_accuracy(self.confusion)

    @property
    def accuracy(self) -> float | None:
        if self.confusion is None or not self.conditional:
            return None
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def worst_class_accuracy(self) -> float | None:
        return min(self.class_accuracy.values(), default=None)

    @property
    def class_share(self) -> float | None:
        return None if self.balance is None else self.balance.smallest_ratio

    @property
    def class_kl(self) -> float | None:
        return None if self.balance is None else self.balance.kl

    @property
    def class_rows(self) -> list[dict]:
        """One row per class; none where the classifier does not know the data's classes."""
        if self.balance is None:
            return []
        real = self.real
        fake_ink = (self.ink, self.classes[: len(self.images)])
        real_ink = (real.sample_ink, real.train_labels[real.sample_rows])
        return [
            {
                "label": int(label),
                "name": real.data.class_names[label],
                "share": self.balance.shares[label],
                "reference_share": self.balance.reference_shares[label],
                "accuracy": self.class_accuracy.get(int(label)),
                "reference_accuracy": float(np.mean(real.predicted[real.labels == label] == label)),
                **self._ink_of_class(int(label), *fake_ink),
                **{
                    f"reference_{k}": v
                    for k, v in self._ink_of_class(int(label), *real_ink).items()
                },
            }
            for label in np.flatnonzero(real.class_counts())
        ]

    def _ink_of_class(
        self, label: int, found: dict[str, np.ndarray], labels: np.ndarray
    ) -> dict[str, float | None]:
        """Of one class the shares in more than one piece, and with an unusual number of holes."""
        mine = labels == label
        if not mine.any():
            return {"pieces": None, "holes": None}
        usual = self.real.usual_holes[label]
        return {
            "pieces": float(np.mean(found["pieces"][mine] > 1)),
            "holes": float(np.mean(found["holes"][mine] != usual)),
        }


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
    # After the seeds of the other fakes: nothing is judged twice on the same images.
    seeds = first_seed(seed) + real.num_fakes + np.arange(count)
    try:
        images = to_uint8(draw(seeds, asked))
    except ValueError as error:
        _log.warning("no classification accuracy score: %s", error)
        return math.nan
    return classification_accuracy_score(
        images, asked, real.images, real.labels, real.data.num_classes, seed=seed
    )


def compare(measured: Measured, baseline: Measured) -> dict:
    """How much worse than the baseline, paired: both were drawn from the same seeds and labels.

    Returns:
      `fid` of the baseline and `difference` and `difference_interval` of FID, candidate minus
      baseline (below 0 is better), all by the extractor by which the candidate is credibly worse
      by the largest share; `extractor`, its name; and `relative_fid` of the baseline, its worst.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, folds in measured.real.folds.items():
        difference, low, high = relative_lib.paired_difference(
            measured.features[name],
            baseline.features[name],
            measured.strata,
            folds,
            level=measured.confidence,
        )
        found[name] = {
            "extractor": name,
            "fid": baseline.relative[name].fid,
            "difference": difference,
            "difference_interval": [low, high],
        }
    worst = max(found.values(), key=lambda f: f["difference_interval"][0] / max(f["fid"], 1e-12))
    return worst | {"relative_fid": baseline.worst_relative[0]}
