import logging
import os
import signal
import threading

import numpy as np
import pytest

from common.files import write_atomically
from trainer.checkpoints import KEEP_RUNS, CheckpointStore, stop_on_signals


def arrays(value: float) -> dict[str, np.ndarray]:
    return {"generator/kernel": np.full([3, 2], value, np.float32), "step": np.int64(value)}


def test_what_was_saved_comes_back_with_names_types_and_step(tmp_path):
    store = CheckpointStore(tmp_path, "abc")
    store.save(5, arrays(1.5))
    found = CheckpointStore(tmp_path, "abc").latest()
    assert found.step == 5
    assert set(found.arrays) == {"generator/kernel", "step"}
    np.testing.assert_array_equal(found.arrays["generator/kernel"], arrays(1.5)["generator/kernel"])
    assert found.arrays["step"].dtype == np.int64


def test_only_the_newest_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, "abc", keep=2)
    for step in (8, 9, 10, 11):
        store.save(step, arrays(step))
    assert [path.name for path in store.paths()] == ["step-0000000010.ckpt", "step-0000000011.ckpt"]


def test_folders_of_old_runs_are_deleted_and_a_resumed_run_is_new_again(tmp_path):
    runs = [f"{number:024x}" for number in range(KEEP_RUNS + 1)]
    for hour, run in enumerate(runs[:-1]):
        CheckpointStore(tmp_path, run).save(1, arrays(1))
        os.utime(tmp_path / run, (3600 * hour, 3600 * hour))
    assert CheckpointStore(tmp_path, runs[0]).latest()
    (tmp_path / "my own").mkdir()
    CheckpointStore(tmp_path, runs[-1])
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [runs[0], *runs[2:], "my own"]


def test_a_clock_that_was_set_back_costs_no_run_its_own_checkpoints(tmp_path):
    runs = [f"{number:024x}" for number in range(KEEP_RUNS + 1)]
    for run in runs:
        CheckpointStore(tmp_path, run).save(1, arrays(1))
        os.utime(tmp_path / run, (2**33, 2**33))
    assert CheckpointStore(tmp_path, runs[-1]).latest()
    assert len(list(tmp_path.iterdir())) == KEEP_RUNS


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "step", "list"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, caplog, damage):
    store = CheckpointStore(tmp_path, "abc")
    store.save(1, arrays(1))
    newest = store.save(2, arrays(2))
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[-40] ^= 1
    broken = {
        **{"truncate": content[:-7], "flip": content, "empty": b"", "list": b"[]\n"},
        "step": content.replace(b'"step": 2', b'"step": 3'),
    }
    newest.write_bytes(broken[damage])
    with caplog.at_level(logging.WARNING, "mnist_gan.progress"):  # which the terminal shows
        assert store.latest().step == 1
    assert newest.name in caplog.text and "trying the one before" in caplog.text


def test_no_whole_checkpoint_is_none(tmp_path):
    store = CheckpointStore(tmp_path, "abc")
    assert store.latest() is None
    (store.directory / "step-0000000001.ckpt").write_bytes(b"nonsense")
    assert store.latest() is None


def test_another_fingerprint_sees_nothing(tmp_path):
    CheckpointStore(tmp_path, "abc").save(1, arrays(1))
    assert CheckpointStore(tmp_path, "abd").latest() is None


def test_a_state_that_is_not_finite_is_not_written(tmp_path):
    store = CheckpointStore(tmp_path, "abc")
    with pytest.raises(ValueError, match="generator/kernel is not finite at step 3"):
        store.save(3, {"generator/kernel": np.float32([1.0, np.nan])})
    assert store.paths() == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_is_noted_and_a_second_one_interrupts(number):
    before = signal.signal(number, signal.SIG_DFL)  # a shell's background has some ignored
    try:
        with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:
            assert not stop
            signal.raise_signal(number)
            assert stop.signal_name == signal.Signals(number).name
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_closed_terminal_stops_no_training_that_nohup_started():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def body():
        with stop_on_signals() as stop:
            seen.append((bool(stop), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
