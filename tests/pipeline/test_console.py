"""What a person sees: quiet by default, one line per node, progress, and what went wrong."""

import io
import logging
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from click import unstyle
from rich.console import Console

from common import terminal
from common.workspace import VARIABLE, Workspace
from judge import plots
from pipeline import console, summary
from tests.conftest import REPOSITORY

NOISY = (
    "import os, pathlib, sys\n"
    "from pipeline import console\n"
    "with console.quiet(pathlib.Path(sys.argv[1]), verbose='-v' in sys.argv) as (out, err):\n"
    "    os.write(1, b'from C to stdout\\n'); os.write(2, b'from C to stderr\\n')\n"
    "    print('from Python'); print('warning', file=sys.stderr)\n"
    "    out.print('for people'); err.print('progress')\n"
    "print('afterwards')\n"
)


def noisy(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", NOISY, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )


def test_what_libraries_write_goes_to_the_log_from_python_and_from_c(tmp_path):
    log = tmp_path / "logs" / "run.log"
    result = noisy(str(log))
    assert result.stdout == "for people\nafterwards\n"
    assert result.stderr == "progress\n"
    for line in ("from C to stdout", "from C to stderr", "from Python", "warning"):
        assert line in log.read_text()


def test_verbose_turns_nothing_away(tmp_path):
    result = noisy(str(tmp_path / "run.log"), "-v")
    assert "from C to stdout" in result.stdout
    assert "from C to stderr" in result.stderr


def view() -> tuple[console.RunView, io.StringIO]:
    text = io.StringIO()
    return console.RunView(Console(file=text, width=120)), text


def test_a_node_is_one_line_and_its_error_is_shown_whole():
    shown, text = view()
    with shown:
        shown.node_started("Transform")
        shown.node_ended("Transform", "COMPLETE", 5.61, None)
        shown.node_started("DataGate")
        shown.node_ended("DataGate", "FAILED", 0.1, "label: [7] is out of 0..9")
    lines = text.getvalue().splitlines()
    assert lines[0].split() == ["✓", "Transform", "complete", "5.6", "s"]
    assert lines[1].split()[:3] == ["✗", "DataGate", "failed"]
    assert lines[2] == "label: [7] is out of 0..9"


def test_progress_records_become_lines_where_there_is_no_terminal():
    shown, text = view()
    logger = logging.getLogger(console.PROGRESS_LOGGER)
    facts = {"step": 1200, "total": 7000, "rate": 3400.0, "unit": "images/s", "seconds_left": 90.2}
    with shown:
        logger.info("step", extra={"progress": {**facts, "metrics": {"d_loss": 0.62}}})
    assert text.getvalue().split("  ")[1:] == [
        "1,200/7,000",
        "d_loss 0.62",
        "3,400 images/s",
        "1 min 30 s left\n",
    ]


def test_on_a_terminal_the_bar_has_step_losses_speed_and_time_left():
    text = io.StringIO()
    logger = logging.getLogger(console.PROGRESS_LOGGER)
    clock = iter(range(0, 10_000, 10))
    with console.RunView(Console(file=text, width=120, force_terminal=True)) as shown:
        shown._progress.get_time = lambda: float(next(clock))
        shown.node_started("Trainer")
        for step in range(1000, 5000, 1000):
            facts = {"step": step, "total": 7000, "rate": 3400.0, "unit": "images/s"}
            metrics = {"d_loss": 0.62, "g_loss": 1.1}
            logger.info("step", extra={"progress": {**facts, "metrics": metrics}})
        shown._progress.refresh()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    for words in ("Trainer", "4,000/7,000", "d_loss 0.62", "g_loss 1.1", "3,400 images/s"):
        assert words in plain
    assert re.search(r"\d:\d\d:\d\d \d\d:\d\d", plain)  # time gone, time left


def test_a_warning_of_a_package_is_shown_and_brackets_in_it_are_kept():
    shown, text = view()
    with shown:
        logging.getLogger(console.PROGRESS_LOGGER).warning("no MNIST [here]: digits stand in")
    assert "no MNIST [here]: digits stand in" in text.getvalue()


def test_on_a_terminal_too_only_the_view_speaks(capsys):
    text = io.StringIO()
    with console.RunView(Console(file=text, width=120, force_terminal=True)) as shown:
        shown.node_started("Transform")
        print("a library's warning", file=sys.stderr)
        print("a library's chatter")
        shown.node_ended("Transform", "COMPLETE", 5.61, None)
    assert "library" not in text.getvalue()
    assert "Transform" in text.getvalue()
    assert "warning" in capsys.readouterr().err


def test_after_a_run_its_view_hears_nothing_any_more():
    shown, text = view()
    with shown:
        pass
    logging.getLogger(console.PROGRESS_LOGGER).warning("late")
    assert text.getvalue() == ""


RUN = {
    "run_id": "r1",
    "dataset": "mnist",
    "dataset_note": None,
    "preset": "smoke",
    "state": "COMPLETE",
    "seconds": 9.0,
    "nodes": [{"id": "Trainer", "state": "COMPLETE", "seconds": 3.0, "error": None}],
    "metrics": {},
    "blessed": True,
    "blessing_reason": "Blessed: all thresholds are met.",
    "infra_blessed": True,
    "infra_blessing_reason": "Blessed: the local server passes all checks.",
    "pushed_version": None,
    "pushed_path": None,
    "push_reason": None,
    "rolled_back": False,
    "search": None,
}


def test_the_closing_table_names_error_verdict_and_push():
    failed = {"id": "Pusher", "state": "FAILED", "seconds": 1.0, "error": "the disk is full"}
    metrics = {"accuracy": 0.99271, "relative_fid": 2.026, "unknown_to_the_table": 1.0}
    run = RUN | {"state": "FAILED", "seconds": 75.0, "preset": "standard", "metrics": metrics}
    shown = unstyle("\n".join(summary.run(run | {"nodes": [*RUN["nodes"], failed]}, 120)))
    for words in ("the disk is full", "99.27%", "2.03", "blessed", "FAILED in 1 min 15 s"):
        assert words in shown
    assert "unknown" not in shown


def test_a_generator_that_no_server_can_serve_is_told_with_the_reason():
    run = RUN | {
        "infra_blessed": False,
        "infra_blessing_reason": "Not blessed: values from -3 to 3",
        "push_reason": "not pushed",
    }
    text = unstyle("\n".join(summary.run(run, 120)))
    assert ["can", "be", "served", "no"] in [line.split() for line in text.splitlines()]
    for reason in (run["infra_blessing_reason"], run["blessing_reason"]):
        assert reason in text, "one does not take the other's place"
    assert "pushed" not in text


def test_an_evaluation_names_what_it_is_of_and_counts_what_was_left_out():
    document = {
        "target": {
            "path": "sevens/", "count": 200, "given": 250,
            "unreadable": {f"{i}.png": "no image that can be read" for i in range(25)},
        },
        "data": {"dataset": "digits", "dataset_version": "1.0.0"},
        "extractor": {"name": "a_classifier", "digest": "0123456789abcdef"},
        "num_reference": 257,
    }  # fmt: skip
    rows = [("FID (fid_200_test)", "1.5", "interval 1 to 2")]
    shown = unstyle("\n".join(summary.evaluation(document, rows, "judged/", 100)))
    assert "sevens/: 200 images of 250" in shown and "257 of the test split of digits" in shown
    assert "a_classifier, sha256 0123456789ab" in shown
    assert re.search(r"FID \(fid_200_test\) +1\.5 +interval 1 to 2", shown)
    assert "left out, 25 of 275:" in shown and "19.png: no image" in shown
    assert "20.png" not in shown and "and 5 more; --json names all" in shown
    assert "judged/" in shown


def test_the_end_of_a_run_says_where_to_go_from_here_and_lists_no_node_twice(tmp_path, monkeypatch):
    run = RUN | {"pushed_version": 1795801030, "pushed_path": "serving/1795801030"}
    assert "1795801030" in "\n".join(summary.run(run, 20, nodes=False))  # in one piece
    space = Workspace.at(tmp_path)
    space.report.parent.mkdir()
    space.report.touch()
    lines = [*summary.run(run, 80, nodes=False), *summary.following(run, space)]
    text = "\n".join(lines)
    assert "Trainer" not in text
    assert "smoke test passed, not for use" in text
    assert f"report   {tmp_path}/report/index.html" in text
    assert f"mnist-gan serve --workspace {tmp_path}" in text
    monkeypatch.setenv(VARIABLE, str(tmp_path))  # then it need not be said
    assert "mnist-gan serve   #" in "\n".join(summary.following(run, space))


@pytest.mark.parametrize(
    ("width", "whole"),
    [
        (40, "GeneratorValidator 4,000/48,000 "),
        (80, "4,000/48,000  3,400 images/s"),
        (100, "4,000/48,000  d_loss 0.62  g_loss 1.1  3,400 images/s"),
        (120, "4,000/48,000  d_loss 0.62  g_loss 1.1  3,400 images/s"),
    ],
)
def test_the_bar_is_never_cut_and_loses_what_matters_least_where_it_is_narrow(width, whole):
    text = io.StringIO()
    logger = logging.getLogger(console.PROGRESS_LOGGER)
    with console.RunView(Console(file=text, width=width, force_terminal=True)) as shown:
        shown.node_started("GeneratorValidator")
        facts = {"step": 4000, "total": 48000, "rate": 3400.0, "unit": "images/s"}
        metrics = {"d_loss": 0.62, "g_loss": 1.1}
        logger.info("step", extra={"progress": {**facts, "metrics": metrics}})
        shown._progress.refresh()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    assert whole in plain
    assert "…" not in plain
    assert max(map(len, re.split(r"[\r\n]", plain))) <= width


def test_what_is_written_to_a_terminal_that_was_closed_stops_nothing():
    ours, theirs = pty.openpty()
    with console._text(console._Lasting(theirs, "w")) as stream:
        print("shown", file=stream, flush=True)
        assert os.read(ours, 100) == b"shown\r\n"
        os.close(ours)
        print("to nobody", file=stream, flush=True)


TALKATIVE = (
    "import pathlib, sys\n"
    "from common.workspace import WorkspaceError\n"
    "from pipeline import console\n"
    "try:\n"
    "    with console.quiet(pathlib.Path(sys.argv[1])) as (out, err):\n"
    "        for _ in range(1000): out.print('x' * 100)\n"
    "    print('all of it', file=sys.stderr)\n"
    "except WorkspaceError as error:\n"
    "    print(error, file=sys.stderr)\n"
)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("| :", "all of it\n"),
        ("> /dev/full", "the output can't be written: No space left on device\n"),
    ],
)
def test_a_reader_that_goes_away_stops_nothing_and_a_full_disk_is_told_at_the_end(
    tmp_path, target, said
):
    command = f'{sys.executable} -c "{TALKATIVE}" {tmp_path}/log {target}'
    done = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stderr == said


