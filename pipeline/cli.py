"""The command `mnist-gan`. Thin: each command parses its options and calls one function.

What needs TensorFlow or TFX is imported inside the commands that run it, so that `--help` and
everything that only reads answers at once. Exit codes: 0 done; 1 the pipeline or the gate said no;
2 wrong usage or bad input; 130 stopped by Ctrl-C or a signal.
"""

import contextlib
import errno
import json
import multiprocessing
import os
import pathlib
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import click

from common import terminal
from common.files import disk_fault
from common.workspace import Workspace, WorkspaceError
from pipeline.commands import lineage as lineage_commands
from pipeline.commands import watch as watch_command
from pipeline.commands.generate import generate
from pipeline.commands.new import new
from pipeline.commands.report import report
from pipeline.commands.versions import versions
from pipeline.commands.worker import pools, worker
from pipeline.options import (
    FAILED,
    INTERRUPTED,
    USAGE,
    Failure,
    check_tfx,
    command,
    json_option,
    model_option,
    no_run,
    workspace_option,
)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
ADDRESS_SPACE = 6 * 2**30  # bytes; a run with the default model was seen to map 3.4 GiB


@contextlib.contextmanager
def _one_message() -> Iterator[None]:
    """Turns what is wrong with the workspace, its files or the output into one message."""
    try:
        yield
    except WorkspaceError as error:
        raise Failure(str(error)) from None
    except PermissionError as error:
        raise Failure(
            f"{error.filename or error} may not be used by this user: work as its owner, or "
            "have them allow it (`chmod -R go+rX` lets everybody read a folder)"
        ) from None
    except OSError as error:
        if error.filename is not None:
            if fault := disk_fault(str(error), _folder_of(error) or ""):
                raise Failure(f"{error.filename} can't be written: {fault}", FAILED) from None
            raise Failure(f"{error.filename} can't be used: {error.strerror}") from None
        if error.errno not in _FULL:
            raise
        with contextlib.suppress(OSError):  # what is still to be written would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failure(f"the output can't be written: {error.strerror}", FAILED) from None


def _folder_of(error: Exception) -> pathlib.Path | None:
    """Of the file that an error is about."""
    name = getattr(error, "filename", None)
    return pathlib.Path(name).absolute().parent if isinstance(name, str) else None


