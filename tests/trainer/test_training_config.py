import pathlib
import subprocess
import sys

import pydantic
import pytest

from trainer import training_config as config
from trainer.training_config import (
    MODEL_DEFAULTS,
    PRESETS,
    TrainingConfig,
    preset,
    resolve_precision,
)
from trainer.training_config import settings_of as names_of


@pytest.mark.parametrize("model", MODEL_DEFAULTS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_for_every_model(name, model):
    TrainingConfig(**{"model": model, **preset(name, model)})


@pytest.mark.parametrize("model", MODEL_DEFAULTS)
def test_presets_differ_in_length_for_every_model(model):
    steps = [TrainingConfig(**{"model": model, **preset(name, model)}).steps for name in PRESETS]
    assert steps == sorted(set(steps))


def test_every_field_has_a_description():
    assert all(field.description for field in TrainingConfig.model_fields.values())


def test_an_unknown_name_and_a_value_out_of_range_are_named():
    with pytest.raises(pydantic.ValidationError, match="step_count"):
        TrainingConfig(step_count=3)
    with pytest.raises(pydantic.ValidationError, match="learning_rate"):
        TrainingConfig(learning_rate=-1.0)


def test_what_is_left_out_has_the_default_of_the_model():
    dcgan = TrainingConfig(model="dcgan")
    assert (dcgan.batch_size, dcgan.latent_dim, dcgan.beta_1) == (256, 100, 0.5)
    blocks5 = TrainingConfig(model="blocks5", batch_size=16)
    assert (blocks5.batch_size, blocks5.latent_dim) == (16, 196)


@pytest.mark.parametrize("model", MODEL_DEFAULTS)
def test_a_setting_that_the_model_does_not_use_is_refused_and_not_recorded(model):
    recorded = TrainingConfig(model=model).model_dump()
    assert tuple(recorded) == names_of(model)
    assert TrainingConfig(**recorded).model_dump() == recorded
    for name in set(TrainingConfig.model_fields) - set(recorded):
        value = getattr(TrainingConfig(), name)
        with pytest.raises(pydantic.ValidationError, match=f"is not used by model '{model}'"):
            TrainingConfig(model=model, **{name: value})


@pytest.mark.parametrize("name", TrainingConfig.model_fields)
def test_every_setting_is_used_by_some_model(name):
    assert any(name in names_of(model) for model in MODEL_DEFAULTS)


@pytest.mark.parametrize(
    ("model", "name", "value", "message"),
    [
        ("blocks5", "learning_rate", 0.002, "takes 0.001 or 0.0001"),
        ("gaussian_mlp", "batch_size", 33, "an even number"),
    ],
)
def test_what_only_one_model_asks_for_is_told(model, name, value, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        TrainingConfig(model=model, **{name: value})


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags: avx2 avx512f", "float32"), ("flags: avx512f avx512_bf16", "bfloat16")],
)
def test_auto_is_bfloat16_only_where_the_cpu_computes_it(monkeypatch, tmp_path, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(flags)
    monkeypatch.setattr(config.pathlib, "Path", lambda _: cpuinfo)
    assert resolve_precision("auto") == expected


def test_a_precision_that_is_asked_for_is_kept():
    assert resolve_precision("float32") == "float32"
    assert resolve_precision("bfloat16") == "bfloat16"


def test_the_settings_need_no_tensorflow():
    code = "import sys, trainer.training_config; sys.exit('tensorflow' in sys.modules)"
    root = pathlib.Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
