"""Every setting of the Trainer, typed and checked, and its presets. Needs no TensorFlow."""

import pathlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingConfig(BaseModel):
    """How a generator is trained; `seed` and data come from outside.

    A value out of range or an unknown name raises pydantic's ValidationError, which names the
    field and what it takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Literal["cdcgan"] = Field("cdcgan", description="architecture of both networks")
    steps: int = Field(6000, ge=1, description="updates of each network")
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
        1e-3, gt=0, le=1, description="the generator's learning rate at the first step"
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
        0.02, ge=0, description="weight of the gradient penalty on real images; 0 is without"
    )
    r1_interval: int = Field(16, ge=1, description="steps from one gradient penalty to the next")
    ema_half_life: float = Field(
        10_000.0,
        gt=0,
        description="steps after which an update counts half in the averaged generator",
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


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "steps": 400,
        "batch_size": 64,
        "generator_channels": 32,
        "discriminator_channels": 16,
        "log_interval": 20,
        "sample_interval": 100,
        "checkpoint_interval": 100,
    },
    "standard": {"steps": 6000},
    "quality": {"steps": 72000, "sample_interval": 1000, "checkpoint_interval": 1000},
}


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
