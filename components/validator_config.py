"""Settings of GeneratorValidator. Needs neither TensorFlow nor TFX."""

import pydantic
from pydantic import Field


class ValidatorConfig(pydantic.BaseModel):
    """Which server a generator is tried on, and how long that may take."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model_server: str = Field(
        default="",
        description=(
            "path of tensorflow_model_server, or local for this project's own server; empty is "
            "what TENSORFLOW_MODEL_SERVER names, else what is on PATH, else local"
        ),
    )
    load_timeout: float = Field(
        default=120.0, gt=0, description="seconds that the server may take to load the generator"
    )