class _Group(click.Group):
    """Has one message for what goes wrong in any command, `--help` and `--version` included."""

    def make_context(self, *args, **options) -> click.Context:
        with _one_message():
            return super().make_context(*args, **options)

    def invoke(self, context: click.Context) -> object:
        with _one_message():
            return super().invoke(context)


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="mnist-gan")
def main() -> None:
    """Train a GAN on handwritten digits in a TFX pipeline, judge it, push it, serve it."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (`>&-`): the next file would take its place
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r+"))
    for stream in (sys.stdout, sys.stderr):
        # A terminal or file that can't show a character gets a question mark in its place.
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        if encoding != "utf8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _log_file(workspace: Workspace, command: str, ending: str = "") -> pathlib.Path:
    """Named by the time in UTC: in the night in which clocks go back an hour is there twice."""
    return workspace.logs / time.strftime(f"{command}-%Y%m%dT%H%M%SZ{ending}.log", time.gmtime())


def _reason(context: click.Context, option: click.Parameter, value: str | None) -> str:
    if value is not None and not value.strip():
        raise click.UsageError(f"{option.opts[0]} takes a reason, which is recorded")
    return value or ""


def _all(*options):
    """One decorator that adds all of them, in this order."""

    def add(command):
        for option in reversed(options):
            command = option(command)
        return command

    return add


# What decides the settings, as `_settings` takes it.
_settings_options = _all(
    click.option(
        "--preset",
        default="standard",
        show_default=True,
        help="smoke, standard or quality; to study failures: collapse, no-penalty, saturating.",
    ),
    click.option("--dataset", help="auto (default), mnist, digits, any TFDS set or folder:PATH."),
    click.option("--data-dir", metavar="DIR", help="Folder of the data set's original files."),
    click.option(
        "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a setting."
    ),
)
# What decides a pipeline too, as `local_runner.compile_pipeline` takes it.
_pipeline_options = _all(
    _settings_options,
    click.option("--from", "from_node", metavar="NODE", help="Re-run NODE and all downstream."),
    click.option("--beam-arg", "beam_args", multiple=True, metavar="ARG", help="A flag for Beam."),
    click.option(
        "--force-bless",
        metavar="REASON",
        callback=_reason,
        help="Push despite failed checks; REASON is recorded.",
    ),
    click.option(
        "--replace",
        metavar="REASON",
        callback=_reason,
        help="Replace a version in service though it is better or was judged more strictly.",
    ),
)
_engine_option = click.option(
    "--engine",
    default="local",
    show_default=True,
    callback=pools,
    help="Where Beam works: local or workers://HOST:PORT,HOST:PORT, pools of `mnist-gan worker`.",
)
_verbose_option = click.option("--verbose", is_flag=True, help="Show every log line and traceback.")


@main.command()
@workspace_option
@_pipeline_options
@_engine_option
@click.option("--verify", is_flag=True, help="Compare the digests of what the cache holds.")
@click.option("--watch", "watching", is_flag=True, help="Show the run on a live page, and open it.")
@click.option("--settings", "list_settings", is_flag=True, help="List all settings and stop.")
@_verbose_option
@json_option
def run(
    workspace, preset, dataset, data_dir, assignments, engine, verify, watching, list_settings,
    verbose, as_json, **options,
) -> None:  # fmt: skip
    """Run the pipeline: data, statistics, Transform, training, judgement, push."""
    settings = _settings(preset, assignments, dataset, data_dir)
    if list_settings:
        _print_settings(settings, as_json)
        return
    document = _observed(
        settings,
        workspace,
        verbose,
        as_json,
        watching,
        pools=engine,
        verify_cache=verify,
        create=click.get_current_context().obj,
        **options,
    )
    _exit(document)


@main.command()
@workspace_option
@_settings_options
@click.option(
    "--trials",
    type=click.IntRange(1, 1000),
    default=9,
    show_default=True,
    help="How many settings are tried.",
)
@click.option("--minutes", type=click.IntRange(1, 10_000), help="No training begins after so many.")
@_verbose_option
@json_option
def tune(
    workspace, preset, dataset, data_dir, assignments, trials, minutes, verbose, as_json
) -> None:
    """Search for better settings of the model, on the FID of the eval split.

    All of them train for a few steps, the best third for three times as many, and so on (successive
    halving, as in Hyperband), the last for all. `run --set hyperparameters=latest` takes the best.
    What --set gives is held, not searched. A search that was stopped goes on by the same command.
    """
    settings = _settings(preset, assignments, dataset, data_dir)
    fixed = sorted(assignment.partition("=")[0].strip() for assignment in assignments)
    document = _observed(
        settings,
        workspace,
        verbose,
        as_json,
        # A limit of time may have left a search unfinished: that must not come from the cache.
        from_node="Tuner" if minutes else None,
        search={"trials": trials, "minutes": minutes or 0, "fixed": fixed},
        create=click.get_current_context().obj,
    )
    if document["state"] != "COMPLETE":
        sys.exit(FAILED)


def _observed(settings, workspace, verbose, as_json, watching=False, **options) -> dict:
    """Runs a pipeline before the user's eyes; gives the document of `lineage.documents.status`."""
    from pipeline import console

    begun = time.monotonic()
    _check_machine()
    log = _log_file(workspace, "run")
    with workspace.lock(), console.quiet(log, verbose=verbose) as (out, err):
        view = console.RunView(err if as_json else out)
        with view, _page(workspace, view, watching):
            document = _run(settings, workspace, view, verbose, log, begun=begun, **options)
        _tell(document, workspace, log, out, as_json)
    if document["stopped"]:
        _leave(INTERRUPTED)
    return document


