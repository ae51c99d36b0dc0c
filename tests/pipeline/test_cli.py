"""The command line as a user calls it: exit codes, one clear message, no traceback, quick start."""

import errno
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from pipeline import cli
from tests.conftest import REPOSITORY, fresh, without_tensorflow
from tests.lineage.conftest import eleven_runs  # noqa: F401 - a fixture
from tests.lineage.conftest import workspace as workspace_of_runs  # noqa: F401 - a fixture


def call(*arguments: str, **environment: str) -> Result:
    """Runs `mnist-gan` in this process."""
    return CliRunner().invoke(cli.main, [*arguments], env=environment)


def assert_refused(result: Result, *words: str) -> None:
    """Exit code 2, a message with `words`, no traceback, nothing on stdout."""
    assert result.exit_code == 2, result.stderr
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("command", [(), ("status",), ("run",)])
def test_help_imports_neither_tensorflow_nor_tfx(command):
    result = without_tensorflow(*command, "--help")
    assert result.returncode == 0
    for name in ("run", "status", "generate", "evaluate", "serve", "lineage", "report"):
        assert command or f"\n  {name} " in result.stdout


WITHOUT_TFX = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        gone = {"apache_beam", "ml_metadata", "tensorflow_data_validation", "tensorflow_transform",
                "tfx", "tfx_bsl"}
        found = name.partition(".")[0] not in gone
        return self.finder.find_spec(name, path, target) if found else None

