"""What a person sees of a run: one line per node and a progress bar.

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
from collections.abc import Iterable, Iterator
from typing import TextIO

from click import style
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
from rich.text import Text

from common.text import plain
from common.workspace import WorkspaceError
from pipeline.summary import MARKS, duration

PROGRESS_LOGGER = "mnist_gan.progress"


@contextlib.contextmanager
def quiet(log: pathlib.Path, *, verbose: bool = False) -> Iterator[tuple[Console, Console]]:
    """Sends what is written to stdout and stderr to the file `log` while the block runs.

    Args:
      log: the file, made with its folder; text is appended.
      verbose: turn nothing away.

    Yields:
      Consoles on the true stdout and stderr.

    Raises:
      WorkspaceError: the log can't be written; or, after the block, not all of stdout could be.
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
    streams = [_Lasting(os.dup(descriptor), "w") for descriptor in (1, 2)]
    with _text(streams[0]) as out, _text(streams[1]) as err, sink:
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
    if streams[0].lost:
        raise WorkspaceError(f"the output can't be written: {streams[0].lost}")


class _Lasting(io.FileIO):
    """A stream that stops no run: what it can't write is lost.

    Attributes:
      lost: why, where it was meant to last: the disk is full. A terminal that was closed and a
        reader that went away (`| head`) want no more.
    """

    lost: str | None = None

    def write(self, content) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EPIPE):
                self.lost = error.strerror
            return len(content)


def _text(stream: _Lasting) -> TextIO:
    buffer = io.BufferedWriter(stream)
    return io.TextIOWrapper(buffer, encoding="utf-8", line_buffering=stream.isatty())


def say(console: Console, lines: Iterable[str]) -> None:
    """Prints lines with ANSI styles; the styles only where somebody sees them."""
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True, highlight=False)


def columns(console: Console) -> int | None:
    """Columns of a terminal; None where there is none, since a program wants whole lines."""
    return console.width if console.is_terminal else None


class RunView(logging.Handler):
    """Draws a run; also the logging handler through which executors report their progress."""

    def __init__(self, console: Console):
        super().__init__()
        self._console = console
        width = console.width  # what is shown beside node, step and time left
        self._left_out = ("rate", "of", "metrics")[0 if width < 76 else 2 if width < 100 else 3 :]
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<18}"),
            *[BarColumn(bar_width=28 if width >= 120 else 8)] * (width >= 76),
            TextColumn("{task.fields[detail]}"),
            *[TimeElapsedColumn()] * (width >= 76),
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
        self._console.print(text, highlight=False, soft_wrap=True)  # commands stay in one piece

    def node_started(self, node: str) -> None:
        self._end_task()
        self._plain_at = time.monotonic()
        if self._console.is_terminal:
            self._task = self._progress.add_task(node, total=None, detail="")

    def node_ended(self, node: str, state: str, seconds: float, error: str | None) -> None:
        self._end_task()
        # On a narrow terminal the state is not spelt out: the mark says it.
        word = style(f"{state.lower():<9} ", dim=True) if self._console.width >= 48 else ""
        say(self._console, [f"{MARKS.get(state, '?')} {node:<20} {word}{seconds:7.1f} s"])
        if error:
            self._console.print(plain(error), style="red", markup=False, highlight=False)

    def emit(self, record: logging.LogRecord) -> None:
        """A progress record: moves the bar; without a terminal, a line every 15 s."""
        facts = getattr(record, "progress", None)
        if facts is None:
            if record.levelno >= logging.WARNING:  # such as: MNIST cannot be loaded
                self.note(f"[yellow]![/] {escape(plain(record.getMessage()))}")
            return
        if self._console.is_terminal and self._task is not None:
            self._progress.update(
                self._task,
                total=facts.get("total"),
                completed=facts.get("step", 0),
                detail=_detail({k: v for k, v in facts.items() if k not in self._left_out}),
            )
        elif not self._console.is_terminal and time.monotonic() - self._plain_at > 15:
            self._plain_at = time.monotonic()
            line = _detail(facts)
            if facts.get("seconds_left"):  # on a terminal the bar tells it
                line += f"  {duration(facts['seconds_left'])} left"
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