@main.command("compile")
@workspace_option
@_pipeline_options
@click.option(
    "--to",
    type=click.Choice(["ir", "kubeflow"]),
    required=True,
    help="ir: for `mnist-gan node`; kubeflow: for Kubeflow Pipelines 2 and Vertex AI.",
)
@click.option("--root", help="kubeflow: gs://BUCKET/FOLDER, or a folder that all tasks mount.")
@click.option("--image", help="kubeflow: the container image of the tasks.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@_verbose_option
def compile_(
    workspace, preset, dataset, data_dir, assignments, to, root, image, file, verbose, **options
) -> None:
    """Write the pipeline to FILE, for an orchestrator that runs it node by node."""
    from pipeline import console

    elsewhere = to == "kubeflow"
    if elsewhere != bool(root) or elsewhere != bool(image) or (elsewhere and options["from_node"]):
        raise click.UsageError("--root and --image belong to --to kubeflow, --from to --to ir")
    settings = _settings(preset, assignments, dataset, data_dir)
    if not file.resolve().parent.is_dir():
        raise Failure(f"there is no folder {file.parent} for {file.name}")
    _check_machine()
    log = _log_file(workspace, "compile")
    with workspace.lock(), console.quiet(log, verbose=verbose) as (_, err):
        with console.RunView(err) as view, _starting(workspace, view, verbose, log):
            from pipeline import local_runner

            create = click.get_current_context().obj
            if elsewhere:
                from pipeline import kubeflow

                del options["from_node"]
                kubeflow.write(
                    file, settings, workspace, view, root, image, create=create, **options
                )
                return
            made = local_runner.compile_pipeline(
                settings, workspace, view, create=create, **options
            )
            local_runner.write_ir(made, workspace, file)


@main.command()
@click.argument("name", metavar="NODE")
@click.option(
    "--ir",
    "file",
    required=True,
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="What `mnist-gan compile --to ir` wrote; it names the workspace too.",
)
@click.option("--run-id", required=True, metavar="ID", help="The run's name, one for all nodes.")
@_engine_option
@_verbose_option
@json_option
def node(name, file, run_id, engine, verbose, as_json) -> None:
    """Run one node of a compiled pipeline; again, where it failed.

    Nodes that do not need each other may run side by side. The one that ends last writes the
    report, and its exit code is the run's.
    """
    check_tfx()
    from lineage.store import StoreError, open_store
    from pipeline import console, ir, upkeep

    try:
        document = ir.read(file)
        workspace = Workspace.at(document["workspace"])
        os.chdir(document["folder"])
        log = _log_file(workspace, "node", f"-{os.getpid()}")
        ir.check_names(document, name, run_id)
        _check_machine()
        with workspace.share(run_id, name, alone=lambda: upkeep.put_right(workspace)):
            store = open_store(workspace.metadata) if workspace.metadata.exists() else None
            ir.check(document, store, name, run_id)
            with console.quiet(log, verbose=verbose) as (out, err):
                with console.RunView(err if as_json else out) as view:
                    with _starting(workspace, view, verbose, log):
                        from pipeline import engines, local_runner

                        with engines.beam_flags(engine, workspace.root) as flags:
                            document = local_runner.run_node(
                                name, document, workspace, run_id, view, flags
                            )
                if as_json or document["state"] != "WAITING":
                    _tell(document, workspace, log, out, as_json)
    except (ir.IrError, StoreError) as error:
        raise Failure(str(error)) from None
    if document["stopped"]:
        _leave(INTERRUPTED)
    _exit(document)


def _tell(document: dict, workspace, log: pathlib.Path, out, as_json: bool) -> None:
    from pipeline import console

    if as_json:
        out.print_json(json.dumps(document))
    elif not document["stopped"]:
        console.say(out, _closing(document, workspace, log, out))


def _exit(document: dict) -> None:
    """Ends with the verdict of a run, or of a node while others are to follow."""
    pushed = document["state"] == "COMPLETE" and document["pushed_version"] is not None
    if not pushed and document["state"] != "WAITING":
        sys.exit(FAILED)


def _settings(preset: str, assignments, dataset: str | None, data_dir: str | None):
    """The settings of a preset with what the options change."""
    from pipeline import configs

    try:
        overrides = configs.parse_assignments(assignments)
        overrides |= {"dataset": dataset} if dataset is not None else {}
        overrides |= {"data_dir": data_dir} if data_dir else {}
        return configs.load(preset, overrides)
    except configs.SettingsError as error:
        raise Failure(str(error)) from None


@contextlib.contextmanager
def _page(workspace, view, watching: bool) -> Iterator[None]:
    """With `watching` a live page as long as the run; without it a line on how to get one."""
    from rich.markup import escape

    later = escape(command(workspace, "watch"))
    if not watching:
        view.note(f"[dim]a live page of this run: {later}, or --watch[/]")
        yield
        return
    view.phase("starting the page")
    with watch_command.beside(workspace) as address:
        if not address:
            view.note("the live page could not be started; the log says why")
        else:
            view.note(f"{address} shows this run while it lasts; afterwards {later} does")
            # Without a screen a browser of text would take the terminal.
            if sys.platform == "darwin" or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
                click.launch(address)
        yield


def _closing(document: dict, workspace, log: pathlib.Path, out) -> Iterator[str]:
    """The end of a run: what came out, digits where the terminal can show them, what to do next."""
    from pipeline import console, summary

    columns = console.columns(out)
    yield from summary.run(document, columns, nodes=False)
    can_draw = out.encoding == "utf-8" and out.color_system in ("256", "truecolor")
    if document["samples"] and columns and can_draw:
        yield from summary.digits(pathlib.Path(document["samples"]), columns)
    given = click.get_current_context().params
    asked = [
        *(["--preset", given["preset"]] if given.get("preset") else []),
        *(["--dataset", given["dataset"]] if given.get("dataset") else []),
        *(["--data-dir", str(given["data_dir"])] if given.get("data_dir") else []),
        *(word for one in given.get("assignments", ()) for word in ("--set", one)),
    ]
    yield from summary.following(document, workspace, asked)
    if document["state"] == "FAILED":
        yield f"the full log: {log}"


def _check_machine() -> None:
    """Refuses where TFX would end without a word or fail in the first node."""
    check_tfx()
    _check_memory()
    _check_semaphores()


def _check_memory() -> None:
    """Refuses what TensorFlow would die of without a word."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < ADDRESS_SPACE:
        raise Failure(
            f"this process may map {limit / 2**30:.1f} GiB of memory (`ulimit -v`), and this "
            f"command maps up to {ADDRESS_SPACE / 2**30:.0f}: raise the limit with "
            "`ulimit -v unlimited`"
        )


def _check_semaphores() -> None:
    """Refuses what Beam would fail of in the first node."""
    try:
        multiprocessing.get_context("fork").Lock()
    except OSError as error:
        raise Failure(
            f"Beam needs semaphores in shared memory, and there are none ({error.strerror}): mount "
            "/dev/shm so that it can be written"
        ) from None


@contextlib.contextmanager
def _starting(workspace, view, verbose: bool, log: pathlib.Path) -> Iterator[None]:
    """Turns whatever stops a run before its first node into one message."""
    view.phase("starting TFX")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TFX hands sys.argv to absl's flags, which do not know ours.
    sys.argv = sys.argv[:1]
    try:
        yield
    except KeyboardInterrupt:
        raise Failure("stopped before the first node", INTERRUPTED) from None
    except Exception as error:
        if verbose:
            raise
        _log_traceback()
        fault = disk_fault(str(error), _folder_of(error) or workspace.root)
        code = USAGE if isinstance(error, ValueError) and not fault else FAILED
        raise Failure(f"{fault or error}\nthe full log: {log}", code) from None


def _run(settings, workspace, view, verbose, log, pools=(), beam_args=(), **options) -> dict:
    with _starting(workspace, view, verbose, log):
        from pipeline import engines, local_runner

        with engines.beam_flags(pools, workspace.root) as flags:
            return local_runner.run(
                settings, workspace, view, beam_args=[*flags, *beam_args], **options
            )


def _leave(code: int) -> None:
    """Ends the process, without waiting for threads of Beam that were at work when it was stopped.

    All is written and closed by then.
    """
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    if any(not thread.daemon for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _log_traceback() -> None:
    """Into the log, where one can be written: the message must not be lost to a full disk."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


@main.command()
@workspace_option
@json_option
def status(workspace, as_json) -> None:
    """The last run: node states, times, metrics, blessing, pushed version."""
    with lineage_commands.reading(workspace, None) as (store, _):
        from lineage import documents

        runs = store.runs()
        if not runs:
            raise no_run(workspace)
        document = documents.status(store, workspace, runs[0])
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        from pipeline import summary

        click.echo("\n".join(summary.run(document)))


@main.command()
@workspace_option
@click.argument("target", type=click.Path(exists=True), metavar="MODEL_OR_FOLDER")
@click.option("--dataset", default="auto", show_default=True, help="What it is measured against.")
@click.option("--data-dir", metavar="DIR", help="Folder of the data set's original files.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option(
    "--value-range",
    metavar="LOW,HIGH",
    help="Black and white of pixels that do not say so: -1,1 or 0,1 or 0,255.",
)
@click.option("--out", type=click.Path(file_okay=False), help="Folder for the images.")
@_verbose_option
@json_option
def evaluate(
    workspace, target, dataset, data_dir, assignments, value_range, out, verbose, as_json
) -> None:
    """Measure a generator (SavedModel), a folder of images or an .npz as the judge does."""
    from pipeline import console, summary

    settings = _settings("standard", assignments, dataset, data_dir)
    _check_memory()
    log = _log_file(workspace, "evaluate")
    with console.quiet(log, verbose=verbose) as (stdout, stderr):
        with console.RunView(stderr) as view:
            document, rows, problem = _evaluate(
                settings, workspace, target, value_range, out, view, verbose
            )
        if as_json:
            stdout.print_json(json.dumps(document))
        else:
            lines = summary.evaluation(
                document, rows, None if problem else out, console.columns(stdout)
            )
            console.say(stdout, lines)
    if problem:
        raise Failure(problem, FAILED)


def _evaluate(settings, workspace, target, value_range, out, view, verbose) -> tuple:
    """The document, its rows for people, and why it could not be written (\"\" if it was)."""
    view.phase("starting TensorFlow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from datasets import image_files, source
        from judge import evaluate as evaluation

        values = image_files.parse_value_range(value_range) if value_range else None
        view.phase("data")
        # How images are read is about the target too; a data set of TFDS knows nothing of it.
        known = settings.data
        if not known.is_folder:
            about = ("image_size", "channels", "background")
            known = known.model_copy(update=dict.fromkeys(about))
        data = source.resolve(known, workspace.tfds)
        view.phase("measuring")
        problem = ""
        try:
            document = evaluation.evaluate(
                target,
                data,
                settings.judge,
                value_range=values,
                conversion=settings.data.conversion,
                seed=settings.seed,
                output_dir=out,
                cache_dir=workspace.cache,
            )
        except evaluation.OutputError as error:
            document, problem = error.document, str(error)
        return document, evaluation.table(document), problem
    except ValueError as error:
        if verbose:
            raise
        _log_traceback()
        raise Failure(str(error)) from None


@main.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@workspace_option
@model_option
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def serve(workspace, flags) -> None:
    """Serve the pushed versions: TF Serving's API and flags, REST on 8501, gRPC on 8500.

    --model NAME chooses among several models of the workspace; by default it is the one that was
    pushed to last.

    `mnist-gan serve --help` lists the flags.
    """
    from serving import versions as folders
    from serving.server.main import main as serve_main

    def check(base_path: pathlib.Path) -> None:
        if not folders.list_versions(base_path):
            raise Failure(f"nothing was pushed in {workspace.root} yet: try `mnist-gan run`")

    sys.exit(serve_main(list(flags), workspace.serving, check))


@main.command()
@workspace_option
@click.option("--port", default=6006, show_default=True, help="Port to serve on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
def tensorboard(workspace, port, host) -> None:
    """Open the training curves of all runs in TensorBoard."""
    if not workspace.tensorboard.is_dir():
        raise Failure(f"nothing was trained in {workspace.root} yet: try `mnist-gan run`")
    arguments = ["--logdir", str(workspace.tensorboard), "--port", str(port), "--host", host]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    quiet = ["-W", "ignore", "-m", "tensorboard.main", "--load_fast=false"]
    click.echo("starting TensorBoard ...", err=True)
    os.execv(sys.executable, [sys.executable, *quiet, *arguments])


def _print_settings(settings, as_json: bool) -> None:
    from pipeline import configs

    rows = configs.describe(settings)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [("name", "value", "description")]
    for row in rows:
        bounds = f" ({row['takes']})" if row["takes"] else ""
        table.append((row["name"], row["value"], row["description"] + bounds))
    for line in terminal.table(table, whole={0}):
        click.echo(line)


main.add_command(generate)
main.add_command(lineage_commands.lineage)
main.add_command(new)
main.add_command(report)
main.add_command(versions)
main.add_command(watch_command.watch)
main.add_command(worker)
