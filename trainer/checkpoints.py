"""Checkpoints that survive a kill, and the signals that ask for one.

A checkpoint is one file: a line of JSON (step, fingerprint, sha256 of the rest), then a NumPy
archive of named arrays. It is written under another name, flushed to the disk and renamed, so a
file with a checkpoint's name is whole unless the disk altered it, which the digest tells.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import pathlib
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from common.files import write_atomically

progress = logging.getLogger("mnist_gan.progress")  # its warnings are shown to people

KEEP_RUNS = 5  # folders of so many runs stay, the newest; an interrupted one can be resumed


class TrainingInterrupted(RuntimeError):
    """SIGTERM, Ctrl-C or a closed terminal stopped the training, after a checkpoint was written."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Named arrays as they were after `step` steps."""

    step: int
    arrays: dict[str, np.ndarray]


class CheckpointStore:
    """The newest checkpoints of one training run, in a folder of its own.

    The folders of all but the KEEP_RUNS newest runs are deleted.

    Args:
      root: folder of the checkpoints of all runs; outside of TFX's artifacts, which are deleted
        when a node fails.
      fingerprint: digest of all that decides the result (settings, data, source, seed). Runs with
        different fingerprints never see each other's checkpoints.
      keep: how many checkpoints stay; older ones are deleted.
    """

    def __init__(self, root: str | os.PathLike, fingerprint: str, keep: int = 3):
        self._fingerprint = fingerprint
        self._keep = keep
        self.directory = pathlib.Path(root, fingerprint[:24])
        self.directory.mkdir(parents=True, exist_ok=True)
        os.utime(self.directory)  # the newest of all, whichever run comes next
        # Where the clock was set back others seem newer, and this one stays all the same. A folder
        # of another name is somebody's own.
        runs = self.directory.parent.glob("[0-9a-f]" * 24 + "/")
        others = [run for run in runs if run.name != self.directory.name]
        others.sort(key=lambda run: run.stat().st_mtime)
        for old in others[: 1 - KEEP_RUNS]:
            shutil.rmtree(old, ignore_errors=True)
        for unfinished in self.directory.glob(".tmp-*"):  # of a process killed while writing
            unfinished.unlink(missing_ok=True)

    def paths(self) -> list[pathlib.Path]:
        """Checkpoint files, oldest first, whole or not."""
        return sorted(self.directory.glob("step-*.ckpt"))

    def save(self, step: int, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes a checkpoint and deletes those beyond `keep`.

        Raises:
          ValueError: an array holds a value that is not finite; such a state is not worth keeping.
          OSError: the disk is full or not writable; earlier checkpoints are untouched.
        """
        for name, array in arrays.items():
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite at step {step}: no checkpoint written")
        buffer = io.BytesIO()
        named: dict[str, Any] = dict(arrays)  # `savez` has keywords of its own for a type checker
        np.savez(buffer, **named)
        payload = buffer.getvalue()
        header = {
            "step": step,
            "fingerprint": self._fingerprint,
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        path = self.directory / _name(step)
        write_atomically(path, json.dumps(header).encode() + b"\n" + payload)
        for old in self.paths()[: -self._keep]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there is none.

        A damaged one is named in a warning, and the one before it is tried.
        """
        for path in reversed(self.paths()):
            try:
                return self._read(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                progress.warning(
                    "checkpoint %s is damaged (%s): trying the one before", path, error
                )
        return None

    def _read(self, path: pathlib.Path) -> Checkpoint:
        head, _, payload = path.read_bytes().partition(b"\n")
        header = json.loads(head)
        found = hashlib.sha256(payload).hexdigest()
        if found != header["sha256"]:
            raise ValueError(f"sha256 {found} instead of {header['sha256']}")
        if header["fingerprint"] != self._fingerprint:
            raise ValueError("it belongs to another run")
        if path.name != _name(header["step"]):  # no digest covers the header
            raise ValueError(f"it says that it is of step {header['step']}")
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            return Checkpoint(header["step"], dict(archive))


def _name(step: int) -> str:
    return f"step-{step:010d}.ckpt"


class StopRequest:
    """Whether, and by which signal, the training was asked to stop."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """SIGTERM, Ctrl-C and SIGHUP (the terminal closes) only make the yielded request true.

    A second one interrupts. One that is ignored, as `nohup` has it for SIGHUP, stays so.

    Outside the main thread Python has no signal handlers, so there the request stays false.
    """
    request = StopRequest()

    def note(number: int, _frame: object) -> None:
        if request:
            raise KeyboardInterrupt
        request.signal_name = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {
        number: signal.signal(number, note)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
