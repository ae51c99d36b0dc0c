"""What the runner makes of errors: the message of whoever raised in our own words."""

import errno
import os
import signal

import pytest

from pipeline import local_runner
from serving.versions import PublishError
from trainer.checkpoints import TrainingInterrupted


def caught(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as raised:
        return raised


def test_our_own_message_wins_over_what_caused_it():
    cause = OSError(errno.ENOSPC, "No space left on device")
    error = caught(PublishError("the disk is full: nothing was pushed"), cause)
    assert local_runner._message(error) == "the disk is full: nothing was pushed"


def test_a_message_of_ours_that_a_library_wrapped_is_found():
    ours = caught(PublishError("nothing was pushed"))
    assert local_runner._message(caught(RuntimeError("Beam says"), ours)) == "nothing was pushed"


def test_where_beam_was_in_its_own_graph_is_left_out():
    error = RuntimeError("the image is broken [while running 'Analyze/Map']")
    assert local_runner._message(error) == "the image is broken"


def test_an_error_without_words_is_named():
    assert local_runner._message(KeyError()) == "KeyError"


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_its_folder_and_what_is_free(tmp_path, reason):
    error = OSError(reason, os.strerror(reason), "/x/data.gz")
    wrapped = caught(RuntimeError("bundle 3 failed"), error)
    for one in (error, wrapped, RuntimeError(f"RESOURCE_EXHAUSTED: {error}")):
        told = local_runner._disk_full(one, tmp_path)
        assert (
            str(tmp_path) in told
            and "bytes are free" in told
            and "make room and run again; what was finished is kept" in told
        )
    assert local_runner._disk_full(OSError(errno.EIO, "Input/output error"), tmp_path) is None
    ours = caught(PublishError("the disk is full: nothing was pushed"), error)
    assert local_runner._disk_full(ours, tmp_path) is None


def test_an_interrupt_is_known_under_whatever_a_library_made_of_it():
    interrupt = KeyboardInterrupt()
    assert local_runner._is_interrupt(interrupt)
    assert local_runner._is_interrupt(caught(RuntimeError("bundle failed"), interrupt))
    assert local_runner._is_interrupt(RuntimeError("Traceback: ... KeyboardInterrupt"))
    assert local_runner._is_interrupt(TrainingInterrupted("SIGTERM stopped the training"))
    assert not local_runner._is_interrupt(caught(RuntimeError("no"), OSError("disk")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_ends_a_run_ends_it_in_order(number):
    before = signal.getsignal(number)
    with local_runner._Signals() as signals:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signals.closing = True
        signal.raise_signal(number)  # what is being closed is closed
    assert signal.getsignal(number) is before
