"""What the commands share: options, exit codes, and one way to fail."""

import functools
import importlib.util
import os
import shlex

import click

from common.text import plain
from common.workspace import DEFAULT, VARIABLE, Workspace

FAILED, USAGE, INTERRUPTED = 1, 2, 130
MODEL_HELP = "The model, such as mnist_gan  [default: the one that was pushed to last]."


class Failure(click.ClickException):
    """One clear message on stderr and an exit code."""

    def __init__(self, message: str, code: int = USAGE):
        super().__init__(plain(message))
        self.exit_code = code  # type: ignore[misc]  # click reads it from the instance


def check_tfx() -> None:
    """Refuses in one sentence where the extra that brings TFX and ML Metadata is not installed."""
    if importlib.util.find_spec("ml_metadata") is None or importlib.util.find_spec("tfx") is None:
        raise Failure(
            "this command needs TFX and ML Metadata, which the extra `tfx` brings: "
            "uv pip install 'mnist-gan[tfx]'"
        )


def no_run(workspace: Workspace) -> Failure:
    """What commands say that read what a run made."""
    return Failure(f"there was no run in {workspace.root} yet: try `mnist-gan run`")


def command(workspace: Workspace, *words: str) -> str:
    """A command of ours on this workspace, to be copied into the terminal that we run in."""
    if workspace.root != Workspace.at(os.environ.get(VARIABLE) or DEFAULT).root:
        words = (*words, "--workspace", str(workspace.root))
    return shlex.join(["mnist-gan", *words])


def _workspace(context, option, value) -> Workspace:
    try:
        return Workspace.at(value)
    except (RuntimeError, OSError) as error:  # ~nobody, a loop of links
        raise click.BadParameter(str(error)) from None


def workspace_option(command):
    """Adds `--workspace`; the command gets a Workspace."""
    return click.option(
        "--workspace",
        "workspace",
        default=DEFAULT,
        envvar=VARIABLE,
        show_default=True,
        metavar="DIR",
        callback=_workspace,
        help=f"Folder that holds everything a pipeline makes (environment: {VARIABLE}).",
    )(command)


def model_option(command):
    """Adds `--model`, the model of the workspace that is meant; after `workspace_option`."""

    @functools.wraps(command)
    def wrapper(*args, workspace, model, **kwargs):
        return command(*args, workspace=choose_model(workspace, model), **kwargs)

    return click.option("--model", metavar="NAME", help=MODEL_HELP)(wrapper)


def choose_model(workspace: Workspace, name: str | None) -> Workspace:
    """The workspace with the model `name` meant, the one pushed to last where it is None."""
    if name is None:
        return workspace
    known = workspace.models()
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "nothing was pushed yet"
        raise Failure(f"there is no model {name!r} in {workspace.root}: {there}")
    return workspace.of_model(name)


def json_option(command):
    """Adds `--json`; the command gets `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
    )(command)
