"""What the commands share: options, exit codes, and one way to fail."""

import click

from common.workspace import DEFAULT, VARIABLE, Workspace

FAILED, USAGE = 1, 2


class Failure(click.ClickException):
    """One clear message on stderr and an exit code."""

    def __init__(self, message: str, code: int = USAGE):
        super().__init__(message)
        self.exit_code = code


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


def json_option(command):
    """Adds `--json`; the command gets `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
    )(command)
