"""What real images score that nothing was trained on: the eval split, judged as fakes are.

MNIST and scikit-learn's digits have thresholds in the registry, which also knows what MNIST's own
held-out images score. Thresholds of other data are MNIST's, widened by how much farther from
perfect its held-out images are than MNIST's (`registry.Metric.threshold`).
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from common.images import PINNED_FOR
from datasets.examples import Split
from datasets.info import DatasetInfo
from judge import measure, reference
from judge.generation import Fakes
from judge.judge_config import JudgeConfig
from judge.registry import METRICS
from judge.verdict import FEWEST_REFERENCE
from metrics.cas import classification_accuracy_score


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """`scores`' result.

    Attributes:
      count: images of the eval split.
      values: by key of a metric that has a threshold; over the value of train images where the
        threshold is. Not less than chance: of shares 3 in N images (with none, 3/N can't be
        ruled out with 95 %), of accuracies 0.5 + 0.6 / sqrt(N).
    """

    count: int
    values: dict[str, float]

    @property
    def sentence(self) -> str:
        return f"Thresholds are MNIST's, widened by what {self.count:,} held-out real images score."


def scores(
    data: DatasetInfo,
    read: Callable[[str], Split],
    extractors: reference.Extractors,
    config: JudgeConfig,
    cache_dir: str | None,
) -> HeldOut | None:
    """Judges the eval split; from the cache where it is there.

    Args:
      data: which data set.
      read: gives its splits.
      extractors: the data's.
      config: whether there are thresholds, and how many fakes the CAS is for.
      cache_dir: folder for the cache, None for none.

    Returns:
      None for data that have thresholds of their own, and for a strictness without any.
    """
    if data.dataset in PINNED_FOR or config.strictness == "smoke":
        return None
    cache = reference.Cache.of(data, extractors, cache_dir)

    def measured() -> dict[str, np.ndarray]:
        split = read("eval")
        order = np.random.default_rng(0).permutation(len(split.labels))
        # A few come twice where there are not as many as the judge needs.
        real = reference.load(data, read, extractors, max(len(order), FEWEST_REFERENCE), cache_dir)
        rows = np.resize(order, real.num_fakes)
        fakes = Fakes.of(rows, split.labels[rows], split.images[rows])
        found = measure.Measured(fakes, real, extractors, conditional=data.num_classes > 1).all()
        values = {"count": len(np.unique(rows))}
        for metric in METRICS:
            if metric.thresholds and metric.key in found:
                value = found[metric.key]
                if metric.relative:
                    value /= max(found[f"real_{metric.key}"], 1e-9)
                elif metric.is_share:
                    value = max(value, 3 / len(rows))
                elif metric.perfect:
                    value = max(value, metric.perfect + 0.6 / len(rows) ** 0.5)
                values[metric.key] = value
        return {name: np.array(value, np.float64) for name, value in values.items()}

    def learnt() -> dict[str, np.ndarray]:
        train, test = read("train"), read("test")
        # As many as there are fakes, so that the classifier learns for as long.
        rows = np.resize(np.random.default_rng(0).permutation(len(train.labels)), config.cas_fakes)
        value = classification_accuracy_score(
            train.images[rows], train.labels[rows], *test.arrays, data.num_classes
        )
        return {"cas": np.array(value)}

    found = cache.get("held-out", measured)
    if config.cas_fakes and data.num_classes > 1:
        found = found | cache.get(f"held-out-cas-{config.cas_fakes}", learnt)
    values = {name: float(value) for name, value in found.items() if math.isfinite(value)}
    return HeldOut(int(values.pop("count")), values)
