"""Every setting of the Trainer, typed and checked, and its presets. Needs no TensorFlow."""

import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from trainer import halving

DEFAULT_MODEL = "cdcgan"
MODEL = Field(
    description="both networks and how they are trained; `--set model=... --settings` lists the "
    "settings of each"
)

# Settings that several models have, each with defaults of its own.
Steps = Annotated[
    int,
    Field(
        ge=1,
        description="updates of each network; a preset's are for 28x28, and fewer for larger "
        "images",
    ),
]
BatchSize = Annotated[int, Field(ge=2, le=4096, description="real images, and fakes, per step")]
LatentDim = Annotated[int, Field(ge=1, le=4096, description="length of a latent vector")]
HalfLife = Annotated[
    float,
    Field(
        ge=0,
        description="steps after which an update counts half in the averaged generator; "
        "0 is no average",
    ),
]
Beta1 = Annotated[float, Field(ge=0, lt=1, description="Adam's decay of the first moment")]
Beta2 = Annotated[float, Field(ge=0, lt=1, description="Adam's decay of the second moment")]
SampleInterval = Annotated[int, Field(ge=1, description="steps between two sample grids")]


class TrainingConfig(BaseModel):
    """What all models take; each has a class of its own with its own defaults.

    A value out of range or an unknown name raises pydantic's ValidationError, which names the
    field and what it takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    base_model: Literal["latest"] | None = Field(
        None,
        description="start from the weights of the latest blessed generator; null starts afresh",
    )
    hyperparameters: Literal["latest"] | None = Field(
        None, description="take what the latest `mnist-gan tune` found best for these settings"
    )
    steps: Steps
    batch_size: BatchSize = 128
    latent_dim: LatentDim = 100
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Adam's, for both networks")
    ema_half_life: HalfLife = 0.0
    ema_ramp_up: float = Field(
        0.05,
        gt=0,
        le=10,
        description="the half-life is at most this share of the steps made so far",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of training; auto is bfloat16 where the CPU computes it"
    )
    log_interval: int = Field(50, ge=1, description="steps between two lines of the history")
    checkpoint_interval: int = Field(500, ge=1, description="steps between two checkpoints")
    keep_checkpoints: int = Field(3, ge=1, le=100, description="newest checkpoints that stay")
    eval_interval: int = Field(
        0, ge=0, description="steps between two measurements of FID on the eval split; 0 is never"
    )
    eval_samples: int = Field(2000, ge=100, description="images generated for such an FID")
    teaching: bool = Field(
        False,
        description="for a class: `mnist-gan watch` can pause and step the training, and the model "
        "keeps its discriminator, which plays in the playground's quiz",
    )


class CdcganConfig(TrainingConfig):
    """The default: a class-conditional DCGAN with a projection discriminator."""

    model: Literal["cdcgan"] = MODEL
    steps: Steps = 5000
    latent_dim: LatentDim = 64
    generator_channels: int = Field(
        64,
        ge=1,
        le=1024,
        description="channels of the generator at 14x14 (16x16 for larger images); twice that at "
        "half the size, half at twice",
    )
    discriminator_channels: int = Field(
        32,
        ge=1,
        le=1024,
        description="channels of the discriminator at 14x14 (16x16); twice that at half the size, "
        "half at twice",
    )
    networks: str | None = Field(
        None,
        description="Python file of networks, and maybe a loss, in the place of the built-in ones "
        "(`mnist-gan new` writes one)",
    )
    loss: Literal["non_saturating", "hinge", "wgan-gp", "saturating"] = Field(
        "non_saturating",
        description="GAN loss; wgan-gp wants r1_weight=10, r1_interval=1; saturating is to study",
    )
    optimizer: Literal["muon", "adam"] = Field(
        "muon",
        description="of both networks; muon learns more in a step, which takes a tenth longer",
    )
    learning_rate: float = Field(
        2e-3,
        gt=0,
        le=1,
        description="the generator's learning rate at the first step; falls linearly to 0",
    )
    discriminator_rate_ratio: float = Field(
        1.0, gt=0, le=100, description="the discriminator's learning rate over the generator's"
    )
    beta_1: Beta1 = 0.0
    beta_2: Beta2 = 0.99
    r1_weight: float = Field(
        0.6, ge=0, description="weight of the gradient penalty (R1; that of wgan-gp); 0 is none"
    )
    r1_interval: int = Field(16, ge=1, description="steps between two gradient penalties")
    augment_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of images, real and fake, that are shifted before the discriminator "
        "sees them; against memorising them in a long training",
    )
    augment_shift: int = Field(
        2, ge=1, le=14, description="largest shift of such an image in pixels, each way"
    )
    ema_half_life: HalfLife = 10_000.0
    sample_interval: SampleInterval = 250


class DcganConfig(TrainingConfig):
    """The deep convolutional GAN, without labels."""

    model: Literal["dcgan"] = MODEL
    steps: Steps = 2000
    batch_size: BatchSize = 256
    beta_1: Beta1 = 0.5
    beta_2: Beta2 = 0.999
    sample_interval: SampleInterval = 100


class Blocks5Config(TrainingConfig):
    """Five blocks of convolution, normalisation and activation on each side, without labels."""

    model: Literal["blocks5"] = MODEL
    steps: Steps = 10_000
    batch_size: BatchSize = 32
    latent_dim: LatentDim = 196
    learning_rate: Literal[0.001, 0.0001] = Field(  # type: ignore[valid-type]  # pydantic takes it
        0.001, description="of both networks"
    )
    normalization: Literal["batch", "group"] = Field(
        "batch", description="what each block normalises over"
    )
    activation: Literal["relu", "leaky_relu"] = Field(
        "leaky_relu", description="what each block ends with"
    )
    initializer: Literal["normal", "xavier"] = Field(
        "normal", description="first weights: normal(0, 0.02) or Glorot's uniform ones"
    )
    optimizer: Literal["adam", "sgd"] = Field("adam", description="of both networks")
    sample_interval: SampleInterval = 500


class GaussianMlpConfig(TrainingConfig):
    """Dense networks, without labels."""

    model: Literal["gaussian_mlp"] = MODEL
    steps: Steps = 20_000
    batch_size: int = Field(
        128, ge=2, le=4096, multiple_of=2, description="images per step, half of them real"
    )
    beta_1: Beta1 = 0.5
    beta_2: Beta2 = 0.999
    sample_epochs: int = Field(1, ge=1, description="epochs between two sample grids")
    model_epochs: int = Field(10, ge=1, description="epochs between two saved generators")


MODELS: dict[str, type[TrainingConfig]] = {
    "cdcgan": CdcganConfig,
    "dcgan": DcganConfig,
    "blocks5": Blocks5Config,
    "gaussian_mlp": GaussianMlpConfig,
}
# Where a field must be one of them: `model` says which.
AnyTrainingConfig = Annotated[
    CdcganConfig | DcganConfig | Blocks5Config | GaussianMlpConfig,
    Field(discriminator="model"),
]
NO_BASE_MODEL = (
    "base_model=latest: no generator was blessed yet that training could start from; "
    "train one without it first"
)
NO_HYPERPARAMETERS = (
    "hyperparameters=latest: no search has ended here that left any; `mnist-gan tune` makes them"
)


def make_config(**values: Any) -> TrainingConfig:
    """Checked settings of the model that `values["model"]` names, the default where it does not.

    Raises:
      pydantic.ValidationError: it has no such setting, or does not take this value.
    """
    return TypeAdapter(AnyTrainingConfig).validate_python({"model": DEFAULT_MODEL, **values})


def best_settings(found: object, model: str) -> dict[str, Any]:
    """The settings that a search found best, checked: those alone that are searched of a model.

    Others name files whose code would run, and the search may be somebody else's.

    Args:
      found: a KerasTuner `HyperParameters` config.
      model: that is to be trained with them.

    Raises:
      ValueError: there are none, or they are of another model.
    """
    values = found.get("values") if isinstance(found, Mapping) else None
    if not isinstance(values, Mapping) or values.get("model") not in MODELS:
        raise ValueError(NO_HYPERPARAMETERS)
    if values["model"] != model:
        raise ValueError(
            f"hyperparameters=latest: the latest search was of {values['model']}, and this run "
            f"trains {model}: add --set model={values['model']}, or search with "
            f"`mnist-gan tune --set model={model}`"
        )
    best = {name: value for name, value in values.items() if "/" not in name}
    try:
        make_config(**best)
    except ValueError:
        raise ValueError(NO_HYPERPARAMETERS) from None
    if not best.keys() <= {"model", *halving.SPACES.get(model, ())}:
        raise ValueError(NO_HYPERPARAMETERS)
    return best


# By preset and model: what they change.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "cdcgan": {
            "steps": 400, "batch_size": 64, "generator_channels": 32, "discriminator_channels": 16,
            "log_interval": 20, "sample_interval": 100, "checkpoint_interval": 100,
        },
        "dcgan": {"steps": 60, "log_interval": 10, "sample_interval": 20},
        "blocks5": {"steps": 400, "log_interval": 20, "sample_interval": 100},
        "gaussian_mlp": {"steps": 400, "log_interval": 20},
    },
    # A look at the eval split costs 0.8 s of processor time: these take 2 % of the training's.
    "standard": {
        "cdcgan": {"steps": 5000, "eval_interval": 500},
        "dcgan": {"eval_interval": 200},
        "blocks5": {"eval_interval": 1000},
        "gaussian_mlp": {"eval_interval": 2000},
    },
    "quality": {
        # Adam and R1 0.2 are what its figures were measured with. At the end of `standard` Adam has
        # the lower FID on the eval split, so Muon is not taken for so long a training untried.
        "cdcgan": {
            "steps": 48_000, "optimizer": "adam", "r1_weight": 0.2, "augment_share": 0.6,
            "sample_interval": 1000, "checkpoint_interval": 1000, "eval_interval": 2000,
        },
        "dcgan": {
            "steps": 24_000, "sample_interval": 1000,
            "checkpoint_interval": 1000, "eval_interval": 1000,
        },
        "blocks5": {
            "steps": 120_000, "sample_interval": 5000,
            "checkpoint_interval": 1000, "eval_interval": 5000,
        },
        "gaussian_mlp": {"steps": 240_000, "checkpoint_interval": 1000, "eval_interval": 10_000},
    },
}  # fmt: skip


# Of a preset's steps for images of this size, so that it takes about as long as with 28x28.
STEPS_SHARE = {28: 1.0, 32: 0.75, 64: 0.35}


def preset(name: str, model: object = "cdcgan") -> dict[str, Any]:
    """What the preset `name` changes for `model`; nothing for a model that there is not."""
    return dict(PRESETS[name].get(model, {})) if isinstance(model, str) else {}


def resolve_precision(precision: str) -> str:
    """Gives "float32" or "bfloat16"; "auto" is bfloat16 where this machine's CPU has it.

    On other CPUs bfloat16 is emulated and slower than float32.
    """
    if precision != "auto":
        return precision
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
