"""Every setting of the Trainer, typed and checked, and its presets. Needs no TensorFlow."""

import pathlib
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

# Settings that every model takes, and those that only some of the ancestors take.
_COMMON = (
    "model",
    "base_model",
    "steps",
    "batch_size",
    "latent_dim",
    "learning_rate",
    "ema_half_life",
    "ema_ramp_up",
    "precision",
    "log_interval",
    "checkpoint_interval",
    "keep_checkpoints",
    "eval_interval",
    "eval_samples",
)
_ANCESTORS_ONLY = (
    "normalization",
    "activation",
    "initializer",
    "optimizer",
    "sample_epochs",
    "model_epochs",
)

# What the ancestors change, and which settings beyond the common ones they take. The fields of
# TrainingConfig have the values of `cdcgan`.
MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "cdcgan": {},
    "dcgan": {
        "steps": 2000,
        "batch_size": 256,
        "latent_dim": 100,
        "learning_rate": 2e-4,
        "beta_1": 0.5,
        "beta_2": 0.999,
        "ema_half_life": 0.0,
        "sample_interval": 100,
    },
    "blocks5": {
        "steps": 10_000,
        "batch_size": 32,
        "latent_dim": 196,
        "learning_rate": 1e-3,
        "ema_half_life": 0.0,
        "sample_interval": 500,
        "normalization": "batch",
        "activation": "leaky_relu",
        "initializer": "normal",
        "optimizer": "adam",
    },
    "gaussian_mlp": {
        "steps": 20_000,
        "batch_size": 128,
        "latent_dim": 100,
        "learning_rate": 2e-4,
        "beta_1": 0.5,
        "beta_2": 0.999,
        "ema_half_life": 0.0,
        "sample_epochs": 1,
        "model_epochs": 10,
    },
}
NO_BASE_MODEL = (
    "base_model=latest: no generator was blessed yet that training could start from; "
    "train one without it first"
)
LEARNING_RATES = {"blocks5": (0.001, 0.0001)}  # where a model takes certain ones only


