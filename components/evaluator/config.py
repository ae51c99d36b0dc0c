"""Settings of the judge: how much is drawn and which bars a generator must clear.

Needs neither TensorFlow nor TFX.
"""

import pydantic
from pydantic import Field


class JudgeConfig(pydantic.BaseModel):
    """What the Evaluator measures and what it asks for.

    Bars are relative wherever they can be (to the floor that real images reach, to what the
    extractor scores on real images), so that one set of bars serves every data set.
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
    max_fid_ratio: float = Field(
        default=15.0,
        gt=0,
        description="bar: FID over the floor (what real train images score at the same number)",
    )
    min_accuracy: float = Field(
        default=0.90,
        ge=0,
        le=1,
        description="bar: accuracy on the class asked for, as a share of that on real images",
    )
    min_class_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="bar: the rarest class's share of the fakes over its share of the reference",
    )
    min_coverage: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "bar: coverage, of all and of the least covered class, as a share of what real train "
            "images reach"
        ),
    )
    min_recall: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="bar: recall, as a share of what real train images reach",
    )
    max_copies: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description=(
            "bar: share of fakes nearer to a train image, in pixels, than 99 % of real test images"
        ),
    )
    cas_fakes: int = Field(
        default=0,
        ge=0,
        description=(
            "train a classifier on this many fakes and test it on real images; 0 leaves it out "
            "(60000 takes a minute and a half)"
        ),
    )
    min_cas: float = Field(
        default=0.0, ge=0, le=1, description="bar: that classifier's accuracy on real images"
    )
    max_regression: float = Field(
        default=0.05,
        ge=0,
        description=(
            "bar: FID may be credibly worse than the blessed generator's by at most this share"
        ),
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="confidence level of the intervals"
    )


# What each preset changes. The bars of `smoke` let a barely trained generator through, so that the
# push is exercised; what it pushes says so.
PRESETS: dict[str, dict] = {
    "smoke": {
        "num_fakes": 1_000,
        "max_fid_ratio": 1e6,
        "min_accuracy": 0.0,
        "min_class_share": 0.0,
        "min_coverage": 0.0,
        "min_recall": 0.0,
        "max_copies": 1.0,
        "max_regression": 1e6,
    },
    "standard": {"max_fid_ratio": 5.0},
    "quality": {
        "max_fid_ratio": 2.0,
        "min_accuracy": 0.98,
        "min_class_share": 0.7,
        "min_coverage": 0.9,
        "min_recall": 0.8,
        "cas_fakes": 60_000,
        "min_cas": 0.95,
    },
}
