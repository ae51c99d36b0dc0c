"""Charts and graphs as inline SVG. Colours come from the page's style sheet, by class.

Every chart has a title for screen readers; its numbers stand in a table beside it or in the titles
of its marks, which browsers show under the pointer.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from report.svg import Canvas, Drawing, element

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 12, 12, 40
_MOST_POINTS = 400


# ---------------------------------------------------------------------------------------------
# Axes


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _text(value: float) -> str:
    """A tick's label: 1,000, 20k, 2.5M and 0.25."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


class _Plot(Canvas):
    """Axes and the way from values to places."""

    def __init__(
        self,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        log_y: bool = False,
        size: tuple[float, float] = (_WIDTH, _HEIGHT),
        legend: int = 0,
    ):
        super().__init__(title, *size)
        self._width, self._height = size
        self._top = _TOP + (18 if legend else 0)
        self._log = log_y
        self._x = x if x[1] > x[0] else (x[0] - 0.5, x[0] + 0.5)
        low, high = (math.log10(v) for v in y) if log_y else y
        margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        self._y = (low - margin if log_y or low else low, high + margin)

    @property
    def right(self) -> float:
        return self._width - _RIGHT

    @property
    def bottom(self) -> float:
        return self._height - _BOTTOM

    def x(self, value: float) -> float:
        low, high = self._x
        return _LEFT + (value - low) / (high - low) * (self.right - _LEFT)

    def y(self, value: float) -> float:
        low, high = self._y
        value = math.log10(value) if self._log else value
        return self.bottom - (value - low) / (high - low) * (self.bottom - self._top)

    def y_axis(self, label: str) -> None:
        low, high = self._y
        if self._log:
            powers = [10.0**p for p in range(math.floor(low), math.ceil(high) + 1)]
            between = [m * p for p in powers for m in (1, 2, 5)]
            values = [v for v in powers if low <= math.log10(v) <= high]
            if len(values) < 3:
                values = [v for v in between if low <= math.log10(v) <= high]
        else:
            values = _ticks(low, high)
        for value in values:
            place = self.y(value)
            self.add("line", class_="grid", x1=_LEFT, x2=self.right, y1=place, y2=place)
            self.add(
                "text", _text(value), class_="tick", x=_LEFT - 6, y=place + 4, text_anchor="end"
            )
        middle = (self._top + self.bottom) / 2
        self.add(
            "text",
            label,
            class_="label",
            x=12,
            y=middle,
            text_anchor="middle",
            transform=f"rotate(-90 12 {middle:g})",
        )

    def x_axis(self, label: str, ticks: Mapping[float, str] | None = None) -> None:
        if ticks is None:
            ticks = {value: _text(value) for value in _ticks(*self._x)}
        for value, text in ticks.items():
            self.add(
                "text",
                text,
                class_="tick",
                x=self.x(value),
                y=self.bottom + 16,
                text_anchor="middle",
            )
        self.add("line", class_="axis", x1=_LEFT, x2=self.right, y1=self.bottom, y2=self.bottom)
        self.add(
            "text",
            label,
            class_="label",
            x=(_LEFT + self.right) / 2,
            y=self._height - 6,
            text_anchor="middle",
        )

    def legend(self, names: Mapping[str, str]) -> None:
        """Names of series by their class."""
        place = float(_LEFT)
        for kind, name in names.items():
            self.add("rect", class_=f"fill {kind}", x=place, y=4, width=10, height=10, rx=2)
            self.add("text", name, class_="tick legend", x=place + 15, y=13)
            place += 30 + 6.6 * len(name)


# ---------------------------------------------------------------------------------------------
# Charts


