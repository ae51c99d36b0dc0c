"""What the runner makes of errors: the message of whoever raised in our own words."""

import errno

from pipeline import local_runner
from serving.versions import PublishError


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
