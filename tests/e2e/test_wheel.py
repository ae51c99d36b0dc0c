"""The project as people install it: a wheel, and no source tree around."""

import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

from pipeline.provenance import SOURCES
from tests.conftest import REPOSITORY
from tests.e2e.conftest import SHORT

pytestmark = pytest.mark.e2e

BUILT_FROM = (*SOURCES, "setup.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Built from a copy, since setuptools leaves things beside what it builds."""
    pytest.importorskip("pip", reason="this environment has no pip to build a wheel with")
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, source / name)
    run("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", source / "dist", source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel, tmp_path_factory) -> pathlib.Path:
    """`mnist-gan` in a new environment that has the wheel, and the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run("-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index", wheel)
    # As a mere path: what `pip install --editable` left in there does not come along.
    (packages,) = folder.glob("lib/python3.*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "mnist-gan"


def run(*arguments) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_in_an_empty_folder_pushes_a_generator(program, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = [program, "run", "--dataset", "digits", "--preset", "smoke", "--json"]
    for assignment in SHORT:
        command += ["--set", assignment]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    pushed = pathlib.Path(document["pushed_path"])
    assert (pushed / "saved_model.pb").is_file()
    page = (tmp_path / "workspace" / "report" / "index.html").read_text()
    assert str(document["pushed_version"]) in page
    where = "import pipeline, trainer; print(pipeline.__file__, trainer.__file__)"
    python = program.with_name("python")
    modules = subprocess.check_output([python, "-c", where], cwd=tmp_path, text=True)
    assert all(path.startswith(str(program.parent.parent)) for path in modules.split())
