"""What a person sees of a run: one line per node, a progress bar, a closing table.

Everything else that TensorFlow, TFX, Beam and their libraries print goes to a log file: they write
to the file descriptors 1 and 2 from Python and from C++, so those two are turned away as a whole.
"""

import contextlib
import errno
import io
import logging
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from common.workspace import WorkspaceError
from judge.registry import BY_KEY, HEADLINES

PROGRESS_LOGGER = "mnist_gan.progress"

MOST_NAMES = 20  # of files that were left out

_MARKS = {
    "COMPLETE": "[green]✓[/]",
    "CACHED": "[cyan]=[/]",
    "FAILED": "[red]✗[/]",
    "NOT_RUN": "[dim]·[/]",
    "RUNNING": "[yellow]…[/]",
}


@contextlib.contextmanager
def quiet(log: pathlib.Path, *, verbose: bool = False) -> Iterator[tuple[Console, Console]]:
    """Sends what is written to stdout and stderr to the file `log` while the block runs.

    Args:
      log: the file, made with its folder; text is appended.
      verbose: turn nothing away.

    Yields:
      Consoles on the true stdout and stderr.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO)
        yield Console(), Console(stderr=True)
        return
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = open(log, "a", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise WorkspaceError(f"the log {log} can't be written: {error.strerror}") from None
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with _lasting(1) as out, _lasting(2) as err, sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s"
        )
        try:
            yield Console(file=out), Console(file=err)
        finally:
            for stream in (sys.stdout, sys.stderr):
                # A full disk under the log must not keep people from what they are told.
                with contextlib.suppress(OSError):
                    stream.flush()
            for descriptor, was in zip((1, 2), kept, strict=True):
                os.dup2(was, descriptor)
                os.close(was)


class _Lasting(io.FileIO):
    """A stream that takes what is written after its terminal was closed, to no avail."""

    def write(self, content) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(content)


def _lasting(descriptor: int) -> TextIO:
    """A copy of a file descriptor, as text; see `_Lasting`."""
    copy = _Lasting(os.dup(descriptor), "w")
    return io.TextIOWrapper(io.BufferedWriter(copy), encoding="utf-8", line_buffering=copy.isatty())


class RunView(logging.Handler):
    """Draws a run; also the logging handler through which executors report their progress."""

    def __init__(self, console: Console):
        super().__init__()
        self._console = console
        self._wide = console.width >= 100
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=28 if self._wide else 8),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            transient=True,
            refresh_per_second=4,
            # rich would fetch back what `quiet` has sent to the log.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None
        self._plain_at = 0.0

    def __enter__(self) -> "RunView":
        logging.getLogger(PROGRESS_LOGGER).addHandler(self)
        logging.getLogger(PROGRESS_LOGGER).setLevel(logging.INFO)
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *exc) -> None:
        logging.getLogger(PROGRESS_LOGGER).removeHandler(self)
        self._end_task()
        if self._console.is_terminal:
            self._progress.stop()

    def phase(self, text: str) -> None:
        """Something before the first node: a spinner on a terminal, a line where there is none."""
        self._end_task()
        if self._console.is_terminal:
            self._task = self._progress.add_task(text, total=None, detail="")
        else:
            self._console.print(f"[dim]{text}[/]", highlight=False)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False)

    def node_started(self, node: str) -> None:
        self._end_task()
        self._plain_at = time.monotonic()
        if self._console.is_terminal:
            self._task = self._progress.add_task(node, total=None, detail="")

    def node_ended(self, node: str, state: str, seconds: float, error: str | None) -> None:
        self._end_task()
        self._console.print(
            f"{_MARKS.get(state, '?')} {node:<20} [dim]{state.lower():<9}[/] {seconds:7.1f} s",
            highlight=False,
        )
        if error:
            self._console.print(error, style="red", markup=False, highlight=False)

    def emit(self, record: logging.LogRecord) -> None:
        """A progress record: moves the bar; without a terminal, a line every 15 s."""
        facts = getattr(record, "progress", None)
        if facts is None:
            if record.levelno >= logging.WARNING:  # such as: MNIST can't be had
                self.note(f"[yellow]![/] {escape(record.getMessage())}")
            return
        if self._console.is_terminal and self._task is not None:
            self._progress.update(
                self._task,
                total=facts.get("total"),
                completed=facts.get("step", 0),
                detail=_detail(facts if self._wide else {**facts, "metrics": {}}),
            )
        elif not self._console.is_terminal and time.monotonic() - self._plain_at > 15:
            self._plain_at = time.monotonic()
            line = _detail(facts)
            if facts.get("seconds_left"):  # on a terminal the bar tells it
                line += f"  {_duration(facts['seconds_left'])} left"
            self._console.print(f"[dim]  {line}[/]", highlight=False, soft_wrap=True)

    def _end_task(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def _detail(facts: dict) -> str:
    """'1,200/4,000  d_loss 0.62  g_loss 1.10  5,400 images/s'."""
    parts = []
    if facts.get("total"):
        parts.append(f"{facts.get('step', 0):,}/{facts['total']:,} {facts.get('of', '')}".rstrip())
    parts += [f"{name} {value:.3g}" for name, value in facts.get("metrics", {}).items()]
    if facts.get("rate"):
        parts.append(f"{facts['rate']:,.0f} {facts.get('unit', '1/s')}")
    return "  ".join(parts)


def print_run(console: Console, run: dict, *, nodes: bool = True) -> None:
    """The document of `lineage.documents.status` for people.

    Args:
      console: where to.
      run: the document.
      nodes: whether to list the nodes; at the end of a run each has had its line.
    """
    if nodes:
        _print_nodes(console, run)
    facts = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(2):
        facts.add_column(overflow="fold")  # a number is never cut off, on the narrowest terminal
    facts.add_row("data set", escape(f"{run['dataset']} {run['dataset_note'] or ''}"))
    facts.add_row("preset", escape(str(run["preset"])))
    stopped = " (stopped)" if run.get("stopped") else ""
    facts.add_row("state", run["state"] + stopped + _total(run))
    metrics = run["metrics"] or {}
    for metric in [BY_KEY[key] for key in HEADLINES if key in metrics]:
        facts.add_row(metric.title, f"{metrics[metric.key]:{metric.format}}")
    if run["blessed"] is not None:
        word = "[green]blessed[/]" if run["blessed"] else "[red]not blessed[/]"
        if run["blessed"] and run["preset"] == "smoke":
            word = "smoke test passed, not for use"
        facts.add_row("verdict", word)
        facts.add_row("", escape(run["blessing_reason"] or ""))
    if run["infra_blessed"] is not None:
        word = "[green]yes[/]" if run["infra_blessed"] else "[red]no[/]"
        facts.add_row("can be served", word)
        if not run["infra_blessed"]:
            facts.add_row("", escape(run["infra_blessing_reason"] or ""))
    if run["pushed_version"] is not None:
        note = " (rolled back)" if run["rolled_back"] else ""
        facts.add_row("pushed version", f"{run['pushed_version']}{note}")
        facts.add_row("pushed to", escape(str(run["pushed_path"])))
    elif run["blessed"] and run["infra_blessed"] and run["push_reason"]:
        facts.add_row("pushed", escape(run["push_reason"]))
    console.print()
    console.print(facts, highlight=False)


def _print_nodes(console: Console, run: dict) -> None:
    title = escape(f"run {run['run_id']}")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("", "node", "state"):
        table.add_column(column)
    table.add_column("s", justify="right")
    for node in run["nodes"]:
        seconds = "" if node["seconds"] is None else f"{node['seconds']:.1f}"
        table.add_row(_MARKS.get(node["state"], "?"), node["id"], node["state"].lower(), seconds)
    console.print(table)
    for node in run["nodes"]:
        if node["error"]:
            console.print(f"\n{node['id']}: {node['error']}", style="red", markup=False)


def print_next(console: Console, run: dict, report: pathlib.Path | None) -> None:
    """Where to go from here: the report, and commands for what was pushed."""
    steps = [("report", str(report))] if report else []
    if run["pushed_version"] is not None:
        steps += [
            ("draw", "mnist-gan generate --out digits.png"),
            ("serve", "mnist-gan serve   # and a playground on http://127.0.0.1:8501/"),
        ]
    if steps:
        console.print("\nNext")
    for name, step in steps:
        console.print(f"  {name:<8} {step}", markup=False, highlight=False, soft_wrap=True)


def print_evaluation(
    console: Console, document: dict, rows: list[tuple[str, str, str]], out: str | None = None
) -> None:
    """What `mnist-gan evaluate` found.

    Args:
      console: where to.
      document: of `evaluate`.
      rows: metric, value and what it is to be read by.
      out: folder of the images, if any were drawn.
    """

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    target, data, extractor = document["target"], document["data"], document["extractor"]
    count, given = target["count"], target["given"]
    of_all = "" if count == given else f" of {given:,} (there are no more train images)"
    say(
        f"{target['path']}: {count:,} images{of_all} against the {document['num_reference']:,} of "
        f"the test split of {data['dataset']} {data['dataset_version']}"
    )
    say(f"features: {extractor['name']}, sha256 {extractor['digest'][:12]}\n")
    table = Table(box=None, pad_edge=False)
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False)
    for sentence in target.get("assumed", ()):
        say(f"assumed: {sentence}")
    unreadable = target["unreadable"]
    if unreadable:
        say(f"\nleft out, {len(unreadable):,} of {given + len(unreadable):,}:", "red")
        for name, why in list(unreadable.items())[:MOST_NAMES]:
            say(f"  {name}: {why}", "red")
        if len(unreadable) > MOST_NAMES:
            say(f"  and {len(unreadable) - MOST_NAMES:,} more; --json names all", "red")
    if out:
        say(f"\nimages and evaluation.json: {out}")


def _total(run: dict) -> str:
    return f" in {_duration(run['seconds'])}" if run["seconds"] else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
