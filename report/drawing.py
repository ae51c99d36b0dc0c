"""The lineage graph as inline SVG. Colours come from the page's style sheet, by class."""

import graphlib
import itertools
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import escape

from report.svg import Canvas, Drawing, element

_NODE_WIDTH, _NODE_HEIGHT, _LAYER_HEIGHT, _GAP, _BEND = 158, 42, 74, 18, 26


def graph(
    title: str,
    nodes: Mapping[str, Mapping],
    edges: Sequence[tuple[str, str, str, bool]],
) -> Drawing:
    """A directed graph without cycles, sources at the top; nodes are links.

    Layers are longest paths, the order within them follows the neighbours (barycentres), and
    edges that pass a layer keep a place free in it.

    Args:
      title: for screen readers.
      nodes: by id: `lines` (one or two texts), `kind` (a class of the style sheet), `href`.
      edges: from, to, name, and whether it is only a reference (dashed).
    """
    layer = _layers(nodes, edges)
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for label in nodes:
        rows[layer[label]].append(label)
    # An edge over several layers becomes a chain of bends, one per layer.
    chains: list[tuple[list[str], str, bool]] = []
    for number, (start, end, name, reference) in enumerate(edges):
        bends = []
        for level in range(layer[start] + 1, layer[end]):
            bends.append(f"bend {number} {level}")
            rows[level].append(bends[-1])
        chains.append(([start, *bends, end], name, reference))
    neighbours: dict[str, list[str]] = {name: [] for row in rows for name in row}
    for chain, _, _ in chains:
        for a, b in itertools.pairwise(chain):
            neighbours[a].append(b)
            neighbours[b].append(a)
    places = _arranged(rows, neighbours, nodes)

    left = min(place - _width(name, nodes) / 2 for name, place in places.items())
    right = max(place + _width(name, nodes) / 2 for name, place in places.items())
    height = _LAYER_HEIGHT * (len(rows) - 1) + _NODE_HEIGHT + 8
    canvas = Canvas(title, right - left + 8, height, "graph")
    level_of = {name: level for level, row in enumerate(rows) for name in row}

    def point(name: str, side: int) -> tuple[float, float]:
        half = _NODE_HEIGHT / 2 if name in nodes else 0
        middle = 4 + level_of[name] * _LAYER_HEIGHT + _NODE_HEIGHT / 2
        return places[name] - left + 4, middle + side * half

    for chain, name, reference in chains:
        points = [
            point(chain[0], 1),
            *(point(bend, 0) for bend in chain[1:-1]),
            point(chain[-1], -1),
        ]
        kind = "edge reference" if reference else "edge"
        canvas.mark("path", name, class_=kind, d=_curve(points))
        canvas.add("path", class_="arrow", d="M{:.1f} {:.1f}l-4 -7h8z".format(*points[-1]))
    for label, node in nodes.items():
        x, y = point(label, -1)
        shape = element(
            "rect",
            class_="shape",
            x=x - _NODE_WIDTH / 2,
            y=y,
            width=_NODE_WIDTH,
            height=_NODE_HEIGHT,
            rx=4 if node["kind"] == "execution" else 20,
        )
        texts = "".join(
            element(
                "text",
                escape(_fitting(line)),
                class_="name" if index == 0 else "tick",
                x=x,
                y=y + (18 if len(node["lines"]) > 1 else 26) + 15 * index,
                text_anchor="middle",
            )
            for index, line in enumerate(node["lines"])
        )
        hint = element("title", escape(", ".join(node["lines"])))
        canvas.raw(
            element("a", hint + shape + texts, href=node["href"], class_=f"node {node['kind']}")
        )
    # A graph's nodes are to be reached one by one.
    return canvas.drawing(role="group")


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth path through points that go down: upright at both ends, slanting at the bends."""
    slopes = (
        [0.0]
        + [
            (after[0] - before[0]) / (after[1] - before[1])
            for before, after in zip(points, points[2:], strict=False)
        ]
        + [0.0]
    )
    path = "M{:.1f} {:.1f}".format(*points[0])
    for (x, y), (to_x, to_y), slope, to_slope in zip(
        points, points[1:], slopes, slopes[1:], strict=False
    ):
        reach = (to_y - y) * 0.4
        path += (
            f"C{x + slope * reach:.1f} {y + reach:.1f} "
            f"{to_x - to_slope * reach:.1f} {to_y - reach:.1f} {to_x:.1f} {to_y:.1f}"
        )
    return path


def _fitting(text: str, longest: int = 23) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _layers(nodes: Iterable[str], edges: Sequence[tuple]) -> dict[str, int]:
    """The longest way from any source, by node."""
    sources: dict[str, list[str]] = {name: [] for name in nodes}
    for start, end, *_ in edges:
        sources[end].append(start)
    layer: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(sources).static_order():
        layer[name] = max((layer[source] + 1 for source in sources[name]), default=0)
    return layer


def _width(name: str, nodes: Mapping) -> float:
    return _NODE_WIDTH if name in nodes else _BEND


def _arranged(
    rows: list[list[str]], neighbours: Mapping[str, list[str]], nodes: Mapping
) -> dict[str, float]:
    """Middles on the x axis: rows are ordered, then drawn towards their neighbours."""
    places: dict[str, float] = {}
    for row in rows:
        for index, name in enumerate(row):
            places[name] = index * (_NODE_WIDTH + _GAP)
    level_of = {name: level for level, row in enumerate(rows) for name in row}

    def target(name: str, side: int | None) -> float:
        found = [
            places[other]
            for other in neighbours[name]
            if side is None or (level_of[other] - level_of[name]) * side > 0
        ]
        return sum(found) / len(found) if found else places[name]

    for sweep in range(24):
        # Down and up in turn, then both at once to settle.
        side = None if sweep >= 16 else (-1 if sweep % 2 == 0 else 1)
        order = rows if side != 1 else rows[::-1]
        for row in order:
            targets = {name: target(name, side) for name in row}
            if sweep < 16:
                row.sort(key=lambda name: targets[name])
            _place(row, targets, places, nodes)
    return places


def _place(row: list[str], targets: Mapping, places: dict[str, float], nodes: Mapping) -> None:
    """Puts a row's members as near to their targets as order and gaps allow (pool adjacent)."""
    groups: list[tuple[float, list[str], list[float], float]] = []  # left, members, offsets, width
    for name in row:
        width = _width(name, nodes)
        group = (targets[name] - width / 2, [name], [width / 2], width)
        while groups and groups[-1][0] + groups[-1][3] + _GAP > group[0]:
            left, members, offsets, span = groups.pop()
            shift = span + _GAP
            merged_offsets = offsets + [shift + offset for offset in group[2]]
            merged = members + group[1]
            best = sum(
                targets[member] - offset
                for member, offset in zip(merged, merged_offsets, strict=True)
            ) / len(merged)
            group = (best, merged, merged_offsets, shift + group[3])
        groups.append(group)
    for left, members, offsets, _ in groups:
        for member, offset in zip(members, offsets, strict=True):
            places[member] = left + offset
