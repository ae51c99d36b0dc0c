"""Tables and facts in terminals of any width: nothing is cut to pieces, nothing sticks out."""

import io

import pytest
from click import style, unstyle
from hypothesis import given
from hypothesis import strategies as st

from common import terminal

RUN = "2026-11-27T20:20:56.719885Z"
ROWS = [("run", "state", "notes", "s"), (RUN, style("COMPLETE", "green"), "three short words", "9")]
TEXTS = st.text(st.sampled_from("ab/ -"), max_size=60)


def table(columns: int, **options) -> list[str]:
    return [unstyle(line) for line in terminal.table(ROWS, columns=columns, **options)]


def test_what_fits_is_one_line_per_row():
    assert table(80, right={3}) == [
        "run                          state     notes              s",
        f"{RUN}  COMPLETE  three short words  9",
    ]


def test_columns_go_before_words_are_folded_and_words_before_rows_are_stacked():
    assert table(50, whole={0}, drop=(1,)) == [
        "run                          notes              s",
        f"{RUN}  three short words  9",
    ]
    assert table(58, whole={0})[1:] == [f"{RUN}  COMPLETE  three short       9", " " * 39 + "words"]
    assert table(40, whole={0}) == [
        RUN,
        "  state  COMPLETE",
        "  notes  three short words",
        "  s  9",
    ]


def test_facts_stand_side_by_side_or_one_below_the_other():
    sections = {style("data", bold=True): [("set", "mnist"), ("digest", "0123456789" * 4)]}
    assert [unstyle(line) for line in terminal.facts(sections, 40)] == [
        "data  set     mnist",
        "      digest  01234567890123456789012345",
        "              67890123456789",
    ]
    assert [unstyle(line) for line in terminal.facts(sections, 24)] == [
        "data",
        "  set  mnist",
        "  digest",
        "    01234567890123456789",
        "    01234567890123456789",
    ]


def test_a_path_is_broken_at_its_slashes_and_a_style_ends_with_its_line():
    path = style("/a/folder/with/a/long/name", dim=True)
    assert terminal.fold(path, 14, "└ ", "  ") == [
        "└ " + style("/a/folder/", dim=True),
        "  " + style("with/a/long/", dim=True),
        "  " + style("name", dim=True),
    ]


@given(TEXTS, st.integers(20, 80))
def test_no_line_sticks_out_and_no_letter_is_lost(text, columns):
    for lines in (
        terminal.fold(text, columns, "├── ", "│   "),
        list(terminal.table([("name", "value"), ("first", text)], columns=columns)),
        list(terminal.facts({"group": [("name", text)]}, columns)),
    ):
        assert max(map(len, lines), default=0) <= columns
        found = [letter for letter in "".join(lines).replace("name", "") if letter in "ab/-"]
        assert "".join(found).endswith(text.replace(" ", ""))


@pytest.mark.parametrize("tty", [True, False])
def test_for_a_program_a_line_stays_a_line(tty, monkeypatch):
    out = io.StringIO()
    out.isatty = lambda: tty
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert (terminal.width() < 1000) is tty
    monkeypatch.setenv("COLUMNS", "40")
    assert terminal.width() == 40
