"""`mnist-gan generate`: one image file of many images, drawn here or by a server.

Imports TensorFlow only where it draws itself.
"""

import os
import pathlib
import warnings

import click
import numpy as np
from PIL import Image

from common.contract import ANY_LABEL, GeneratorContract
from common.files import atomic_path
from common.images import tile
from pipeline.commands.versions import read_labels
from pipeline.options import FAILED, MODEL_HELP, USAGE, Failure, choose_model, workspace_option

# What `generate` writes, by the ending of the file's name, in Pillow's words.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".gif": "GIF"}


@click.command()
@workspace_option
@click.option(
    "--class", "--digit", "wanted", metavar="NAME", help="Class to draw; default: ten of each."
)
@click.option("--count", type=click.IntRange(1, 10_000), help="How many images  [default: 64].")
@click.option(
    "--seed", type=click.IntRange(0, 2**62), default=0, show_default=True, help="First seed."
)
@click.option("--version", type=int, metavar="V", help="A pushed version other than the newest.")
@click.option("--label", metavar="NAME", help="The version that this label (stable) points at.")
@click.option("--url", help="Ask a server: http://HOST:PORT, https://..., grpc://HOST:PORT.")
@click.option("--model", metavar="NAME", help=MODEL_HELP)
@click.option(
    "--out", type=click.Path(dir_okay=False), required=True, help="Image to write: .png, .jpg ..."
)
def generate(workspace, wanted, count, seed, version, label, url, model, out) -> None:
    """Draw images with the newest pushed generator, here or on a server that serves it."""
    if version is not None and label is not None:
        raise click.UsageError("give --version or --label, not both")
    if not pathlib.Path(out).resolve().parent.is_dir():
        raise Failure(f"the folder of {out} does not exist")
    file_format = FORMATS.get(pathlib.Path(out).suffix.lower())
    if file_format is None:
        raise Failure(f"{out}: its ending must be one of {', '.join(FORMATS)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore", FutureWarning)  # Google's, about Python 3.10
    if url is None:
        workspace = choose_model(workspace, model)
        model_dir = _version_dir(workspace, version, label)
        images = _draw_here(model_dir, wanted, count, seed)
        source = f"{workspace.serving.name} version {model_dir.name}"
    else:
        target = {"model": model or workspace.serving.name, "version": version, "label": label}
        images, source = _ask_server(url, target, wanted, count, seed), url
    columns = 10 if len(images) % 10 == 0 else round(len(images) ** 0.5)
    _write_image(tile(images, columns), pathlib.Path(out), file_format)
    click.echo(f"{len(images)} images from {source}: {out}")


def _version_dir(workspace, number: int | None, label: str | None) -> pathlib.Path:
    """The folder of a pushed version, of the newest where nothing else is said."""
    from serving import versions as folders

    found = {version.number: version.path for version in folders.list_versions(workspace.serving)}
    if not found:
        raise Failure(f"nothing was pushed in {workspace.root} yet: try `mnist-gan run`")
    if label is not None:
        labels = read_labels(workspace)
        if label not in labels:
            raise Failure(f"there is no label {label!r}: {', '.join(labels) or 'there are none'}")
        number = labels[label]
    if number is not None and number not in found:
        raise Failure(f"there is no version {number}; there are {', '.join(map(str, found))}")
    return found[max(found) if number is None else number]


def _draw_here(model_dir: pathlib.Path, wanted: str | None, count: int | None, seed: int):
    from judge import local_generator

    try:
        contract = GeneratorContract.load(model_dir)
        if wanted is None and count is None:
            labels, seeds = contract.ten_of_each(seed)
        else:
            label = ANY_LABEL if wanted is None else contract.label(wanted)
            labels, seeds = _labels_and_seeds(label, count, seed)
        local_generator.check_labels(contract, labels)
        # Most of the time goes into the import: a server has imported it already (`--url`).
        click.echo(f"loading TensorFlow and version {model_dir.name} ...", err=True)
        local_generator.load(os.fspath(model_dir))
        click.echo(f"drawing {len(labels)} images ...", err=True)
        return local_generator.draw(model_dir, labels, seeds)
    except ValueError as error:
        raise Failure(str(error)) from None


def _ask_server(url: str, target: dict, wanted: str | None, count: int | None, seed: int):
    from serving.client import GeneratorClient, ServerError
    from serving.server.errors import Code

    try:
        with GeneratorClient(url, **target) as client:
            if wanted is None and count is None:
                labels, seeds = client.contract().ten_of_each(seed)
            else:
                labels, seeds = _labels_and_seeds(_served_label(client, wanted), count, seed)
            click.echo(f"asking {url} for {len(seeds)} images ...", err=True)
            return client.images(seeds, labels)
    except ServerError as error:
        if error.code is Code.UNAVAILABLE:
            hint = "is a server running there? `mnist-gan serve` starts one"
            raise Failure(f"{url} does not answer: {hint}", FAILED) from None
        refused = error.code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
        message = error.message.partition("\n")[0]
        raise Failure(f"{url}: {message}", USAGE if refused else FAILED) from None
    except ValueError as error:
        raise Failure(str(error)) from None


def _served_label(client, wanted: str | None) -> int:
    """The label of a class that a server draws; a number needs no description of the model."""
    from serving.client import ServerError
    from serving.server.errors import Code

    if wanted is None:
        return ANY_LABEL
    try:
        return client.contract().label(wanted)
    except ServerError as error:
        if error.code is not Code.UNIMPLEMENTED or not wanted.isdecimal():
            raise
        return int(wanted)


def _labels_and_seeds(label: int, count: int | None, seed: int) -> tuple[list[int], list[int]]:
    """Labels and seeds where some of one class, or of any, are asked for."""
    count = count or 64
    return [label] * count, list(range(seed, seed + count))


def _write_image(sheet: np.ndarray, path: pathlib.Path, file_format: str) -> None:
    """Writes an image file whole or not at all."""
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format=file_format, quality=95)
