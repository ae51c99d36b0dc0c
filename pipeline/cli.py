"""The command `mnist-gan`. Thin: each command parses its options and calls one function.

What needs TensorFlow or TFX is imported inside the commands that run it, so that `--help` and
everything that only reads answers at once. Exit codes: 0 done; 1 the pipeline or the gate said no;
2 wrong usage or bad input.
"""

import json
import os
import pathlib
import sys
import time
import traceback

import click

from pipeline.workspace import DEFAULT, VARIABLE, Workspace, WorkspaceBusyError

FAILED, USAGE = 1, 2


class Failure(click.ClickException):
    """One clear message on stderr and an exit code."""

    def __init__(self, message: str, code: int = USAGE):
        super().__init__(message)
        self.exit_code = code


def workspace_option(command):
    return click.option(
        "--workspace",
        "workspace",
        default=DEFAULT,
        envvar=VARIABLE,
        show_default=True,
        metavar="DIR",
        callback=lambda context, option, value: Workspace.at(value),
        help=f"Folder that holds everything a pipeline makes (environment: {VARIABLE}).",
    )(command)


def json_option(command):
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mnist-gan")
def main() -> None:
    """Train a GAN on handwritten digits in a TFX pipeline, judge it, push it, serve it."""


@main.command()
@workspace_option
@click.option("--preset", default="standard", show_default=True, help="smoke, standard or quality.")
@click.option("--dataset", help="auto (default), mnist, digits or the name of any TFDS set.")
@click.option("--data-dir", metavar="DIR", help="Folder of the data set's original files.")
@click.option("--from", "from_node", metavar="NODE", help="Run NODE and all behind it anew.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--beam-arg", "beam_args", multiple=True, metavar="ARG", help="A flag for Beam.")
@click.option("--settings", "list_settings", is_flag=True, help="List all settings and stop.")
@click.option("--verbose", is_flag=True, help="Show every log line and traceback.")
@json_option
def run(
    workspace, preset, dataset, data_dir, from_node, assignments, beam_args, list_settings, verbose,
    as_json,
) -> None:  # fmt: skip
    """Run the pipeline: data, statistics, Transform, training, judgement, push."""
    from pipeline import configs, console

    try:
        overrides = configs.parse_assignments(assignments)
        if dataset:
            overrides["dataset"] = dataset
        if data_dir:
            overrides["data_dir"] = data_dir
        settings = configs.load(preset, overrides)
    except configs.SettingsError as error:
        raise Failure(str(error)) from None
    if list_settings:
        _print_settings(configs.describe(preset), as_json)
        return

    log = workspace.logs / time.strftime("run-%Y%m%d-%H%M%S.log")
    try:
        with workspace.lock(), console.quiet(log, verbose=verbose) as (out, err):
            with console.RunView(err if as_json else out) as view:
                document = _run(settings, workspace, view, from_node, beam_args, verbose, log)
            if as_json:
                out.print_json(json.dumps(document))
            else:
                console.print_run(out, document)
                if document["state"] == "FAILED":
                    out.print(f"the full log: {log}", markup=False, highlight=False)
    except WorkspaceBusyError as error:
        raise Failure(str(error)) from None
    if document["state"] != "COMPLETE" or not document["blessed"]:
        sys.exit(FAILED)


def _run(settings, workspace, view, from_node, beam_args, verbose, log) -> dict:
    """Runs the pipeline; turns whatever stops it before its first node into one message."""
    view.phase("starting TFX")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TFX hands sys.argv to absl's flags, which do not know ours.
    sys.argv = sys.argv[:1]
    try:
        from pipeline import local_runner

        return local_runner.run(
            settings, workspace, view, from_node=from_node, beam_args=list(beam_args)
        )
    except KeyboardInterrupt:
        raise Failure(
            "stopped; what was finished is kept, and the next `mnist-gan run` goes on from there",
            FAILED,
        ) from None
    except Exception as error:
        if verbose:
            raise
        traceback.print_exc()  # into the log
        raise Failure(f"{error}\nthe full log: {log}") from None


@main.command()
@workspace_option
@json_option
def status(workspace, as_json) -> None:
    """The last run: node states, times, metrics, blessing, pushed version."""
    from pipeline import store

    try:
        connection = store.connect(workspace.metadata)
    except FileNotFoundError:
        raise Failure(f"there was no run in {workspace.root} yet: try `mnist-gan run`") from None
    run = store.latest_run(connection)
    if run is None:
        raise Failure(f"there was no run in {workspace.root} yet: try `mnist-gan run`")
    document = store.describe_run(connection, workspace, run)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        from rich.console import Console

        from pipeline import console

        console.print_run(Console(), document)


@main.command()
@workspace_option
@click.option("--port", default=6006, show_default=True, help="Port to serve on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
def tensorboard(workspace, port, host) -> None:
    """Open the training curves of all runs in TensorBoard."""
    if not workspace.tensorboard.is_dir():
        raise Failure(f"nothing was trained in {workspace.root} yet: try `mnist-gan run`")
    program = pathlib.Path(sys.executable).with_name("tensorboard")
    arguments = ["--logdir", str(workspace.tensorboard), "--port", str(port), "--host", host]
    os.execv(program, [str(program), *arguments])


def _print_settings(rows: list[dict], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("name", "value", "takes", "description"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row["name"], row["value"], row["takes"], row["description"])
    Console().print(table)
