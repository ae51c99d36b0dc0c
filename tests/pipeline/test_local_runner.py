"""What the runner makes of errors: the message of whoever raised in our own words."""

import calendar
import datetime
import errno
import os
import signal
import tempfile
import time

import pytest
from click.testing import CliRunner

from common import files
from lineage import documents, render
from lineage.store import open_store
from pipeline import cli, local_runner
from serving import versions
from serving.versions import PublishError
from tests.lineage.conftest import (  # noqa: F401 - fixtures
    add_execution,
    eleven_runs,
    workspace,
)
from trainer.checkpoints import TrainingInterrupted

MAKE_ROOM = "make room and run again; what was finished is kept"
MEND = "mend that and run again; what was finished is kept"


def caught(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as raised:
        return raised


def test_our_own_message_wins_over_what_caused_it(tmp_path):
    cause = OSError(errno.ENOSPC, "No space left on device")
    error = caught(PublishError("the disk is full: nothing was pushed"), cause)
    assert local_runner.explain(error, tmp_path) == "the disk is full: nothing was pushed"


def test_a_message_of_ours_that_a_library_wrapped_is_found(tmp_path):
    wrapped = caught(RuntimeError("Beam says"), caught(PublishError("nothing was pushed")))
    assert local_runner.explain(wrapped, tmp_path) == "nothing was pushed"


def test_where_beam_was_in_its_own_graph_is_left_out(tmp_path):
    error = RuntimeError("the image is broken [while running 'Analyze/Map']")
    assert local_runner.explain(error, tmp_path) == "the image is broken"


def test_an_error_without_words_is_named(tmp_path):
    assert local_runner.explain(KeyError(), tmp_path) == "KeyError"


@pytest.mark.parametrize(
    ("said", "told", "then"),
    [
        (os.strerror(errno.ENOSPC), "no space left on device", MAKE_ROOM),
        (os.strerror(errno.EDQUOT), "disk quota exceeded", MAKE_ROOM),
        (
            os.strerror(errno.EFBIG),
            "file too large",
            "raise the limit of `ulimit -f` and run again",
        ),
        ("database or disk is full", "no space left on device", MAKE_ROOM),
        (os.strerror(errno.EROFS), "read-only file system", MEND),
        (os.strerror(errno.EIO), "input/output error", MEND),
        ("disk I/O error", "disk I/O error", MEND),
        ("cannot commit - no transaction is active", "cannot commit", MEND),
    ],
)
def test_a_disk_that_takes_no_more_is_told_with_its_folder_and_what_is_free(
    tmp_path, said, told, then
):
    wrapped = caught(RuntimeError("bundle 3 failed"), OSError(f"[Errno 5] {said}: '/x/data.gz'"))
    for error in (wrapped, RuntimeError(f"RESOURCE_EXHAUSTED: {said} query: INSERT INTO x")):
        text = local_runner.explain(error, tmp_path)
        assert text.startswith(told) and f" under {tmp_path} (" in text and "bytes are free" in text
        assert f": {then}" in text
        assert "INSERT" not in text


@pytest.fixture
def other_disk():
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield folder


def test_the_folder_with_the_least_room_is_named(tmp_path, monkeypatch, other_disk):
    (tmp_path / "pipeline_root").symlink_to(other_disk)
    usage = files.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        files.shutil,
        "disk_usage",
        lambda folder: usage._replace(free=7 if str(folder).endswith("pipeline_root") else 1000),
    )
    text = local_runner.explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), tmp_path)
    assert f"under {tmp_path}/pipeline_root (7 bytes are free)" in text


