"""`mnist-gan new`: a project that can be run, or one message."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline import cli
from tests.conftest import REPOSITORY


def call(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.main, ["new", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def photographs(digits, tmp_path):
    """Images in colour that are no squares, in ten classes, and a file that is none."""
    for number, (image, label) in enumerate(zip(*digits, strict=True)):
        path = tmp_path / "My photographs" / f"class {label}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colours = np.concatenate([image, image // 2, 0 * image], axis=-1)
        Image.fromarray(colours).resize((40, 30)).save(path)
    (path.parent / "broken.png").write_bytes(b"no image")
    return tmp_path / "My photographs"


@pytest.mark.slow
def test_a_project_has_the_settings_that_its_images_need_and_its_test_passes(photographs, tmp_path):
    told = call(str(tmp_path / "project"), "--from", f"folder:{photographs}")
    assert "image_size=28, skip_unreadable=true" in told
    code = "from my_gan.settings import SETTINGS; print(SETTINGS)"
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "project",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"'dataset': 'folder:{photographs}'" in shown.stdout
    tested = subprocess.run(
        ["make", "test"], cwd=tmp_path / "project", env=environment, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("images", "--from takes folder:PATH"),
        ("folder:/nonexistent", "/nonexistent does not exist"),
        ("folder:", "names no folder"),
    ],
)
def test_what_is_no_folder_of_images_makes_no_project(tmp_path, source, words):
    assert words in call(str(tmp_path / "project"), "--from", source, code=2)
    assert not (tmp_path / "project").exists()


def test_images_that_nobody_can_read_make_no_project(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "1.png").write_bytes(b"no image")
    told = call(str(tmp_path / "project"), "--from", f"folder:{tmp_path / 'bad'}", code=2)
    assert "none of the images can be used, such as 1.png: no image that can be read" in told


def test_nothing_is_overwritten(tmp_path, photographs):
    assert "is there already" in call(str(tmp_path), "--from", f"folder:{photographs}", code=2)


@pytest.mark.parametrize("name", ["esc\x1b[2J", "new\nline", "all*"])
def test_a_name_that_no_run_could_work_in_makes_no_project(tmp_path, name):
    told = call(str(tmp_path / name), "--from", f"folder:{tmp_path}", code=2)
    assert "would take for something else" in told and "\x1b" not in told
    assert list(tmp_path.iterdir()) == []
