"""`mnist-gan new`: a small project of one's own around a folder of images.

Its files are those of `pipeline/project/`; the settings are written.
"""

import json
import os
import pathlib
import shlex
import shutil
import sys

import click

from common.workspace import DEFAULT, Workspace
from pipeline.options import Failure

TEMPLATE = pathlib.Path(__file__).parents[1] / "project"
_SETTINGS = '''"""Your settings; `mnist-gan run --settings` lists all that there are."""

import pathlib

SETTINGS = {{
{settings}
    "networks": str(pathlib.Path(__file__).with_name("networks.py")),
}}
'''


@click.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=pathlib.Path))
@click.option("--from", "source", required=True, metavar="folder:PATH", help="The images.")
def new(folder, source) -> None:
    """Write a small project around a folder of images: settings, networks, pipeline, tests.

    What has to be done to the images so that they can be learnt from is looked up and written
    down as settings, to be changed.
    """
    if folder.exists():
        raise Failure(f"{folder} is there already: choose another name")
    Workspace.at(folder / DEFAULT).check_name()  # where the project will run
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from datasets import image_folder
    from datasets.data_config import FOLDER_PREFIX
    from datasets.image_files import printable

    if not source.startswith(FOLDER_PREFIX):
        raise Failure(f"--from takes {FOLDER_PREFIX}PATH, a folder of images, not {source!r}")
    try:
        found = image_folder.open_folder(source)
        needed = image_folder.what_is_needed(found)
    except ValueError as error:
        raise Failure(str(error)) from None
    if printable(found.root) != str(found.root):
        raise Failure(f"{printable(found.root)}: its name is not plain UTF-8; rename it")
    settings = {"dataset": f"{FOLDER_PREFIX}{found.root}", **needed}
    few = len(found.class_names) < 2
    images = f"{len(found.files):,} images, "
    images += "without classes" if few else f"{len(found.class_names)} classes"
    tokens = {
        "@NAME@": folder.name,
        "@FOLDER@": str(found.root),
        "@IMAGES@": images,
        "@PYTHON@": sys.executable.replace("$", "$$"),
    }
    lines = "\n".join(f"    {name!r}: {value!r}," for name, value in settings.items())
    try:
        folder.mkdir()
        for path in TEMPLATE.rglob("*"):
            target = folder / path.relative_to(TEMPLATE)
            if path.is_dir() or path.suffix == ".pyc":
                continue
            target.parent.mkdir(exist_ok=True)
            text = path.read_text(encoding="utf-8")
            for token, value in tokens.items():
                text = text.replace(token, value)
            target.write_text(text, encoding="utf-8")
        (folder / "my_gan" / "settings.py").write_text(
            _SETTINGS.format(settings=lines), encoding="utf-8"
        )
        (folder / ".gitignore").write_text("workspace/\n__pycache__/\n")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        error.filename = str(folder)
        raise
    shown = ", ".join(f"{name}={json.dumps(value)}" for name, value in needed.items())
    click.echo(f"{folder}: {len(found.files):,} images" + (f"; they need {shown}" if shown else ""))
    click.echo(f'{shlex.join(["cd", str(folder)])} && make run ARGS="--preset smoke"')
