"""`mnist-gan generate`: the same image here and from a server; one message without either."""

import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline import cli
from tests.conftest import without_tensorflow
from tests.serving.server.conftest import digits, free_ports, push, start  # noqa: F401
from tests.serving.server.saved_models import CONTRACT


@pytest.fixture
def workspace(tmp_path, digits):  # noqa: F811
    """A workspace with versions 1 and 2 of the tiny generator; the label `stable` is on 1."""
    base = tmp_path / "serving" / "mnist_gan"
    base.mkdir(parents=True)
    for version in (1, 2):
        push(digits, base, version)
        CONTRACT.write(base / str(version))
    call(tmp_path, "versions", "label", "stable", "1")
    return tmp_path


def call(workspace, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.main, [*arguments, "--workspace", str(workspace)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


OPTIONS = ([], ["--class", "7"], ["--count", "9", "--seed", "3"], ["--label", "stable"])


def test_a_server_draws_the_same_image_as_this_process(workspace, tmp_path, start):  # noqa: F811
    running = start(workspace / "serving/mnist_gan", "--model_name=mnist_gan", watch_labels=True)
    for number, options in enumerate(OPTIONS):
        images = []
        for source in (
            [],
            ["--url", running.url],
            ["--url", f"grpc://127.0.0.1:{running.grpc_port}", "--model", "mnist_gan"],
        ):
            out = tmp_path / f"{number}.png"
            told = call(workspace, "generate", *options, *source, "--out", str(out))
            assert (source[1] if source else "version") in told
            images.append(out.read_bytes())
        assert images[0] == images[1] == images[2], options
        shutil.move(out, tmp_path / f"{number}-last.png")
    assert (tmp_path / "0-last.png").read_bytes() != (tmp_path / "3-last.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--digit", "12"], "label out of range"),
        (["--version", "9"], "Specific(mnist_gan, 9)"),
        (["--label", "beta"], "label: beta"),
        (["--model", "nobody"], "Latest(nobody)"),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(workspace, start, options, words):  # noqa: F811
    running = start(workspace / "serving/mnist_gan", "--model_name=mnist_gan")
    out = workspace / "x.png"
    told = call(workspace, "generate", "--url", running.url, *options, "--out", str(out), code=2)
    assert words in told
    assert not out.exists()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_away_is_one_message(tmp_path, scheme):
    url = f"{scheme}://127.0.0.1:{free_ports(1)[0]}"
    told = call(tmp_path, "generate", "--url", url, "--out", str(tmp_path / "x.png"), code=1)
    assert told.strip() == (
        f"Error: {url} does not answer: is a server running there? `mnist-gan serve` starts one"
    )
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--url", "localhost:8501"], "no address of a server"),
        (["--model", "x"], "no model 'x'"),
        (["--version", "1", "--label", "stable"], "not both"),
        (["--label", "beta"], "there is no label 'beta': stable"),
        (["--version", "9"], "there is no version 9; there are 1, 2"),
        (["--class", "seven"], "there is no class 'seven': did you mean 0, 1, 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(workspace, options, words):
    out = str(workspace / "x.png")
    assert words in call(workspace, "generate", *options, "--out", out, code=2)


def test_asking_over_rest_imports_no_tensorflow(tmp_path):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    result = without_tensorflow("generate", "--url", url, "--out", str(tmp_path / "x.png"))
    assert "does not answer" in result.stderr


def test_the_ending_of_the_file_is_its_format(workspace):
    for ending, form in ((".JPG", "JPEG"), (".webp", "WEBP")):
        call(workspace, "generate", "--count", "4", "--out", str(workspace / f"x{ending}"))
        with Image.open(workspace / f"x{ending}") as image:
            assert image.format == form
    for name in ("x.pdf", "x"):
        told = call(workspace, "generate", "--out", str(workspace / name), code=2)
        assert "its ending must be one of .png, .jpg" in told