sys.meta_path = [Without(finder) for finder in sys.meta_path]
"""


def test_without_tfx_the_pipeline_is_refused_and_what_needs_none_works(tmp_path):
    run = WITHOUT_TFX + "from pipeline.cli import main\nmain(sys.argv[1:])"
    for command in (["run", "--dataset", "digits"], ["status"], ["lineage", "runs"], ["report"]):
        result = fresh(run, *command, "--workspace", str(tmp_path / "w"))
        assert result.returncode == 2
        assert "mnist-gan[tfx]" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "w").exists()
    assert fresh(run, "run", "--settings").returncode == 0
    assert fresh(run, "versions", "list", "--workspace", str(tmp_path)).returncode == 2
    # What the notebook about GANs and the judge import.
    notebook = json.loads((REPOSITORY / "notebooks/how_a_gan_learns.ipynb").read_text())
    lines = [line for cell in notebook["cells"] for line in cell["source"]]
    ours = ("common", "datasets", "judge", "metrics", "serving", "trainer")
    wanted = [line for line in lines if line.startswith(tuple(f"from {name}" for name in ours))]
    assert len(wanted) > 10
    program = "".join(f"{line.rstrip()}\n" for line in wanted)
    result = fresh(WITHOUT_TFX + program + "from judge import evaluate, local_generator")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "engine",
    ["", "spark", "workers://", "workers://h", "workers://h:1,,h:2", "workers://h:0",
     "workers://h:65536", "workers://h:1/../x:3", "workers://h:٣"],
)  # fmt: skip
def test_what_names_no_workers_is_refused(tmp_path, engine):
    refused = call("run", "--engine", engine, "--workspace", str(tmp_path / "w"))
    assert_refused(refused, "is neither local nor workers://HOST:PORT")
    assert not (tmp_path / "w").exists()


def test_status_without_a_run_says_what_to_do(tmp_path):
    assert_refused(call("status", "--workspace", str(tmp_path)), "no run", "mnist-gan run")


def test_the_workspace_comes_from_the_environment(tmp_path):
    result = call("status", MNIST_GAN_WORKSPACE=str(tmp_path / "from-environment"))
    assert_refused(result, "from-environment")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "standart"], ["standart", "did you mean 'standard'"]),
        (["--set", "stepz=3"], ["stepz", "did you mean 'steps'"]),
        (["--set", "batch_size=many"], ["batch_size", "int", "at least"]),
        (["--set", "max_relative_fid=Infinity"], ["max_relative_fid"]),
        (["--set", "ema_half_life=NaN"], ["ema_half_life"]),
        (["--dataset", ""], ["dataset"]),
        (["--dataset", "mnits"], ["no data set called 'mnits'", "did you mean 'mnist'"]),
        (["--stepz", "3"], ["--stepz"]),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(arguments, words):
    assert_refused(call("run", *arguments), *words)


def test_settings_are_listed_as_a_table_and_as_json():
    rows = json.loads(call("run", "--settings", "--set", "steps=77", "--json").stdout)
    values = {row["name"]: row for row in rows}
    assert {"steps", "seed", "dataset"} <= values.keys()
    assert values["steps"]["value"] == "77"
    assert values["loss"]["takes"] == "non_saturating or hinge or wgan-gp or saturating"
    lines = call("run", "--settings", COLUMNS="80").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("steps  ") for line in lines)


def test_generate_without_a_pushed_version_says_what_to_do(tmp_path):
    result = call("generate", "--workspace", str(tmp_path), "--out", str(tmp_path / "x.png"))
    assert_refused(result, "pushed", "mnist-gan run")


def test_serve_reads_its_flags_before_it_looks_for_versions(tmp_path):
    workspace = ["--workspace", str(tmp_path)]
    assert_refused(call("serve", *workspace, "--prot=1"), "Did you mean --port")
    assert_refused(call("serve", *workspace, "--port", "many"), "whole number")
    assert_refused(call("serve", *workspace, "--port=9000"), "nothing was pushed", "mnist-gan run")
    assert call("serve", *workspace, "--help").exit_code == 0


def test_tensorboard_without_a_training_says_what_to_do(tmp_path):
    assert_refused(call("tensorboard", "--workspace", str(tmp_path)), "mnist-gan run")


def test_a_workspace_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        result = call("run", "--preset", "smoke", "--workspace", str(tmp_path / folder))
        assert_refused(result, "workspace", "--workspace DIR")


def test_too_little_address_space_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.resource, "getrlimit", lambda of: (2 * 2**30, 2 * 2**30))
    result = call("run", "--workspace", str(tmp_path / "ws"))
    assert_refused(result, "2.0 GiB", "raise the limit with `ulimit -v unlimited`")
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_shared_memory_is_told_before_anything_is_made(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    context = type(cli.multiprocessing.get_context("fork"))
    monkeypatch.setattr(context, "Lock", refuse)
    result = call("run", "--workspace", str(tmp_path / "ws"))
    assert_refused(result, "needs semaphores in shared memory", "Read-only file system", "/dev/shm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "run", "report", "versions list", "serve"])
def test_a_name_that_is_too_long_is_refused_in_one_sentence(command):
    refused = call(*command.split(), "--workspace", "a" * 300)
    assert_refused(refused, "a" * 300, "File name too long")


@pytest.mark.parametrize("folder", [".", "serving"])
def test_a_folder_of_source_is_no_workspace(folder):
    refused = call("run", "--workspace", str(REPOSITORY / folder))
    assert_refused(refused, "holds the source of programs", "--workspace DIR")


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b]", "a%20b", "a#b", "a\\b", "a\nb"])
def test_a_folder_that_a_library_would_take_for_a_pattern_is_refused_by_name(tmp_path, name):
    assert_refused(call("run", "--workspace", str(tmp_path / name)), "holds the character")


@pytest.mark.parametrize("arguments", ["run --settings", "--version", "status --help"])
@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        (">&-", 0, ""),
        ("> /dev/full", 1, "Error: the output can't be written: No space left on device\n"),
    ],
)
def test_output_that_is_closed_or_full_ends_without_a_traceback(arguments, target, code, said):
    command = f"{sys.executable} -m pipeline {arguments} {target}"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, shell=True, cwd=REPOSITORY, env=buffered, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (code, said)


def test_output_that_can_not_show_a_character_shows_another(workspace_of_runs):  # noqa: F811
    code = "import sys; from pipeline.cli import main; main(sys.argv[1:])"
    space = ("--workspace", str(workspace_of_runs.root))
    for command in (["status"], ["lineage", "trace"]):
        result = fresh(code, *command, *space, PYTHONIOENCODING="ascii")
        assert result.returncode == 0, result.stderr