def test_an_interrupt_is_known_under_whatever_a_library_made_of_it():
    interrupt = KeyboardInterrupt()
    assert local_runner._is_interrupt(interrupt)
    assert local_runner._is_interrupt(caught(RuntimeError("bundle failed"), interrupt))
    assert local_runner._is_interrupt(RuntimeError("Traceback: ... KeyboardInterrupt"))
    assert local_runner._is_interrupt(TrainingInterrupted("SIGTERM stopped the training"))
    assert not local_runner._is_interrupt(caught(RuntimeError("no"), OSError("disk")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_ends_a_run_ends_it_in_order(number):
    before = signal.signal(number, signal.SIG_DFL)  # a shell's background has some ignored
    try:
        with local_runner._Signals() as signals:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
            signals.closing = True
            signal.raise_signal(number)  # what is being closed is closed
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("moment", ["describe", "_flush", "_flush_directory"])
def test_sigterm_while_a_version_is_written_leaves_it_whole_or_not_at_all(
    tmp_path, monkeypatch, moment
):
    model, base = tmp_path / "model", tmp_path / "mnist_gan"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")

    def stop(folder=None):
        if moment != "_flush_directory" or folder == base:
            signal.raise_signal(signal.SIGTERM)

    describe = stop if moment == "describe" else lambda number: ({}, {})
    with monkeypatch.context() as patch, local_runner._Signals():
        if moment != "describe":
            patch.setattr(versions, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            versions.publish(model, base, describe)
    # The last moment is after the rename: the version is there, and nobody has heard of it.
    whole = moment == "_flush_directory"
    assert len(list(base.iterdir())) == len(versions.list_versions(base)) == whole
    version, new = versions.publish(model, base, lambda number: ({}, {}))
    assert new is not whole
    assert list(base.iterdir()) == [version.path]


class Clock(datetime.datetime):
    """Shows what `SHOWS` says."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(SHOWS["seconds"], tz)


SHOWS: dict[str, float] = {}


def test_names_rise_in_the_night_in_which_clocks_go_back(workspace, monkeypatch):  # noqa: F811
    monkeypatch.setattr(local_runner.datetime, "datetime", Clock)
    gmtime = time.gmtime
    monkeypatch.setattr(cli.time, "gmtime", lambda: gmtime(SHOWS["seconds"]))
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        names, logs, local = [], [], []
        for hour in (0, 1):  # in UTC; half past two by the clock on the wall, twice
            SHOWS["seconds"] = calendar.timegm((2026, 10, 25, hour, 30, 0))
            local.append(time.strftime("%H:%M", time.localtime(SHOWS["seconds"])))
            names.append(local_runner._new_name(workspace))
            logs.append(cli._log_file(workspace, "run").name)
            add_execution(workspace, "Trainer", names[-1], 3)
        assert local == ["02:30", "02:30"]
        assert names == [f"2026-10-25T0{hour}:30:00.000000Z" for hour in (0, 1)]
        assert logs == [f"run-20261025T0{hour}3000Z.log" for hour in (0, 1)]
        runs = [run.name for run in open_store(workspace.metadata).runs()]
        assert runs[:2] == names[::-1], "the newest first"
        # Whoever asks for runs since then gets both.
        asked = []
        monkeypatch.setattr(documents, "runs", lambda *_, since, **__: asked.append(since) or {})
        monkeypatch.setattr(render, "runs", lambda _: [])
        since = ["lineage", "runs", "--since", "2026-10-25T02:30", "--workspace"]
        told = CliRunner().invoke(cli.main, [*since, str(workspace.root)])
        assert told.exit_code == 0, told.output
        assert [found.hour for found in asked] == [0]
    finally:
        monkeypatch.undo()
        time.tzset()


class Stopped(datetime.datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 1, tzinfo=tz)


def test_runs_that_begin_at_one_moment_have_names_of_their_own(workspace, monkeypatch):  # noqa: F811
    monkeypatch.setattr(local_runner.datetime, "datetime", Stopped)
    names = []
    for _ in range(3):
        names.append(local_runner._new_name(workspace))
        add_execution(workspace, "Trainer", names[-1], 3)
    assert names == [f"2026-01-01T00:00:00.00000{n}Z" for n in range(3)]
