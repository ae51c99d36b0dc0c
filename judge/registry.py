"""Every metric of the judge, one row each. Needs neither TensorFlow nor TFX.

From these rows come `evaluation.json`, the checks of the verdict, the settings, the table of
`mnist-gan evaluate`, the console, the report and the table in the documentation. To add a metric,
add a row.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

STRICTNESS = ("smoke", "standard", "quality")
Measured = Any  # judge.measure.Measured, which this module must not import


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
      key: in `evaluation.json` (under `metrics`, with `key_interval` and `real_key` where there
        is an interval and a value of real images), in ML Metadata and in the names of settings.
      title: for people.
      group: heading under which it is listed.
      direction: -1 lower is better, 1 higher is better, 0 neither.
      measure: `judge.measure.Measured` -> value, or (value, low, high), or None where the metric
        does not apply.
      format: Python's format specification.
      beside: what `real_key` is: the value of real images that the metric is read against.
      relative: whether the threshold is for value / real value instead of the value.
      thresholds: of MNIST for standard and quality, and of scikit-learn's digits, None for none;
        empty: the metric decides nothing. `smoke` has none at all.
      held_out: what MNIST's eval split scores, over the value of real images where the threshold
        is; not less than chance gives.
      perfect: the best value that there is, where lower is better.
      about: one sentence for the documentation.
    """

    key: str
    title: str
    group: str
    direction: int
    measure: Callable[[Measured], Any]
    format: str = ".3f"
    beside: str = ""
    relative: bool = False
    thresholds: tuple[float | None, ...] = ()
    held_out: float = 0.0
    perfect: float = 0.0
    about: str = ""

    @property
    def setting(self) -> str:
        """Name of the threshold in the settings, such as max_relative_fid."""
        return f"{'max' if self.direction < 0 else 'min'}_{self.key}"

    @property
    def is_share(self) -> bool:
        """Whether it counts images of which good generators have hardly any."""
        return (
            self.direction < 0 and self.format.endswith("%") and not (self.perfect or self.relative)
        )

    def threshold(
        self, strictness: str, dataset: str = "mnist", held_out: float | None = None
    ) -> float | None:
        """What a strictness asks for; None for nothing.

        Args:
          strictness: of the settings.
          dataset: "mnist" or "digits", which have thresholds of their own.
          held_out: what held-out real images of other data score. How far MNIST's
            threshold is from perfect, over how far its own real images are, is the factor on
            `held_out`; where higher is better, the ratio to MNIST's is. No data is judged more
            strictly than MNIST, or less strictly than the digits: of few images hardly anything
            would be asked.
        """
        if strictness == "smoke" or not self.thresholds:
            return None
        column = 2 if dataset == "digits" else STRICTNESS.index(strictness) - 1
        value = self.thresholds[column]
        if held_out is None or value is None or not self.held_out:
            return value
        least = self.thresholds[2]
        if self.direction > 0:
            found = value * min(1.0, held_out / self.held_out)
            return found if least is None else max(found, least)
        further = (held_out - self.perfect) / (self.held_out - self.perfect)
        found = self.perfect + (value - self.perfect) * max(1.0, further)
        return found if least is None else min(found, least)


def _by_extractor(name: str, title: str) -> Metric:
    return Metric(
        f"relative_fid_{name}", f"  {title}", "distance", -1,
        lambda m: m.relative_of(name), ".2f",
        about=f"The same by the features of one extractor: {title}.",
    )  # fmt: skip


def _ink(
    name: str,
    title: str,
    threshold: tuple[float | None, ...] = (),
    held_out: float = 0.0,
    form: str = ".2f",
) -> tuple[Metric, Metric]:
    """Two rows: a statistic's mean, and how well one threshold on it tells fakes from real."""
    return (
        Metric(
            f"mean_{name}", f"{title}, mean", "ink", 0, lambda m: m.ink_mean(name), form,
            "real train images", about=f"Mean over the images: {title}.",
        ),
        Metric(
            f"tell_{name}", f"  told from real by {title.partition(',')[0]}, accuracy", "ink", -1,
            lambda m: m.ink_tell(name), ".1%", "real against real", thresholds=threshold,
            held_out=held_out, perfect=0.5,
            about="Accuracy of the best single threshold on this statistic; 50 % is perfect.",
        ),
    )  # fmt: skip