def test_digits_at_the_end_fit_the_terminal_and_are_bright_where_ink_is(tmp_path):
    images = np.zeros([100, 28, 28, 1], np.uint8)
    images[:, 14:] = 255  # black above white
    sheet = tmp_path / "samples.png"
    plots.digit_grid(sheet, images, 10, row_names=[f"class {i}" for i in range(10)])
    for columns, lines in ((40, 5 * 8), (80, 2 * 8), (200, 8)):
        drawn = list(summary.digits(sheet, columns))
        assert len(drawn) == lines
        assert max(terminal.length(line) for line in drawn) <= columns
        assert set(re.findall(r"38;5;(\d+);48;5;(\d+)m", drawn[1])) == {("232", "232")}
        assert set(re.findall(r"38;5;(\d+);48;5;(\d+)m", drawn[7])) == {("255", "255")}


def test_a_search_ends_with_its_best_trainings_and_how_to_train_with_them(tmp_path):
    trials = [
        {"settings": {"optimizer": "adam"}, "steps": 900 - n, "cpu_seconds": 7.25, "fid": 40.5 + n}
        for n in range(11)
    ]
    run = RUN | {"search": {"model": "blocks5", "trials": [*trials, trials[0] | {"fid": None}]}}
    text = unstyle("\n".join(summary.run(run, 120)))
    assert ["adam", "900", "7.2", "40.50"] in [line.split() for line in text.splitlines()]
    assert "and 2 trainings more" in text
    asked = ["--dataset", "digits", "--set", "model=blocks5"]
    following = "\n".join(summary.following(run, Workspace.at(tmp_path), asked))
    assert f"run {' '.join(asked)} --set hyperparameters=latest" in following
