"""Draws a network from the table of its layers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from report.svg import Canvas, Drawing

_ROW, _GAP = 32, 10  # height of a row, and what of it lies between boxes
_BOX, _LANE = 76, 92  # the widest box, and from one branch to the next
_NAME, _TYPE, _SHAPE, _BAR = 0, 120, 300, 376  # columns of the text, right of the branches
_WIDTH = 536  # of the text


def draw_network(title: str, layers: Sequence[Mapping[str, Any]]) -> Drawing:
    """A network from top to bottom, one layer per row, branches side by side.

    A box is as wide as its layer's output has values, on a logarithmic scale; a bar is as long as
    it has parameters.

    Args:
      title: for screen readers.
      layers: of `network_table`; where they lack `inputs`, each is fed by the one above.
    """
    rows = {layer["name"]: row for row, layer in enumerate(layers)}
    inputs = [_inputs(layers, row) for row in range(len(layers))]
    lanes = _lanes(layers, inputs)
    text = 16 + _LANE * (max(lanes, default=0) + 1)
    canvas = Canvas(title, text + _WIDTH, _ROW * len(layers) + 8, "network")
    most = max((layer["parameters"] for layer in layers), default=0) or 1
    largest = max((_extent(layer) for layer in layers), default=1.0)

    def place(row: int) -> tuple[float, float]:
        """Middle and top of a row's box."""
        return 8 + _LANE * lanes[row] + _LANE / 2, 4.0 + row * _ROW

    for row, sources in enumerate(inputs):
        for source in sources:
            way = _way(rows[source], row, lanes, place)
            canvas.add("path", class_="flow", d=way, fill="none")
    for row, layer in enumerate(layers):
        middle, top = place(row)
        width = 16 + (_BOX - 16) * _extent(layer) / largest
        canvas.mark(
            "rect",
            f"{layer['name']}: {_shape(layer)}, {layer['parameters']:,} parameters",
            class_=f"layer {'weights' if layer['parameters'] else 'plain'}",
            x=middle - width / 2,
            y=top,
            width=width,
            height=_ROW - _GAP,
            rx=3,
        )
        for column, words, kind in (
            (_NAME, layer["name"], "tick"),
            (_TYPE, layer["type"], "name"),
            (_SHAPE, _shape(layer), "tick"),
        ):
            canvas.add("text", words, class_=kind, x=text + column, y=top + 16)
        if layer["parameters"]:
            bar = max(100 * layer["parameters"] / most, 1.0)
            canvas.add(
                "rect",
                class_="fill third",
                x=text + _BAR,
                y=top + 4,
                width=bar,
                height=_ROW - 18,
            )
            canvas.add(
                "text",
                f"{layer['parameters']:,}",
                class_="tick",
                x=text + _BAR + 4 + bar,
                y=top + 16,
            )
    return canvas.drawing()


def _inputs(layers: Sequence[Mapping[str, Any]], row: int) -> list[str]:
    layer = layers[row]
    if "inputs" in layer:
        return list(layer["inputs"])
    return [layers[row - 1]["name"]] if row and layer["type"] != "InputLayer" else []


def _lanes(layers: Sequence[Mapping[str, Any]], inputs: Sequence[list[str]]) -> list[int]:
    """The column of each layer: that of an input which nothing else goes on from, else a new one.

    So a chain stays in its column; where branches meet, the leftmost goes on.
    """
    ends: dict[int, str] = {}  # column -> the last layer in it
    lanes = []
    for layer, sources in zip(layers, inputs, strict=True):
        free = sorted(lane for lane, end in ends.items() if end in sources)
        lane = free[0] if free else next(n for n in range(len(layers)) if n not in ends)
        for merged in free[1:]:
            del ends[merged]
        ends[lane] = layer["name"]
        lanes.append(lane)
    return lanes


def _way(
    start: int, end: int, lanes: Sequence[int], place: Callable[[int], tuple[float, float]]
) -> str:
    """A line from one box to another that crosses none between them."""
    (x, top), (to_x, to_y) = place(start), place(end)
    y = top + _ROW - _GAP
    between = set(lanes[start + 1 : end])
    if lanes[start] not in between:
        middle = x
    elif lanes[end] not in between:
        middle = to_x
    else:  # beside the boxes
        middle = x + (_LANE if to_x >= x else -_LANE) / 2
    points = [(middle, y + _GAP), (middle, to_y - _GAP)] if end > start + 1 else []
    way, last = f"M{x:.1f} {y:.1f}", (x, y)
    for point in [*points, (to_x, to_y)]:
        half = (last[1] + point[1]) / 2
        way += f"C{last[0]:.1f} {half:.1f} {point[0]:.1f} {half:.1f} {point[0]:.1f} {point[1]:.1f}"
        last = point
    return way


def _shape(layer: Mapping[str, Any]) -> str:
    return "×".join(str(n) for n in layer["output_shape"][1:]) or "1"


def _extent(layer: Mapping[str, Any]) -> float:
    """How much a layer passes on: the logarithm of its output's number of values."""
    return math.log2(2 + math.prod(n for n in layer["output_shape"][1:] if n))
