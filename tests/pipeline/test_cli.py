"""The command line as a user calls it: exit codes, one clear message, no traceback, quick start."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.lineage.conftest import workspace as workspace_of_runs  # noqa: F401 - a fixture


def call(*arguments: str, cwd=None, **environment: str) -> subprocess.CompletedProcess:
    """Runs `mnist-gan` in a fresh process."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=cwd or REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_refused(result: subprocess.CompletedProcess, *words: str) -> None:
    """Exit code 2, a message with `words`, no traceback, nothing on stdout."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


def test_help_names_every_command():
    result = call("--help")
    assert result.returncode == 0
    for command in ("run", "status", "generate", "evaluate", "serve", "lineage", "report"):
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["run", "--help"]])
def test_help_imports_neither_tensorflow_nor_tfx(arguments):
    code = (
        "import sys; sys.argv[0] = 'mnist-gan'\n"
        "from pipeline.cli import main\n"
        "try: main()\n"
        "finally: print([m for m in ('tensorflow', 'tfx', 'apache_beam') if m in sys.modules],"
        " file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.stderr.strip() == "[]"


def test_status_without_a_run_says_what_to_do(tmp_path):
    assert_refused(call("status", "--workspace", str(tmp_path)), "no run", "mnist-gan run")


def test_the_workspace_comes_from_the_environment(tmp_path):
    result = call("status", MNIST_GAN_WORKSPACE=str(tmp_path / "from-environment"))
    assert_refused(result, "from-environment")


def test_an_unknown_preset_is_refused():
    assert_refused(call("run", "--preset", "standart"), "standart", "did you mean 'standard'")


def test_an_unknown_setting_is_refused_with_the_nearest_one():
    assert_refused(call("run", "--set", "stepz=3"), "stepz", "did you mean 'steps'")


def test_a_wrong_value_is_refused_with_what_the_setting_takes():
    assert_refused(call("run", "--set", "batch_size=many"), "batch_size", "int", "at least")


def test_an_unknown_flag_is_refused():
    assert_refused(call("run", "--stepz", "3"), "--stepz")


def test_settings_are_listed_as_a_table_and_as_json():
    rows = json.loads(call("run", "--settings", "--json").stdout)
    assert {"steps", "seed", "dataset"} <= {row["name"] for row in rows}
    assert "steps" in call("run", "--settings").stdout


def test_generate_without_a_pushed_version_says_what_to_do(tmp_path):
    result = call("generate", "--workspace", str(tmp_path), "--out", str(tmp_path / "x.png"))
    assert_refused(result, "pushed", "mnist-gan run")


def test_serve_reads_its_flags_before_it_looks_for_versions(tmp_path):
    workspace = ["--workspace", str(tmp_path)]
    assert_refused(call("serve", *workspace, "--prot=1"), "Did you mean --port")
    assert_refused(call("serve", *workspace, "--port", "many"), "whole number")
    assert_refused(call("serve", *workspace, "--port=9000"), "nothing was pushed", "mnist-gan run")
    assert call("serve", *workspace, "--help").returncode == 0


def test_tensorboard_without_a_training_says_what_to_do(tmp_path):
    assert_refused(call("tensorboard", "--workspace", str(tmp_path)), "mnist-gan run")


def test_a_workspace_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        result = call("run", "--preset", "smoke", "--workspace", str(tmp_path / folder))
        assert_refused(result, "workspace", "--workspace DIR")


def test_a_damaged_store_is_named(tmp_path):
    (tmp_path / "metadata.sqlite").write_bytes(b"not a database at all, but longer than nothing")
    assert_refused(call("status", "--workspace", str(tmp_path)), "metadata.sqlite")
    (tmp_path / "metadata.sqlite").write_bytes(b"")
    assert_refused(call("status", "--workspace", str(tmp_path)), "no run")


def test_an_empty_name_of_a_data_set_is_refused():
    assert_refused(call("run", "--dataset", ""), "dataset")


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b]", "a%20b", "a#b", "a\\b", "a\nb"])
def test_a_folder_that_a_library_would_take_for_a_pattern_is_refused_by_name(tmp_path, name):
    assert_refused(call("run", "--workspace", str(tmp_path / name)), "holds the character")


def test_output_that_can_not_show_a_character_shows_another(workspace_of_runs):  # noqa: F811
    for command in (["status"], ["lineage", "trace"], ["lineage", "runs"]):
        result = call(
            *command, "--workspace", str(workspace_of_runs.root), PYTHONIOENCODING="ascii"
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr


def test_a_bar_that_is_not_a_number_is_refused_before_the_training():
    for assignment in ("max_relative_fid=Infinity", "ema_half_life=NaN"):
        assert_refused(call("run", "--set", assignment), assignment.partition("=")[0])


def test_the_settings_that_are_listed_are_those_that_would_run():
    rows = json.loads(call("run", "--settings", "--set", "steps=77", "--json").stdout)
    values = {row["name"]: row for row in rows}
    assert values["steps"]["value"] == "77"
    assert values["loss"]["takes"] == "non_saturating or hinge"
