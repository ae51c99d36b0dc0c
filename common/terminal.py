"""Tables and facts in a terminal of any width: what has no room is folded or stacked, never cut.

Cells may hold ANSI styles. (rich would take longer to lay out a thousand runs than it takes to read
them.)
"""

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_LETTER = re.compile(rf"(?:{_STYLE.pattern})*.(?:{_STYLE.pattern})*", re.DOTALL)
_BREAK = re.compile(r"[\r\n\t\v\f]+")
_RESET = "\x1b[0m"
_NARROWEST = 16  # columns that a folded cell still is to be read in
_UNLIMITED = 100_000


def width() -> int:
    """Columns of the terminal. For a program that reads, a line stays a line."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return _UNLIMITED


def length(text: str) -> int:
    """Columns that a text takes, its styles aside."""
    return len(_STYLE.sub("", text))


def fold(text: str, columns: int, first: str = "", following: str = "") -> list[str]:
    """A text in lines of at most `columns`: broken between words, or in a path, where it can be.

    `first` stands before the first line, `following` before the others.
    """
    room = max(columns - length(following), _NARROWEST // 2)
    lines, line, left, style, fresh = [], first, columns - length(first), "", True
    for word in _BREAK.sub(" ", text).split(" "):
        letters = _LETTER.findall(word)  # each with the styles about it
        while len(letters) + (not fresh) > left:
            if len(letters) > room and (left > _NARROWEST or left == room):  # a path starts here
                end = left - (not fresh)
                end = max((n + 1 for n in range(end) if letters[n] == "/"), default=end)
                line += " " * (not fresh) + "".join(letters[:end])
                style = _still_on(style, "".join(letters[:end]))
                letters = letters[end:]
            lines.append(line.rstrip() + (_RESET if style else ""))
            line, left, fresh = following + style, room, True
        line += " " * (not fresh) + "".join(letters)
        left -= len(letters) + (not fresh)
        fresh = fresh and not letters
        style = _still_on(style, "".join(letters))
    return [*lines, line]


def _still_on(style: str, text: str) -> str:
    """The styles that are on after `text`, which began with `style`."""
    for found in _STYLE.findall(text):
        style = "" if found == _RESET else style + found
    return style


def table(
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    whole: Collection[int] = (),
    drop: Sequence[int] = (),
    columns: int | None = None,
) -> Iterator[str]:
    """Rows as columns two spaces apart; the first row names them.

    Args:
      rows: cells, as many in each row. A column in which nothing stands is left out.
      right: columns that end flush.
      whole: columns that are never folded: what people copy stays in one piece.
      drop: columns that are left out where there is no room, the first of them first.
      columns: of the terminal; default: those that it has.

    Yields:
      Lines. Where neither leaving out nor folding makes room, each row becomes a paragraph: its
      cells one below the other, each after the name of its column.
    """
    columns = width() if columns is None else columns
    rows = [[_BREAK.sub(" ", cell) for cell in row] for row in rows]
    shown = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    widths = [max(length(cell) for cell in column) for column in zip(*rows, strict=True)]

    def total(cap: int = _UNLIMITED) -> int:
        kept = (widths[i] if i in whole else min(widths[i], cap) for i in shown)
        return sum(kept) + 2 * (len(shown) - 1)

    for column in drop:
        if total() > columns and column in shown:
            shown.remove(column)
    cap = max([widths[i] for i in shown if i not in whole], default=0)
    while total(cap) > columns and cap > _NARROWEST:
        cap -= 1
    if total(cap) > columns:
        yield from _stacked(rows, shown, columns)
        return
    for row in rows:
        cells = [
            [row[i]] if i in whole or length(row[i]) <= cap else fold(row[i], cap) for i in shown
        ]
        for number in range(max(map(len, cells), default=0)):
            line = []
            for i, lines in zip(shown, cells, strict=True):
                text = lines[number] if number < len(lines) else ""
                gap = " " * ((widths[i] if i in whole else min(widths[i], cap)) - length(text))
                line.append(gap + text if i in right else text + gap)
            yield "  ".join(line).rstrip()


def _stacked(rows: Sequence[Sequence[str]], shown: list[int], columns: int) -> Iterator[str]:
    names = rows[0]
    for row in rows[1:]:
        depth = 0
        for i in shown:
            title = depth == 0 or not names[i]  # the cells that follow are about it
            if row[i]:
                start = "  " * depth + ("" if title else f"{names[i]}  ")
                yield from fold(row[i], columns, start, "  " * (depth + 1))
            depth += title


def facts(
    sections: Mapping[str, Iterable[tuple[str, str]]], columns: int | None = None
) -> Iterator[str]:
    """Named groups of facts: title, name and value side by side, or one below the other.

    A value that goes on with the one before has an empty name.
    """
    columns = width() if columns is None else columns
    rows = [
        (title if number == 0 else "", name, value)
        for title, group in sections.items()
        for number, (name, value) in enumerate(group)
    ]
    if not rows:
        return
    left, middle = (max(length(row[i]) for row in rows) for i in (0, 1))
    margin = left + 2 * (left > 0) + middle + 2
    for title, name, value in rows:
        if margin > columns / 2:
            if title:
                yield title
            yield from fold(value, columns, f"{'  ' * (left > 0)}{name}  ", "    ")
            continue
        parts = [title + " " * (left - length(title))] * (left > 0) + [
            name + " " * (middle - length(name)) + "  "
        ]
        yield from fold(value, columns, "  ".join(parts), " " * margin)