def bars(
    title: str,
    categories: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    y_label: str,
    x_label: str = "",
    kinds: Sequence[str] = ("real", "fake", "third"),
) -> Drawing:
    """Bars side by side for each category.

    Args:
      title: for screen readers.
      categories: names along the x axis.
      series: by name, a number a category; None leaves a gap.
      y_label, x_label: names of the axes.
      kinds: a class of the style sheet for each series.
    """
    top = max((v for values in series.values() for v in values if v is not None), default=1) or 1
    many = len(series) > 1
    plot = _Plot(title, (-0.5, len(categories) - 0.5), (0, top), legend=many)
    plot.y_axis(y_label)
    every = -(-len(categories) // 20)
    plot.x_axis(x_label, {i: name for i, name in enumerate(categories) if i % every == 0})
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        for index, value in enumerate(values):
            if value is None:
                continue
            left = plot.x(index - 0.4 + number * width)
            right = plot.x(index - 0.4 + (number + 1) * width)
            hint = f"{categories[index]}{', ' + name if many else ''}: {_text(value)}"
            plot.mark(
                "rect",
                hint,
                class_=f"fill {kinds[number]}",
                x=left,
                y=plot.y(value),
                width=max(right - left - 1, 0.5),
                height=max(plot.y(0) - plot.y(value), 0.0),
            )
    if many:
        plot.legend(dict(zip(kinds, series, strict=False)))
    return plot.drawing()


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str,
    y_label: str,
    log_y: bool = False,
) -> Drawing:
    """One line a series.

    Args:
      title: for screen readers.
      series: by name, points of x and y in order; values that are not finite leave a gap. Up to
        four series.
      x_label, y_label: names of the axes.
      log_y: a logarithmic y axis, where all values are above 0.
    """
    shown = {name: _thinned(points) for name, points in series.items() if len(points)}
    values = [y for points in shown.values() for _, y in points if math.isfinite(y)]
    if not values:
        return Drawing(title, Markup(""))
    log_y = log_y and min(values) > 0 and max(values) > 10 * min(values)
    xs = [x for points in shown.values() for x, _ in points]
    low = min(values) if log_y else min(0.0, *values) if len(values) > 1 else min(0.0, values[0])
    plot = _Plot(title, (min(xs), max(xs)), (low, max(values)), log_y=log_y, legend=True)
    plot.y_axis(y_label)
    plot.x_axis(x_label)
    kinds = ("fake", "real", "third", "fourth")
    for kind, points in zip(kinds, shown.values(), strict=False):
        path, pen = [], "M"
        for x, y in points:
            if not math.isfinite(y):
                pen = "M"
                continue
            path.append(f"{pen}{plot.x(x):.1f} {plot.y(y):.1f}")
            pen = "L"
        plot.add("path", class_=f"line {kind}", d="".join(path))
        if len(path) == 1:
            x, y = points[-1]
            plot.add("circle", class_=f"fill {kind}", cx=plot.x(x), cy=plot.y(y), r=3)
    plot.legend(dict(zip(kinds, shown, strict=False)))
    return plot.drawing()


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most so many points as a line can show; the last one stays."""
    step = -(-len(points) // _MOST_POINTS)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def area(
    title: str, counts: Mapping[float, float], *, x_label: str, y_label: str, kind: str = "real"
) -> Drawing:
    """A histogram on a logarithmic axis.

    Args:
      title: for screen readers.
      counts: by the left edge of the bin, at equal distances; bins without any are left out.
      x_label, y_label: names of the axes.
      kind: a class of the style sheet.
    """
    edges = sorted(counts)
    width = min((b - a for a, b in itertools.pairwise(edges)), default=1.0)
    top = max(counts.values())
    plot = _Plot(title, (edges[0], edges[-1] + width), (0.8, top), log_y=True)
    plot.y_axis(y_label)
    plot.x_axis(x_label)
    for edge in edges:
        if counts[edge] > 0:
            left, right = plot.x(edge), plot.x(edge + width)
            hint = f"{edge:.3g} to {edge + width:.3g}: {counts[edge]:,.0f}"
            plot.mark(
                "rect",
                hint,
                class_=f"fill {kind}",
                x=left,
                y=plot.y(counts[edge]),
                width=max(right - left - 0.5, 0.5),
                height=plot.bottom - plot.y(counts[edge]),
            )
    return plot.drawing()


def plane(
    title: str,
    points: Mapping[str, tuple[float, float, str]],
    *,
    x_label: str,
    y_label: str,
) -> Drawing:
    """Points between 0 and 1 on both axes (above 1 the axis grows).

    Args:
      title: for screen readers.
      points: by name: x, y and a class of the style sheet.
      x_label, y_label: names of the axes.
    """
    high = [max([1.0, *(p[axis] for p in points.values())]) for axis in (0, 1)]
    plot = _Plot(title, (0, high[0] * 1.02), (0, high[1]), size=(360, 330), legend=True)
    plot.y_axis(y_label)
    plot.x_axis(x_label)
    for name, (x, y, kind) in points.items():
        plot.mark(
            "circle",
            f"{name}: {x:.3f}, {y:.3f}",
            class_=f"fill {kind}",
            cx=plot.x(x),
            cy=plot.y(y),
            r=7,
        )
    plot.legend({kind: name for name, (_, _, kind) in points.items()})
    return plot.drawing()


def history(title: str, runs: Sequence[Mapping], *, y_label: str) -> Drawing:
    """A value over runs.

    Args:
      title: for screen readers.
      runs: oldest first: `name`, `value` (> 0, or None), `blessed` and `pushed`; maybe `interval`,
        two numbers > 0 about the value, or None.
      y_label: name of the value.
    """
    values = [run["value"] for run in runs if run["value"]]
    if not values:
        return Drawing(title, Markup(""))
    values += [end for run in runs if run["value"] for end in run.get("interval") or ()]
    low, high = min(values), max(values)
    plot = _Plot(title, (0.5, len(runs) + 0.5), (low, high), log_y=high > 10 * low, legend=True)
    plot.y_axis(y_label)
    every = -(-len(runs) // 12)
    plot.x_axis("runs, oldest first", {i: str(i) for i in range(1, len(runs) + 1, every)})
    for number, run in enumerate(runs, start=1):
        if not run["value"]:
            continue
        kind = "good" if run["blessed"] else "bad"
        x, y = plot.x(number), plot.y(run["value"])
        state = ("blessed" if run["blessed"] else "not blessed") + (
            ", pushed" if run["pushed"] else ""
        )
        hint = f"{run['name']}: {run['value']:.4g}, {state}"
        if interval := run.get("interval"):
            hint += f", interval {interval[0]:.4g} to {interval[1]:.4g}"
            bottom, top = map(plot.y, interval)
            plot.add("line", class_=f"line {kind}", x1=x, x2=x, y1=bottom, y2=top)
        if run["pushed"]:
            plot.mark(
                "path", hint, class_=f"fill {kind}", d=f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"
            )
        else:
            plot.mark("circle", hint, class_=f"fill {kind}", cx=x, cy=y, r=5)
    plot.legend({"good": "blessed (diamond: pushed)", "bad": "not blessed"})
    return plot.drawing()


# ---------------------------------------------------------------------------------------------
# Graphs

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
    for node in nodes:
        rows[layer[node]].append(node)
    # An edge over several layers becomes a chain of bends, one a layer.
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
    for name, node in nodes.items():
        x, y = point(name, -1)
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
    # A graph is no single picture: its nodes are to be reached one by one.
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
    waiting = dict.fromkeys(nodes, 0)
    following: dict[str, list[str]] = {name: [] for name in waiting}
    for start, end, *_ in edges:
        waiting[end] += 1
        following[start].append(end)
    layer = dict.fromkeys(waiting, 0)
    ready = [name for name, count in waiting.items() if count == 0]
    while ready:
        name = ready.pop()
        for end in following[name]:
            layer[end] = max(layer[end], layer[name] + 1)
            waiting[end] -= 1
            if waiting[end] == 0:
                ready.append(end)
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

    def wish(name: str, side: int | None) -> float:
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
            wishes = {name: wish(name, side) for name in row}
            if sweep < 16:
                row.sort(key=lambda name: wishes[name])
            _place(row, wishes, places, nodes)
    return places


def _place(row: list[str], wishes: Mapping, places: dict[str, float], nodes: Mapping) -> None:
    """Puts a row's members as near to their wishes as order and gaps allow (pool adjacent)."""
    groups: list[tuple[float, list[str], list[float]]] = []  # left end, members, offsets
    for name in row:
        width = _width(name, nodes)
        group = (wishes[name] - width / 2, [name], [width / 2], width)
        while groups and groups[-1][0] + groups[-1][3] + _GAP > group[0]:
            left, members, offsets, span = groups.pop()
            shift = span + _GAP
            merged_offsets = offsets + [shift + offset for offset in group[2]]
            merged = members + group[1]
            best = sum(
                wishes[member] - offset
                for member, offset in zip(merged, merged_offsets, strict=True)
            ) / len(merged)
            group = (best, merged, merged_offsets, shift + group[3])
        groups.append(group)
    for left, members, offsets, _ in groups:
        for member, offset in zip(members, offsets, strict=True):
            places[member] = left + offset
