"""`mnist-gan versions`: which pushed versions there are, and which one is served.

Needs no TensorFlow. Servers follow by themselves: they read the folder every second.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator

import click

from common import terminal
from pipeline.options import Failure, json_option, model_option, workspace_option
from serving import versions as folders
from serving.server import canary, model_config
from serving.server.errors import ServingError


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What a folder of versions refuses becomes one message."""
    try:
        yield
    except ServingError as error:
        raise Failure(error.message) from None
    except (folders.VersionError, ValueError) as error:
        raise Failure(str(error)) from None
    except OSError as error:
        if isinstance(error, PermissionError) or error.filename is None:
            raise  # told alike by all commands; a pipe that was closed
        raise Failure(f"{error.filename} can't be written: {error.strerror}") from None


@click.group()
def versions() -> None:
    """List the pushed versions, roll back, restore, label, try one on a share of the requests."""


def _command(name: str, *parameters: Callable) -> Callable:
    """A command of this group: with its own parameters, and what all of them take and refuse."""

    def add(function: Callable) -> click.Command:
        for parameter in (*reversed((model_option, *parameters, json_option)), workspace_option):
            function = parameter(function)
        return versions.command(name)(function)

    return lambda function: add(refusing()(function))


@_command("list")
def list_(workspace, as_json) -> None:
    """The pushed versions, newest first, those that were rolled back included."""
    labels = read_labels(workspace)
    rows = folders.overview(workspace.serving, labels)
    if not rows:
        raise Failure(f"nothing was pushed in {workspace.root} yet: try `mnist-gan run`")
    if as_json:
        document = {
            "model": workspace.serving.name,
            "base_path": str(workspace.serving),
            "labels": labels,
            "canary": _canary(workspace),
            "versions": rows,
        }
        click.echo(json.dumps(document, indent=2))
        return
    table = [("", "version", "pushed", "relative FID", "blessed", "labels", "run")]
    for row in rows:
        table.append(
            (
                "▶" if row["current"] else "",
                f"{row['version']}{' (rolled back)' if row['rolled_back'] else ''}",
                (row["pushed_at"] or "")[:16].replace("T", " "),
                "" if row["relative_fid"] is None else f"{row['relative_fid']:.4g}",
                "by force"
                if row["forced"]
                else {True: "yes", False: "no", None: ""}[row["blessed"]],
                ", ".join(row["labels"]),
                row["run"] or "",
            )
        )
    others = [name for name in workspace.models() if name != workspace.serving.name]
    if others:
        note = f"model {workspace.serving.name}; --model shows others: {', '.join(others)}"
        click.echo(note, err=True)
    # Where there is no room for all, the number says when it was pushed.
    for line in terminal.table(table, right={3}, whole={1, 2, 6}, drop=(2, 6)):
        click.echo(line)
    if trial := _canary(workspace):
        stopped = f"; a server stopped it: {trial['aborted']}" if trial["aborted"] else ""
        click.echo(f"version {trial['version']} gets {trial['share']:g} % of the requests{stopped}")
    for line in _dangling_notes(workspace, labels):
        click.echo(line)


@_command(
    "rollback",
    click.option(
        "--to", type=int, metavar="VERSION", help="Take out all that are newer than this."
    ),
)
def rollback(workspace, to, as_json) -> None:
    """Take the newest version out of service: servers go back to the one before it."""
    gone = folders.roll_back(workspace.serving, to)
    numbers = [version.number for version in gone]
    many = len(numbers) > 1
    _answer(
        workspace,
        as_json,
        f"version{'s' * many} {', '.join(map(str, numbers))} {'are' if many else 'is'} out of "
        f"service; servers go back to {_current(workspace)} within their poll interval",
        *_dangling_notes(workspace, read_labels(workspace)),
        f"to undo: mnist-gan versions restore {numbers[-1]}",
        rolled_back=numbers,
    )


@_command("restore", click.argument("version", type=int))
def restore(workspace, version, as_json) -> None:
    """Put VERSION, which was rolled back, into service again."""
    folders.restore(workspace.serving, version)
    current = _current(workspace)
    newest = "and the newest" if current == version else f"(the newest is {current})"
    text = f"version {version} is in service again {newest}"
    _answer(workspace, as_json, text, restored=version)


@_command(
    "label",
    click.argument("name"),
    click.argument("version", type=int, required=False),
    click.option("--remove", is_flag=True, help="Remove the label."),
)
def label(workspace, name, version, remove, as_json) -> None:
    """Point the label NAME (stable, canary) at VERSION, for `.../labels/NAME:predict`."""
    if remove == (version is not None):
        raise click.UsageError("give a VERSION, or --remove")
    labels = _set_label(workspace, name, version)
    points = f"label {name} points at version {labels.get(name)}"
    _answer(workspace, as_json, f"label {name} is removed" if remove else points)


