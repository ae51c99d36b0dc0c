"""Drawings as SVG text. Their colours come from a style sheet, by class."""

import itertools
from typing import NamedTuple

from markupsafe import Markup, escape

_ids = itertools.count(1)


class Drawing(NamedTuple):
    """A drawing and its title; false where there was nothing to draw."""

    title: str
    svg: Markup

    def __bool__(self) -> bool:
        return bool(self.svg)


class Canvas:
    """Collects SVG elements.

    Args:
      title: for screen readers.
      width, height: in units of the drawing, pixels at its natural size.
      kind: a class of the style sheet.
    """

    def __init__(self, title: str, width: float, height: float, kind: str = "chart"):
        self._parts: list[str] = []
        self._frame = (title, width, height, kind)

    def add(self, name: str, content: str = "", **attributes: object) -> None:
        """An element; `content` is text that may hold anything, attributes use _ for -."""
        self._parts.append(element(name, escape(content), **attributes))

    def mark(self, name: str, hint: str, **attributes: object) -> None:
        """An element that shows `hint` under the pointer."""
        self._parts.append(element(name, element("title", escape(hint)), **attributes))

    def raw(self, markup: str) -> None:
        self._parts.append(markup)

    def drawing(self, role: str = "img") -> Drawing:
        title, width, height, kind = self._frame
        name = f"drawing-{next(_ids)}"
        svg = Markup(
            f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="{role}" '
            f'aria-labelledby="{name}" style="--natural-width: {width:g}px">'
            f'<title id="{name}">{escape(title)}</title>{"".join(self._parts)}</svg>'
        )
        return Drawing(title, svg)


def element(name: str, content: object = "", **attributes: object) -> str:
    """An SVG element; `content` is markup, attributes use _ for - and may end with one."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{words}>{content}</{name}>" if content else f"<{name}{words}/>"


def _attribute(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(value)
