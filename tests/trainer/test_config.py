import pathlib
import subprocess
import sys

import pydantic
import pytest

from trainer import config
from trainer.config import PRESETS, TrainingConfig, resolve_precision


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_valid_config(preset):
    assert TrainingConfig(**PRESETS[preset]).steps == PRESETS[preset]["steps"]


def test_every_field_has_a_description():
    assert all(field.description for field in TrainingConfig.model_fields.values())


def test_an_unknown_name_and_a_value_out_of_range_are_named():
    with pytest.raises(pydantic.ValidationError, match="step_count"):
        TrainingConfig(step_count=3)
    with pytest.raises(pydantic.ValidationError, match="learning_rate"):
        TrainingConfig(learning_rate=-1.0)


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
    code = "import sys, trainer.config; sys.exit('tensorflow' in sys.modules)"
    root = pathlib.Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