def _set_label(workspace, name: str, version: int | None) -> dict[str, int]:
    return model_config.set_label(workspace.serving, workspace.serving.name, name, version)


@_command(
    "canary",
    click.argument("version", type=int),
    click.option(
        "--share",
        type=click.FloatRange(0, 100),
        default=10.0,
        show_default=True,
        help="Per cent of the requests without a version that VERSION answers.",
    ),
)
def canary_(workspace, version, share, as_json) -> None:
    """Try VERSION on a share of the requests; the others go to the stable version.

    VERSION may be one that was rolled back. Stable is what the label `stable` points at, else the
    newest of the other versions. A server ends the trial by itself when VERSION fails or is slow
    beyond chance.
    """
    served = [v.number for v in folders.list_versions(workspace.serving)]
    others = [number for number in served if number != version]
    stable = read_labels(workspace).get("stable")
    if stable not in others:
        if not others:
            raise Failure(f"there is no other version that could be stable beside {version}")
        stable = max(others)

    rolled_back = [v.number for v in folders.list_rolled_back(workspace.serving)]
    if version not in served and version not in rolled_back:
        raise Failure(f"there is no version {version}; there are {', '.join(map(str, served))}")
    # First the share, so that a version that comes back never gets all requests.
    canary.Canary(version, stable, share).write(workspace.serving)
    if version in rolled_back:
        folders.restore(workspace.serving, version)
    for name, number in (("stable", stable), ("canary", version)):
        _set_label(workspace, name, number)
    _answer(
        workspace,
        as_json,
        f"version {version} gets {share:g} % of the requests, version {stable} the others",
        "to end it: mnist-gan versions promote, or mnist-gan versions abort",
    )


@_command("promote")
def promote(workspace, as_json) -> None:
    """Make the canary the stable version: it gets all requests that name no version."""
    trial = _trial(workspace)
    newest = _current(workspace)
    if trial.version != newest:
        raise Failure(
            f"version {newest} is newer than the canary, {trial.version}, and would get the "
            f"requests: take it out of service first (mnist-gan versions rollback)"
        )

    _set_label(workspace, "stable", trial.version)
    _end_trial(workspace)
    _answer(workspace, as_json, f"version {trial.version} is stable and gets all requests")


@_command("abort")
def abort(workspace, as_json) -> None:
    """End the trial: the canary goes out of service, the stable version gets all requests."""
    trial = _trial(workspace)

    # All that are newer than the stable version: one of them would get the requests.
    if _current(workspace) != trial.stable:
        folders.roll_back(workspace.serving, trial.stable)
    _end_trial(workspace)
    why = f" (a server had stopped it: {trial.aborted})" if trial.aborted else ""
    _answer(
        workspace,
        as_json,
        f"version {trial.version} is out of service{why}; {trial.stable} gets all requests",
        f"to undo: mnist-gan versions restore {trial.version}",
    )


def _trial(workspace):
    """The canary under trial.

    Raises:
      Failure: there is none.
    """
    found = canary.read(workspace.serving)
    if found is None:
        raise Failure("there is no canary: mnist-gan versions canary VERSION starts one")
    return found


def _end_trial(workspace) -> None:
    if "canary" in model_config.labels(workspace.serving):
        _set_label(workspace, "canary", None)
    (workspace.serving / canary.FILE_NAME).unlink(missing_ok=True)


@refusing()
def read_labels(workspace) -> dict[str, int]:
    """The versions that labels point at."""
    return model_config.labels(workspace.serving)


def _answer(workspace, as_json: bool, *lines: str, **facts: object) -> None:
    """Prints `lines`, or the state of the model with `facts` as JSON."""
    if as_json:
        lines = (json.dumps({**facts, **_state(workspace)}, indent=2),)
    for line in lines:
        click.echo(line)


def _current(workspace) -> int | None:
    """The newest version in service."""
    found = folders.latest(workspace.serving)
    return found.number if found else None


def _state(workspace) -> dict:
    labels = read_labels(workspace)
    return {
        "current": _current(workspace),
        "labels": labels,
        "dangling_labels": _dangling(workspace, labels),
        "canary": _canary(workspace),
    }


def _canary(workspace) -> dict | None:
    found = canary.read(workspace.serving)
    return None if found is None else dataclasses.asdict(found)


def _dangling(workspace, labels: dict[str, int]) -> list[str]:
    """Labels of versions that are not in service."""
    there = {version.number for version in folders.list_versions(workspace.serving)}
    return sorted(name for name, version in labels.items() if version not in there)


def _dangling_notes(workspace, labels: dict[str, int]) -> list[str]:
    mend = _current(workspace) or "--remove"
    return [
        f"label {name} points at version {labels[name]}, which is not in service: requests by it "
        f"fail until `mnist-gan versions label {name} {mend}`"
        for name in _dangling(workspace, labels)
    ]