METRICS: list[Metric] = [
    Metric(
        "relative_fid", "relative FID, worst extractor", "distance", -1,
        lambda m: m.worst_relative, ".2f", thresholds=(4.5, 3.5, 8.0), held_out=1.23,
        about="FID of fakes to train images over FID of train images to other train images, by "
        "the extractor on which it is largest; 1 is as good as more training images.",
    ),
    _by_extractor("classifier", "classifier"),
    _by_extractor("pooled", "classifier with global average pooling"),
    _by_extractor("autoencoder", "autoencoder's bottleneck"),
    _by_extractor("rotations", "network that tells quarter turns"),
    _by_extractor("random", "untrained network"),
    Metric(
        "fid", "FID to train images", "distance", -1, lambda m: m.first_relative.fid, ".4g",
        "FID_real, train images to others",
        about="By the first extractor, at equal numbers of images with equal classes.",
    ),
    Metric(
        "fid_test", "FID to test images", "distance", -1, lambda m: m.fid_test, ".4g",
        "train images to test images",
        about="Holds the difference of MNIST's train and test sets, which no generator can close.",
    ),
    Metric(
        "kid", "KID to train images", "distance", -1, lambda m: m.kid, ".2g",
        "train images to others", about="Kernel distance on all images, first extractor.",
    ),
    Metric(
        "two_sample", "two-sample classifier, accuracy", "two samples", -1,
        lambda m: m.two_sample("raw", "accuracy"), ".1%", "real train against real test",
        thresholds=(0.62, 0.6, 0.95), held_out=0.506, perfect=0.5,
        about="A small network trained on half of fakes and train images, asked about the other "
        "half; 50 % is perfect.",
    ),
    Metric(
        "two_sample_auc", "  area under the ROC curve", "two samples", -1,
        lambda m: m.two_sample("raw", "auc"), ".3f", "real train against real test",
        about="How often a fake looks more fake than a real image.",
    ),
    Metric(
        "two_sample_sure", "  fakes told from 99.5 % of real images", "two samples", -1,
        lambda m: m.sure("raw"), ".2%", "real train against real test",
        thresholds=(0.02, 0.018, None), held_out=0.0074,
        about="Share of fakes that look more fake than 99.5 % of the real images.",
    ),
    Metric(
        "two_sample_binary", "two-sample classifier, black and white", "two samples", -1,
        lambda m: m.two_sample("binary", "accuracy"), ".1%", "real train against real test",
        thresholds=(0.58, 0.57, 0.85), held_out=0.506, perfect=0.5,
        about="Shape without shading: pixels from grey level 128 on are white, others black.",
    ),
    Metric(
        "two_sample_binary_auc", "  area under the ROC curve", "two samples", -1,
        lambda m: m.two_sample("binary", "auc"), ".3f", "real train against real test",
        about="As above, on black and white images.",
    ),
    Metric(
        "two_sample_binary_sure", "  fakes told from 99.5 % of real images", "two samples", -1,
        lambda m: m.sure("binary"), ".2%", "real train against real test",
        thresholds=(0.02, 0.018, None), held_out=0.0092,
        about="Share of fakes that look more fake than 99.5 % of the real images.",
    ),
    Metric(
        "grey_levels", "divergence of the grey levels", "ink", -1, lambda m: m.level_divergence,
        ".2g", "real against real", thresholds=(0.005, 0.005, 0.15), held_out=3.3e-05,
        about="Jensen-Shannon divergence of the histograms of all pixels, in bits: 0 to 1.",
    ),
    Metric(
        "pixel_shift", "largest shift of a pixel's share of ink", "ink", -1,
        lambda m: m.pixel_shift, ".3f", "real against real",
        thresholds=(0.05, 0.05, 0.3), held_out=0.022,
        about="By how much the share of images with ink at a pixel differs, at the worst pixel.",
    ),
    *_ink("near_black", "pixels of level 1 to 5", (0.62, 0.59, 0.9), 0.5082, ".1f"),
    *_ink("saturated", "pixels above level 250", (0.56, 0.56, 0.8), 0.5076, ".1f"),
    *_ink("ink", "grey level", (0.56, 0.56, 0.7), 0.506, ".1f"),
    *_ink("box", "longer side of the bounding box, pixels"),
    *_ink("centre_x", "centre of mass across", (0.58, 0.58, 0.75), 0.506),
    *_ink("centre_y", "centre of mass down", (0.58, 0.58, 0.75), 0.506),
    *_ink("stroke", "stroke width, pixels", (0.56, 0.56, 0.7), 0.5073),
    *_ink("slant", "slant, shear", (0.54, 0.54, 0.7), 0.506),
    *_ink("roughness", "roughness", (0.56, 0.56, 0.75), 0.5074),
    Metric(
        "pieces", "share of images in more than one piece", "ink", -1, lambda m: m.pieces, ".2%",
        "real train images", relative=True, thresholds=(3.0, 1.8, 4.0), held_out=1.0,
        about="Connected parts of the ink, corners connect.",
    ),
    Metric(
        "holes", "images with an unusual number of holes", "ink", -1, lambda m: m.holes, ".2%",
        "real train images", relative=True, thresholds=(1.35, 1.35, 2.5), held_out=1.0,
        about="Other than most train images of the class have.",
    ),
    Metric(
        "outliers", "outliers, worst space", "outliers", -1, lambda m: m.outliers, ".2%",
        "0.1 % of real test images", thresholds=(0.008, 0.008, 0.1), held_out=0.0016,
        about="Share of fakes farther from every train image than 99.9 % of test images are; of "
        "all extractors' features, blurred pixels and pixels the space where it is largest.",
    ),
    Metric(
        "outliers_ink", "outliers of ink", "outliers", -1, lambda m: m.outliers_ink, ".2%",
        "0.1 % of real test images", thresholds=(0.006, 0.004, 0.1), held_out=0.001,
        about="Share of fakes with a more extreme statistic of ink than 99.9 % of test images.",
    ),
    Metric(
        "broken", "broken images", "outliers", -1, lambda m: m.broken, ".2%",
        thresholds=(0.002, 0.0015, 0.02), held_out=0.0003,
        about="Share of fakes with a statistic of ink far outside of all that train images have, "
        "by half the range of 98 % of them: blank, white, noise.",
    ),
    Metric(
        "outliers_place", "ink where real images have none", "outliers", -1,
        lambda m: m.outliers_place, ".2%", "0.1 % of real test images",
        thresholds=(0.006, 0.004, 0.08), held_out=0.0011,
        about="Share of fakes with more ink at places that fewer than two in 10,000 train "
        "images use than 99.9 % of test images have there.",
    ),
    Metric(
        "copies", "near copies of train images, pixels", "copies", -1, lambda m: m.copies, ".2%",
        "1 % of real test images", thresholds=(0.025, 0.025, 0.15), held_out=0.0124,
        about="Share of fakes nearer to a train image than 99 % of test images are, the "
        "pixels that differ most left out.",
    ),
    Metric(
        "copies_blurred", "near copies, blurred", "copies", -1, lambda m: m.copies_in("blurred"),
        ".2%", "1 % of real test images", thresholds=(0.025, 0.025, 0.2), held_out=0.01,
        about="The same of images blurred to 4x4 pixels, without places that all fakes share.",
    ),
    Metric(
        "copies_features", "near copies, features", "copies", -1,
        lambda m: m.copies_in(m.real.first), ".2%", "1 % of real test images",
        thresholds=(0.03, 0.03, 0.2), held_out=0.01,
        about="The same in the first extractor's features.",
    ),
    Metric(
        "repeats", "fakes that nearly repeat each other", "copies", -1, lambda m: m.repeats,
        ".2%", "0.1 % of real train images", thresholds=(0.006, 0.006, 0.1), held_out=0.001,
        about="Share of fakes nearer to another fake, blurred, than 99.9 % of train images are "
        "to another.",
    ),
    Metric(
        "precision", "precision", "variety", 1, lambda m: m.manifold.precision,
        beside="real train images", about="Share of fakes within the real manifold (k = 5).",
    ),
    Metric(
        "recall", "recall", "variety", 1, lambda m: m.manifold.recall,
        beside="real train images", relative=True, thresholds=(0.88, 0.88, 0.5), held_out=1.0,
        about="Share of real images within the manifold of the fakes (k = 5).",
    ),
    Metric(
        "density", "density", "variety", 1, lambda m: m.manifold.density,
        beside="real train images", about="How many real neighbourhoods a fake is in, over k.",
    ),
    Metric(
        "coverage", "coverage", "variety", 1, lambda m: m.manifold.coverage,
        beside="real train images", relative=True, thresholds=(0.94, 0.95, 0.5), held_out=1.0,
        about="Share of real images with a fake in their neighbourhood (k = 5).",
    ),
    Metric(
        "class_coverage", "coverage of the least covered class", "variety", 1,
        lambda m: m.class_coverage, beside="real train images", relative=True,
        thresholds=(0.92, 0.95, 0.5), held_out=1.0, about="Of conditional generators only.",
    ),
    Metric(
        "accuracy", "conditional accuracy", "classes", 1, lambda m: m.accuracy, ".2%",
        "real test images", relative=True, thresholds=(0.99, 0.99, 0.9), held_out=1.0,
        about="Share of fakes that the classifier takes for the class asked for.",
    ),
    Metric(
        "worst_class_accuracy", "  of the worst class", "classes", 1,
        lambda m: m.worst_class_accuracy, ".2%", about="The same of the worst class.",
    ),
    Metric(
        "class_share", "rarest class, share over real share", "classes", 1,
        lambda m: m.class_share, thresholds=(0.9, 0.9, 0.5), held_out=0.973,
        about="As the classifier sees them.",
    ),
    Metric(
        "class_kl", "KL divergence of the classes", "classes", -1, lambda m: m.class_kl, ".2g",
        about="Of the fakes' shares of classes from the real ones, in nats.",
    ),
    Metric(
        "cas", "classification accuracy score", "classes", 1, lambda m: m.cas, ".2%",
        thresholds=(0.975, 0.98, 0.85), held_out=1.0,
        about="Accuracy on real test images of a classifier trained on fakes only.",
    ),
]  # fmt: skip

