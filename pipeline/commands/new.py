"""`mnist-gan new`: a small project of one's own around a folder of images."""

import json
import os
import pathlib
import shutil
import sys

import click

from pipeline.options import USAGE, Failure

_PROJECT = '''"""Trains, judges and pushes a generator of the images in a folder.

`make run`, or `python project.py --preset smoke` and any other option of `mnist-gan run`.
"""

import pathlib
import sys

from pipeline.cli import main

WORKSPACE = pathlib.Path(__file__).resolve().parent / "workspace"

# `mnist-gan run --settings` lists all that there are.
SETTINGS = {{
{settings}
}}

if __name__ == "__main__":
    assignments = [f"--set={{name}}={{value}}" for name, value in SETTINGS.items()]
    main(["run", "--workspace", str(WORKSPACE), *assignments, *sys.argv[1:]])
'''

_TEST = '''"""The images can be learnt from: no training, a matter of seconds."""

from datasets import source
from datasets.data_config import DataConfig
from project import SETTINGS


def test_the_images_make_three_splits_of_the_same_classes(tmp_path):
    known = DataConfig.model_fields
    about_data = {name: value for name, value in SETTINGS.items() if name in known}
    data = source.resolve(DataConfig(**about_data), tmp_path)
    assert set(data.split_counts) == {"train", "eval", "test"}
    assert data.split_counts["test"] >= 100, "the judge needs 100 test images"
'''

_MAKEFILE = """# `make run`, `make test`, `make serve`; PYTHON has mnist-gan installed.
PYTHON = {python}

run:
\t"$(PYTHON)" project.py $(ARGS)

test:
\t"$(PYTHON)" -m pytest -q -p no:cacheprovider

serve:
\t"$(PYTHON)" -m pipeline serve --workspace workspace

.PHONY: run test serve
"""

_README = """# {name}

A generator of the images in `{folder}`: {images:,} images, {classes}.

    make run ARGS="--preset smoke"    # about a minute, to see it work
    make run                          # trains in earnest
    make test                         # can the images be learnt from?
    make serve                        # the playground: http://127.0.0.1:8501/

Settings are in `project.py`; everything that is made lies in `workspace/`, the report in
`workspace/report/index.html`.
"""


@click.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=pathlib.Path))
@click.option("--from", "source", required=True, metavar="folder:PATH", help="The images.")
def new(folder, source) -> None:
    """Write a small project around a folder of images: settings, a test, make run.

    What has to be done to the images so that they can be learnt from is looked up and written
    down as settings, to be changed.
    """
    if folder.exists():
        raise Failure(f"{folder} is there already: choose another name")
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
    files = {
        "project.py": _PROJECT.format(
            settings="\n".join(f"    {name!r}: {value!r}," for name, value in settings.items())
        ),
        "test_project.py": _TEST,
        "Makefile": _MAKEFILE.format(python=sys.executable.replace("$", "$$")),
        "README.md": _README.format(
            name=folder.name,
            folder=found.root,
            images=len(found.files),
            classes="without classes" if few else f"{len(found.class_names)} classes",
        ),
        ".gitignore": "workspace/\n__pycache__/\n",
    }
    try:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Failure(f"{folder} could not be written: {error.strerror}", USAGE) from None
    shown = ", ".join(f"{name}={json.dumps(value)}" for name, value in needed.items())
    click.echo(f"{folder}: {len(found.files):,} images" + (f"; they need {shown}" if shown else ""))
    click.echo(f'cd {folder} && make run ARGS="--preset smoke"')