class TrainingConfig(BaseModel):
    """How a generator is trained; `seed` and data come from outside.

    One class for all models: a setting that is left out has its model's default, one that its
    model does not use is refused and absent from `model_dump`.

    A value out of range or an unknown name raises pydantic's ValidationError, which names the
    field and what it takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Literal["cdcgan", "dcgan", "blocks5", "gaussian_mlp"] = Field(
        "cdcgan",
        description="both networks and how they play; `--set model=... --settings` lists the "
        "settings of each",
    )
    base_model: Literal["latest"] | None = Field(
        None,
        description="start from the weights of the latest blessed generator; null starts afresh",
    )
    steps: int = Field(5000, ge=1, description="updates of each network")
    batch_size: int = Field(128, ge=2, le=4096, description="real images, and fakes, a step")
    latent_dim: int = Field(64, ge=1, le=4096, description="length of a latent vector")
    generator_channels: int = Field(
        64, ge=1, le=1024, description="channels of the generator at 14x14; twice that at 7x7"
    )
    discriminator_channels: int = Field(
        32, ge=1, le=1024, description="channels of the discriminator at 14x14; twice that at 7x7"
    )
    loss: Literal["non_saturating", "hinge"] = Field("non_saturating", description="GAN loss")
    learning_rate: float = Field(
        2e-3, gt=0, le=1, description="the generator's learning rate at the first step"
    )
    discriminator_rate_ratio: float = Field(
        1.0, gt=0, le=100, description="the discriminator's learning rate over the generator's"
    )
    final_rate_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="learning rate at the last step as a share of the first; linear between them",
    )
    beta_1: float = Field(0.0, ge=0, lt=1, description="Adam's decay of the first moment")
    beta_2: float = Field(0.99, ge=0, lt=1, description="Adam's decay of the second moment")
    r1_weight: float = Field(
        0.6, ge=0, description="weight of the gradient penalty on real images; 0 is without"
    )
    r1_interval: int = Field(16, ge=1, description="steps from one gradient penalty to the next")
    augment_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of images, real and fake, that the discriminator sees shifted; "
        "against learning them by heart in a long training",
    )
    augment_shift: int = Field(
        2, ge=1, le=14, description="pixels that such an image is shifted by, at most, each way"
    )
    ema_half_life: float = Field(
        10_000.0,
        ge=0,
        description="steps after which an update counts half in the averaged generator; "
        "0 is no average",
    )
    ema_ramp_up: float = Field(
        0.05,
        gt=0,
        le=10,
        description="the half-life is at most this share of the steps made so far",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of training; auto is bfloat16 where the CPU computes it"
    )
    log_interval: int = Field(50, ge=1, description="steps from one line of history to the next")
    sample_interval: int = Field(250, ge=1, description="steps from one sample grid to the next")
    checkpoint_interval: int = Field(500, ge=1, description="steps from checkpoint to checkpoint")
    keep_checkpoints: int = Field(3, ge=1, le=100, description="newest checkpoints that are kept")
    eval_interval: int = Field(
        0, ge=0, description="steps from one FID on the eval split to the next; 0 is never"
    )
    eval_samples: int = Field(2000, ge=100, description="images generated for such an FID")
    normalization: Literal["batch", "group"] = Field(
        "batch", description="blocks5: what each block normalises over"
    )
    activation: Literal["relu", "leaky_relu"] = Field(
        "leaky_relu", description="blocks5: what each block ends with"
    )
    initializer: Literal["normal", "xavier"] = Field(
        "normal", description="blocks5: first weights, normal(0, 0.02) or Glorot's uniform ones"
    )
    optimizer: Literal["adam", "sgd"] = Field("adam", description="blocks5: of both networks")
    sample_epochs: int = Field(
        1, ge=1, description="gaussian_mlp: epochs from one sample grid to the next"
    )
    model_epochs: int = Field(
        10, ge=1, description="gaussian_mlp: epochs from one saved generator to the next"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _with_the_defaults_of_the_model(cls, values: Any) -> Any:
        model = values.get("model", "cdcgan") if isinstance(values, dict) else None
        defaults = MODEL_DEFAULTS.get(model, {}) if isinstance(model, str) else {}
        return {**defaults, **values} if defaults else values

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _used_by_the_model(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        model = info.data.get("model")  # missing where it is itself refused
        if model and info.field_name not in settings_of(model):
            users = [name for name in MODEL_DEFAULTS if info.field_name in settings_of(name)]
            raise PydanticCustomError(
                "unused_setting",
                "is not used by model '{model}', only by {users}; {model} takes {settings}",
                {
                    "model": model,
                    "users": " and ".join(users),
                    "settings": ", ".join(settings_of(model)),
                },
            )
        return value

    @pydantic.field_validator("learning_rate")
    @classmethod
    def _one_of_the_models_rates(cls, value: float, info: pydantic.ValidationInfo) -> float:
        rates = LEARNING_RATES.get(info.data.get("model", ""))
        if rates and value not in rates:
            raise PydanticCustomError(
                "learning_rate",
                "model '{model}' takes {rates}",
                {"model": info.data["model"], "rates": " or ".join(map(str, rates))},
            )
        return value

    @pydantic.field_validator("batch_size")
    @classmethod
    def _halves_of_a_batch(cls, value: int, info: pydantic.ValidationInfo) -> int:
        if info.data.get("model") == "gaussian_mlp" and value % 2:
            raise PydanticCustomError("odd_batch", "half of its images are real: an even number")
        return value

    @pydantic.model_serializer(mode="wrap")
    def _used_settings(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        used = settings_of(self.model)
        return {name: value for name, value in handler(self).items() if name in used}


def settings_of(model: str) -> tuple[str, ...]:
    """Names of the settings that `model` uses."""
    if model == "cdcgan":
        return tuple(name for name in TrainingConfig.model_fields if name not in _ANCESTORS_ONLY)
    mine = {*_COMMON, *MODEL_DEFAULTS[model]}
    return tuple(name for name in TrainingConfig.model_fields if name in mine)


# By preset and model: what they change.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "cdcgan": {
            "steps": 400,
            "batch_size": 64,
            "generator_channels": 32,
            "discriminator_channels": 16,
            "log_interval": 20,
            "sample_interval": 100,
            "checkpoint_interval": 100,
        },
        "dcgan": {"steps": 60, "log_interval": 10, "sample_interval": 20},
        "blocks5": {"steps": 400, "log_interval": 20, "sample_interval": 100},
        "gaussian_mlp": {"steps": 400, "log_interval": 20},
    },
    # A look at the eval split costs 0.7 s of processor time: these take 2 % of the training's.
    "standard": {
        "cdcgan": {"steps": 5000, "eval_interval": 500},
        "dcgan": {"eval_interval": 200},
        "blocks5": {"eval_interval": 1000},
        "gaussian_mlp": {"eval_interval": 2000},
    },
    "quality": {
        "cdcgan": {
            "steps": 48_000,
            "r1_weight": 0.2,  # what its figures were measured with
            "augment_share": 0.6,
            "sample_interval": 1000,
            "checkpoint_interval": 1000,
            "eval_interval": 2000,
        },
        "dcgan": {
            "steps": 24_000,
            "sample_interval": 1000,
            "checkpoint_interval": 1000,
            "eval_interval": 1000,
        },
        "blocks5": {
            "steps": 120_000,
            "sample_interval": 5000,
            "checkpoint_interval": 1000,
            "eval_interval": 5000,
        },
        "gaussian_mlp": {"steps": 240_000, "checkpoint_interval": 1000, "eval_interval": 10_000},
    },
}


def preset(name: str, model: object = "cdcgan") -> dict[str, Any]:
    """What the preset `name` changes for `model`; nothing for a model that there is not."""
    return dict(PRESETS[name].get(model, {})) if isinstance(model, str) else {}


def resolve_precision(precision: str) -> Literal["float32", "bfloat16"]:
    """What `precision` means on this machine: "auto" is bfloat16 where the CPU has it.

    On other CPUs bfloat16 is emulated and slower than float32.
    """
    if precision != "auto":
        return precision
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