BY_KEY: dict[str, Metric] = {metric.key: metric for metric in METRICS}


def add(metric: Metric) -> None:
    """Adds a metric of the user's own; before `judge.judge_config` is imported.

    Raises:
      ValueError: there is one of that key.
    """
    if metric.key in BY_KEY:
        raise ValueError(f"there is a metric {metric.key!r} already")
    METRICS.append(metric)
    BY_KEY[metric.key] = metric


HEADLINES = ("relative_fid", "two_sample", "two_sample_binary", "accuracy", "cas")


def usual_thresholds(
    strictness: str, dataset: str = "mnist", held_out: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Setting to threshold, as a strictness asks for.

    Args:
      strictness: of the settings.
      dataset: its name.
      held_out: by key, what held-out real images of it score; None for those of PINNED_FOR. A
        metric that could not be measured of them has no threshold.
    """
    found = {
        metric.setting: metric.threshold(strictness, dataset, (held_out or {}).get(metric.key))
        for metric in METRICS
        if held_out is None or metric.key in held_out
    }
    return {name: value for name, value in found.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table for people.

    Attributes:
      metric: which.
      value: as measured.
      low, high: its interval, None where there is none.
      real: value of real images, None where there is none.
      passed: whether it meets its threshold; None where it has none.
    """

    metric: Metric
    value: float
    low: float | None
    high: float | None
    real: float | None
    passed: bool | None

    @property
    def text(self) -> str:
        return format(self.value, self.metric.format)

    @property
    def beside(self) -> str:
        """The interval and the value of real images, in words."""
        form = self.metric.format
        parts = []
        if self.low is not None and self.high is not None:
            parts.append(f"{self.low:{form}} to {self.high:{form}}")
        if self.real is not None:
            parts.append(f"{self.metric.beside}: {self.real:{form}}")
        elif self.metric.beside:
            parts.append(self.metric.beside)
        return "; ".join(parts)


def rows(document: Mapping[str, Any]) -> Iterator[Row]:
    """What `evaluation.json` holds, in the order of the registry.

    A document of schema version 1 has other metrics: of it, those come whose meaning is unchanged.
    """
    old = document.get("schema_version", 1) < 2
    found = document.get("metrics") or {}
    passed = {check["name"]: check["passed"] for check in document.get("checks") or ()}
    for metric in METRICS:
        value = found.get(metric.key)
        if value is None or (old and metric.key in _CHANGED):
            continue
        low, high = found.get(f"{metric.key}_interval") or (None, None)
        real = found.get(f"real_{metric.key}")
        yield Row(metric, value, low, high, real, passed.get(metric.key))


# In documents of schema version 1 these keys had another meaning: FID was against the test split,
# near copies were of whole pixels.
_CHANGED = ("fid", "kid", "copies", "copies_features")
