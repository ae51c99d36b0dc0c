"""Settings of the judge: how much is drawn and which bars a generator must clear.

Needs neither TensorFlow nor TFX.
"""

from collections.abc import Mapping
from typing import Literal

import pydantic
from pydantic import Field

OTHER_DATA = "other data"

# The bars of each strictness. Those of `standard` were set by what a good generator of MNIST digits
# scores, spoilt and unspoilt, and tried by `python -m benchmarks.gate`, which measures how often
# they are wrong; those of `quality` were set by one good run. Those of `smoke` let a barely trained
# generator through, so that the push is exercised; what it pushes says so.
BARS: dict[str, dict[str, float]] = {
    "smoke": {
        "max_fid_ratio": 1e6,
        "min_accuracy": 0.0,
        "min_class_share": 0.0,
        "min_coverage": 0.0,
        "min_recall": 0.0,
        "max_copies": 1.0,
        "max_pixel_kld": 1e6,
        "max_sharpness_shift": 1e6,
        "min_cas": 0.0,
        "max_regression": 1e6,
    },
    "standard": {
        "max_fid_ratio": 3.0,
        "min_accuracy": 0.97,
        "min_class_share": 0.8,
        "min_coverage": 0.9,
        "min_recall": 0.8,
        "max_copies": 0.02,
        "max_pixel_kld": 0.3,
        "max_sharpness_shift": 0.05,
        "min_cas": 0.96,
        "max_regression": 0.05,
    },
    "quality": {
        "max_fid_ratio": 1.5,
        "min_accuracy": 0.98,
        "min_class_share": 0.85,
        "min_coverage": 0.95,
        "min_recall": 0.85,
        "max_copies": 0.02,
        "max_pixel_kld": 0.2,
        "max_sharpness_shift": 0.04,
        "min_cas": 0.975,
        "max_regression": 0.05,
    },
}

# What differs on data other than MNIST: strictness to bars, for each.
_DIGITS = {
    # 257 test images: shares, coverage within a class and near copies are noisy.
    "max_fid_ratio": 5.0,
    "min_accuracy": 0.9,
    "min_class_share": 0.5,
    "min_coverage": 0.5,
    "min_recall": 0.5,
    "max_copies": 0.1,
    "max_pixel_kld": 1.0,
    "max_sharpness_shift": 0.2,
    "min_cas": 0.85,
}
_OTHERS = {
    # Not measured: wide enough to let a decent generator through, on features made for digits.
    "min_accuracy": 0.8,
    "min_class_share": 0.5,
    "min_coverage": 0.5,
    "min_recall": 0.4,
    "max_copies": 0.1,
    "max_pixel_kld": 1.0,
    "max_sharpness_shift": 0.25,
    "min_cas": 0.0,
}
DATA_BARS: dict[str, dict[str, dict[str, float]]] = {
    "mnist": {},
    "digits": {"standard": _DIGITS, "quality": _DIGITS},
    OTHER_DATA: {
        "standard": {**_OTHERS, "max_fid_ratio": 10.0},
        "quality": {**_OTHERS, "max_fid_ratio": 5.0},
    },
}


def usual_bars(strictness: str, dataset: str) -> Mapping[str, float]:
    """Bar to value, as `strictness` asks for on a data set.

    Args:
      strictness: "smoke", "standard" or "quality".
      dataset: name of the data set; one that is not in `DATA_BARS` has those of OTHER_DATA.
    """
    return BARS[strictness] | DATA_BARS.get(dataset, DATA_BARS[OTHER_DATA]).get(strictness, {})


def _bar(what: str, name: str, **limits: float):
    """A field whose description says what null stands for."""
    usual = []
    for strictness in ("standard", "quality"):
        value = BARS[strictness][name]
        others = [
            f"{data} {found:g}"
            for data in DATA_BARS
            if (found := usual_bars(strictness, data)[name]) != value
        ]
        usual.append(f"{strictness} {value:g}" + (f" ({', '.join(others)})" if others else ""))
    return Field(default=None, description=f"bar: {what}; null is {'; '.join(usual)}", **limits)


class JudgeConfig(pydantic.BaseModel):
    """What the Evaluator measures and what it asks for.

    Bars are relative wherever they can be (to the floor that real images reach, to what the
    extractor scores on real images). A bar that is None is what `strictness` asks for on the data
    set, which is known when the judge sees the data: `for_data` fills it in.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    num_fakes: int = Field(
        default=10_000,
        ge=100,
        description="images drawn from the generator; at most as many as the train split holds",
    )
    extractor: str | None = Field(
        default=None,
        description=(
            "file of another feature extractor (Inception-v3, or a classifier of other data); "
            "null is the pinned classifier"
        ),
    )
    strictness: Literal["smoke", "standard", "quality"] = Field(
        default="standard", description="which set of bars; each bar can be set by itself too"
    )
    max_fid_ratio: float | None = _bar(
        "FID over the floor (what real train images score at the same number)",
        "max_fid_ratio",
        gt=0,
    )
    min_accuracy: float | None = _bar(
        "accuracy on the class asked for, as a share of that on real images",
        "min_accuracy",
        ge=0,
        le=1,
    )
    min_class_share: float | None = _bar(
        "the rarest class's share of the fakes over its share of the reference",
        "min_class_share",
        ge=0,
        le=1,
    )
    min_coverage: float | None = _bar(
        "coverage, of all and of the least covered class, as a share of what real train images "
        "reach",
        "min_coverage",
        ge=0,
        le=1,
    )
    min_recall: float | None = _bar(
        "recall, as a share of what real train images reach", "min_recall", ge=0, le=1
    )
    max_copies: float | None = _bar(
        "share of fakes nearer to a train image, in pixels, than 99 % of real test images",
        "max_copies",
        ge=0,
        le=1,
    )
    max_pixel_kld: float | None = _bar(
        "KLD of the pixels' grey levels, real from fakes", "max_pixel_kld", ge=0
    )
    max_sharpness_shift: float | None = _bar(
        "by which share the sharpness may differ from that of real images",
        "max_sharpness_shift",
        ge=0,
    )
    cas_fakes: int = Field(
        default=0,
        ge=0,
        description=(
            "train a classifier on this many fakes and test it on real images; 0 leaves it out "
            "(60000 takes a minute and a half)"
        ),
    )
    min_cas: float | None = _bar("that classifier's accuracy on real images", "min_cas", ge=0, le=1)
    max_regression: float | None = _bar(
        "FID may be credibly worse than the blessed generator's by at most this share",
        "max_regression",
        ge=0,
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="confidence level of the intervals"
    )

    def for_data(self, dataset: str) -> "JudgeConfig":
        """Itself with a number in every bar: what the user set, else what `usual_bars` says."""
        usual = usual_bars(self.strictness, dataset)
        return self.model_copy(
            update={name: bar for name, bar in usual.items() if getattr(self, name) is None}
        )


# What each preset changes.
PRESETS: dict[str, dict] = {
    "smoke": {"num_fakes": 1_000, "strictness": "smoke"},
    "standard": {},
    "quality": {"strictness": "quality", "cas_fakes": 60_000},
}
