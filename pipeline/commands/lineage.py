"""`mnist-gan lineage`: where a model comes from, what differs, what was altered, what is left over.

Needs neither TensorFlow nor TFX, and no ML Metadata until a command runs.
"""

import contextlib
import datetime
import json
import sys
from collections.abc import Iterator

import click

from common.workspace import Workspace
from pipeline.options import FAILED, Failure, check_tfx, json_option, no_run, workspace_option


def _source_options(command):
    """Adds `--workspace` and `--metadata`."""
    command = click.option(
        "--metadata",
        metavar="FILE_OR_URI",
        envvar="MNIST_GAN_METADATA",  # where no list of processes shows the password
        help="Read this store instead: an SQLite file, or mysql://USER:PASSWORD@HOST/DATABASE. "
        "Any TFX pipeline's will do. A URI with a password belongs into MNIST_GAN_METADATA.",
    )(command)
    return workspace_option(command)


@contextlib.contextmanager
def reading(workspace: Workspace, metadata: str | None) -> Iterator[tuple]:
    """Yields the open store, and whether a run is going on there (None: who knows).

    Turns what can be wrong with it, and names that nothing answers to, into one message.
    """
    check_tfx()
    import ml_metadata as mlmd

    from lineage.documents import NotFoundError
    from lineage.store import StoreError, open_store

    alive = None if metadata else workspace.is_locked()
    try:
        yield open_store(metadata or workspace.metadata), alive
    except FileNotFoundError as error:
        if metadata:
            raise Failure(str(error)) from None
        raise no_run(workspace) from None
    except (StoreError, NotFoundError) as error:
        raise Failure(str(error)) from None
    except mlmd.errors.StatusError as error:
        raise Failure(f"the store can't be read now: {error}") from None


def _answer(document: dict, as_json: bool, view: str) -> None:
    """Prints a document as JSON or as one of the functions of `render` shows it."""
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    from lineage import render

    click.echo("\n".join(getattr(render, view)(document)))


@click.group()
def lineage() -> None:
    """Where a model comes from, read from ML Metadata (this pipeline's or any other's)."""
    check_tfx()


@lineage.command()
@_source_options
@click.option("--blessed/--not-blessed", default=None, help="Only runs of this verdict.")
@click.option("--state", help="Only runs in this state: COMPLETE, FAILED, RUNNING or WAITING.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]),
    help="Only runs that began then or later (local time).",
)
@click.option("--limit", default=20, show_default=True, help="At most so many; 0 is all.")
@json_option
def runs(workspace, metadata, blessed, state, since, limit, as_json) -> None:
    """Pipeline runs, newest first."""
    from lineage import documents

    if since is not None:
        since = since.astimezone(datetime.timezone.utc)
    with reading(workspace, metadata) as (store, alive):
        document = documents.runs(
            store, alive=alive, blessed=blessed, state=state, since=since, limit=limit or None
        )
        _answer(document, as_json, "runs")


@lineage.command()
@_source_options
@click.argument("name", metavar="ID_OR_VERSION_OR_RUN")
@json_option
def show(workspace, metadata, name, as_json) -> None:
    """Everything about one artifact, execution, version or run.

    A bare number is a version, else an artifact and an execution; artifact:7, execution:7,
    version:7 and run:NAME say which. The start of a run's name will do; `latest` is the newest
    version.
    """
    from lineage import documents

    with reading(workspace, metadata) as (store, alive):
        _answer(documents.show(store, name, alive), as_json, "show")


@lineage.command()
@_source_options
@click.option("--version", help="The pushed version to trace; the default is `latest`.")
@click.option("--artifact", type=int, metavar="ID", help="Trace this artifact instead.")
@click.option("--up/--down", "up", default=True, help="Where it comes from, or what came of it.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(min=0),
    help="Down: of each node the newest executions that used an artifact; 0 is all.",
)
@click.option("--mermaid", "drawing", flag_value="mermaid", help="Print a Mermaid flowchart.")
@click.option("--dot", "drawing", flag_value="dot", help="Print a graph for Graphviz.")
@json_option
def trace(workspace, metadata, version, artifact, up, limit, drawing, as_json) -> None:
    """Everything upstream of a version or an artifact, up to the data set's files."""
    from lineage import documents

    if version and artifact is not None:
        raise click.UsageError("give --version or --artifact, not both")
    with reading(workspace, metadata) as (store, _):
        if artifact is None:
            root = documents.find_version(store, version or "latest").id
        else:
            root = documents.find(store, f"artifact:{artifact}")[0].id
        document = documents.trace(store, [root], "up" if up else "down", limit or None)
        _answer(document, as_json, drawing or "trace")


@lineage.command()
@_source_options
@click.argument("a")
@click.argument("b")
@json_option
def diff(workspace, metadata, a, b, as_json) -> None:
    """What differs between two runs, models or versions: data, settings, source, metrics."""
    from lineage import documents

    with reading(workspace, metadata) as (store, _):
        _answer(documents.diff(store, a, b), as_json, "diff")


@lineage.command()
@_source_options
@click.option("--version", help="Only this version and what it comes from (or `latest`).")
@json_option
def verify(workspace, metadata, version, as_json) -> None:
    """Compare files with the digests recorded of them; exit code 1 if any is not what it was."""
    from lineage import verify as verification

    with reading(workspace, metadata) as (store, _):
        document = verification.verify(store, version)
        _answer(document, as_json, "verify")
    if not document["ok"]:
        sys.exit(FAILED)


@lineage.command()
@_source_options
@click.option("--prune", is_flag=True, help="Remove what nothing refers to, after showing it.")
@click.option("--yes", is_flag=True, help="Prune without asking.")
@json_option
def stale(workspace, metadata, prune, yes, as_json) -> None:
    """Executions that only claim to run, artifacts without files, and files that nothing uses.

    In use is all that a pushed or blessed model comes from, and all of the newest run.
    """
    from lineage import stale as leftovers

    if prune and metadata:
        raise click.UsageError("--prune works on a workspace, not on --metadata")
    root = None if metadata else workspace.pipeline_root
    with contextlib.ExitStack() as stack:
        if prune and workspace.metadata.is_file():
            # Held from the look to the removal: no run begins to use what goes.
            stack.enter_context(workspace.lock())
        store, alive = stack.enter_context(reading(workspace, metadata))
        document = leftovers.stale(store, root, alive=False if prune else alive)
        if prune and not as_json:
            _answer(document, False, "stale")
        if prune and (document["unreferenced"] or document["folders"]):
            if not yes:
                click.confirm("Remove what is unused?", abort=True, err=as_json)
            try:
                freed = leftovers.prune(workspace.metadata, workspace.pipeline_root, document)
            except leftovers.PruneError as error:
                raise Failure(str(error), FAILED) from None
            document["freed"] = freed
            if not as_json:
                click.echo(f"removed: {freed:,} bytes")
        if as_json or not prune:
            _answer(document, as_json, "stale")
