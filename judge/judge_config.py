"""Settings of the judge: how much is drawn and which thresholds a generator must meet.

Needs neither TensorFlow nor TFX.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from pydantic import Field

from common.images import PINNED_FOR
from judge.registry import METRICS, Metric, usual_thresholds


class _Base(pydantic.BaseModel):
    """What the Evaluator measures and what it asks for.

    A threshold that is None is what `strictness` asks for of the data, which is known when the
    judge sees them: `for_data` and `widened` fill it in.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    num_fakes: int = Field(
        default=10_000,
        ge=100,
        description="images drawn from the generator; at most as many as the train split holds",
    )
    strictness: Literal["smoke", "standard", "quality"] = Field(
        default="standard",
        description="which set of thresholds; each can be set by itself too; smoke has none",
    )
    cas_fakes: int = Field(
        default=0,
        ge=0,
        description=(
            "train a classifier on this many fakes and test it on real images; 0 leaves it out "
            "(60000 takes a minute and a half)"
        ),
    )
    max_regression: float = Field(
        default=0.05,
        ge=0,
        description=(
            "by each extractor, FID may be credibly worse than that of the generator in service "
            "by at most this share"
        ),
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="confidence level of the intervals"
    )

    def for_data(self, dataset: str) -> "JudgeConfig":
        """Itself with the usual threshold wherever the user set none, for data that have some.

        Those of other data come from its images: `widened`.
        """
        if dataset not in PINNED_FOR:
            return self
        return self._filled(usual_thresholds(self.strictness, dataset))

    def widened(self, held_out: Mapping[str, float]) -> "JudgeConfig":
        """Itself with the threshold that held-out real images give wherever the user set none.

        Args:
          held_out: what they score, by the metric's key (`judge.held_out`).
        """
        return self._filled(usual_thresholds(self.strictness, held_out=held_out))

    def _filled(self, usual: Mapping[str, float]) -> "JudgeConfig":
        return self.model_copy(
            update={name: value for name, value in usual.items() if getattr(self, name) is None}
        )

    @property
    def thresholds(self) -> dict[str, float]:
        """Setting to threshold, those that are not None."""
        return {
            metric.setting: value
            for metric in METRICS
            if metric.thresholds and (value := getattr(self, metric.setting)) is not None
        }


def _threshold(metric: Metric) -> tuple[Any, Any]:
    usual = ", ".join(
        f"{name} {value:g}"
        for name, value in zip(("standard", "quality", "digits"), metric.thresholds, strict=True)
        if value is not None
    )
    what = f"threshold: {metric.title.strip()}"
    if metric.relative:
        what += f", over that of {metric.beside}"
    field = Field(
        default=None,
        ge=0,
        description=f"{what}; null is {usual}, on other data widened, smoke none",
    )
    return (float | None, field)


if TYPE_CHECKING:  # a type checker knows no classes that are made while a program runs
    JudgeConfig = _Base
else:
    JudgeConfig = pydantic.create_model(
        "JudgeConfig",
        __base__=_Base,
        __doc__=_Base.__doc__,
        **{metric.setting: _threshold(metric) for metric in METRICS if metric.thresholds},
    )

# What each preset changes.
PRESETS: dict[str, dict] = {
    "smoke": {"num_fakes": 1_000, "strictness": "smoke"},
    "standard": {},
    "quality": {"strictness": "quality", "cas_fakes": 60_000},
}
