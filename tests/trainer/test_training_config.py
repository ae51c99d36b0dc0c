import pydantic
import pytest

from tests.conftest import fresh
from trainer import training_config as config
from trainer.training_config import MODELS, PRESETS, make_config, preset, resolve_precision


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_for_every_model(name, model):
    make_config(**{"model": model, **preset(name, model)})


@pytest.mark.parametrize("model", MODELS)
def test_presets_differ_in_length_for_every_model(model):
    steps = [make_config(**{"model": model, **preset(name, model)}).steps for name in PRESETS]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("model", MODELS)
def test_every_field_has_a_description(model):
    assert all(field.description for field in MODELS[model].model_fields.values())


def test_an_unknown_name_and_a_value_out_of_range_are_named():
    with pytest.raises(pydantic.ValidationError, match="step_count"):
        make_config(step_count=3)
    with pytest.raises(pydantic.ValidationError, match="learning_rate"):
        make_config(learning_rate=-1.0)


def test_what_is_left_out_has_the_default_of_the_model():
    dcgan = make_config(model="dcgan")
    assert (dcgan.batch_size, dcgan.latent_dim, dcgan.beta_1) == (256, 100, 0.5)
    blocks5 = make_config(model="blocks5", batch_size=16)
    assert (blocks5.batch_size, blocks5.latent_dim) == (16, 196)


@pytest.mark.parametrize("model", MODELS)
def test_a_setting_that_the_model_does_not_use_is_refused_and_not_recorded(model):
    recorded = make_config(model=model).model_dump()
    assert make_config(**recorded).model_dump() == recorded
    for other in MODELS:
        for name, value in make_config(model=other).model_dump().items():
            if name not in recorded:
                with pytest.raises(pydantic.ValidationError, match=f"{model}.{name}"):
                    make_config(model=model, **{name: value})


@pytest.mark.parametrize(
    ("model", "name", "value", "message"),
    [
        ("blocks5", "learning_rate", 0.002, "0.001 or 0.0001"),
        ("gaussian_mlp", "batch_size", 33, "multiple of 2"),
    ],
)
def test_what_only_one_model_asks_for_is_told(model, name, value, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        make_config(model=model, **{name: value})


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags: avx2 avx512f", "float32"), ("flags: avx512f avx512_bf16", "bfloat16")],
)
def test_auto_is_bfloat16_only_where_the_cpu_computes_it(monkeypatch, tmp_path, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(flags)
    monkeypatch.setattr(config.pathlib, "Path", lambda _: cpuinfo)
    assert resolve_precision("auto") == expected


def test_the_settings_need_no_tensorflow():
    code = "import sys, trainer.training_config; sys.exit('tensorflow' in sys.modules)"
    assert fresh(code).returncode == 0
