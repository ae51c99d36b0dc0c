"""`make serve-tf`: TF Serving's program, else Docker, else a word on how to get either."""

import os
import pathlib
import shutil
import subprocess

import pytest

from serving.server import flags, model_config
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "serving" / "serve-tf.sh"


@pytest.fixture
def tools(tmp_path) -> pathlib.Path:
    """A PATH of its own with no more than the script calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "mktemp", "sed"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


@pytest.fixture
def workspace(tmp_path) -> pathlib.Path:
    version = tmp_path / "workspace" / "serving" / "mnist_gan" / "7"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    return tmp_path / "workspace"


def add(folder: pathlib.Path, name: str, body: str) -> pathlib.Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def call(workspace, tools, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    variables = {"PATH": str(tools), "MNIST_GAN_WORKSPACE": str(workspace), **environment}
    return subprocess.run(
        [str(SCRIPT), *arguments], env=variables, capture_output=True, text=True, timeout=30
    )


SHOW_ARGUMENTS = 'for a in "$@"; do echo "$a"; done'


def test_the_program_gets_flags_that_both_servers_know(workspace, tools):
    add(tools, "tensorflow_model_server", SHOW_ARGUMENTS)
    done = call(workspace, tools, "--file_system_poll_wait_seconds=5")
    assert done.returncode == 0, done.stderr
    parsed = flags.parse(done.stdout.splitlines())
    assert (parsed.port, parsed.rest_api_port, parsed.model_name) == (8500, 8501, "mnist_gan")
    assert parsed.model_base_path == str(workspace / "serving/mnist_gan")
    assert parsed.file_system_poll_wait_seconds == 5
    assert flags.prometheus_path(parsed) == "/monitoring/prometheus/metrics"


def test_the_model_is_the_one_pushed_to_last_or_the_one_that_is_named(workspace, tools):
    add(tools, "tensorflow_model_server", SHOW_ARGUMENTS)
    other = workspace / "serving" / "digits_gan" / "8"
    other.mkdir(parents=True)
    (other / "saved_model.pb").touch()
    assert flags.parse(call(workspace, tools).stdout.splitlines()).model_name == "digits_gan"
    named = call(workspace, tools, MNIST_GAN_MODEL="mnist_gan")
    assert flags.parse(named.stdout.splitlines()).model_name == "mnist_gan"
    gone = call(workspace, tools, MNIST_GAN_MODEL="fashion_mnist_gan")
    assert gone.returncode == 2 and "fashion_mnist_gan" in gone.stderr


def test_labels_are_handed_on_with_the_base_path_of_this_machine(workspace, tools, tmp_path):
    base = workspace / "serving/mnist_gan"
    model_config.set_label(base, "mnist_gan", "stable", 7)
    program = add(tmp_path, "server", SHOW_ARGUMENTS)
    done = call(workspace, tools, TENSORFLOW_MODEL_SERVER=str(program), TMPDIR=str(tmp_path))
    parsed = flags.parse(done.stdout.splitlines())
    (model,) = model_config.read(parsed.model_config_file).model_config_list.config
    assert model.base_path == str(base)
    assert dict(model.version_labels) == {"stable": 7}
    assert parsed.allow_version_labels_for_unavailable_models


def test_docker_serves_where_there_is_no_program(workspace, tools):
    add(
        tools,
        "docker",
        '[ "$*" = info ] || [ "$*" = "compose version" ] && exit 0\n'
        'echo "$@"; echo "$MNIST_GAN_WORKSPACE"; echo "$MNIST_GAN_MODELS_CONFIG"',
    )
    done = call(workspace, tools)
    compose = REPOSITORY / "serving" / "compose.yaml"
    assert done.stdout.splitlines() == [f"compose -f {compose} up", str(workspace), ""]
    model_config.set_label(workspace / "serving/mnist_gan", "mnist_gan", "stable", 7)
    config = workspace / "serving/mnist_gan/models.config"
    assert call(workspace, tools).stdout.splitlines()[2] == str(config)
    assert call(workspace, tools, "--port=1").returncode == 2


def test_without_either_it_says_how_to_get_one_and_what_needs_none(workspace, tools):
    done = call(workspace, tools)
    assert done.returncode == 1
    assert done.stdout == ""
    for words in ("neither is docker", "docs/how-to/serve.md", "mnist-gan serve"):
        assert words in done.stderr
    add(tools, "docker", "exit 1")
    assert "its daemon does not answer" in call(workspace, tools).stderr


def test_what_is_missing_is_told_first(workspace, tools, tmp_path):
    done = call(tmp_path / "nowhere", tools)
    assert done.returncode == 2 and "nothing was pushed" in done.stderr
    os.rename(workspace / "serving/mnist_gan/7", workspace / "serving/mnist_gan/7.rolled_back")
    assert "nothing was pushed" in call(workspace, tools).stderr
    os.rename(workspace / "serving/mnist_gan/7.rolled_back", workspace / "serving/mnist_gan/7")
    done = call(workspace, tools, TENSORFLOW_MODEL_SERVER="/nowhere/server")
    assert done.returncode == 2 and "/nowhere/server, which is no program" in done.stderr
