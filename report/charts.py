"""Charts as inline SVG, drawn by Matplotlib. Colours are the variables of the page's style sheet.

Every chart has a title for screen readers. Bars and points have their values as titles, which
browsers show under the pointer; of lines the page's script reads values out of `data-readings`.
"""

import io
import itertools
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from report.svg import Drawing

_WIDTH, _HEIGHT = 520, 260  # pixels at the natural size
_MOST_POINTS = 400
# Each stands for a variable of the style sheet, so that a chart follows light and dark.
_COLOURS = {
    "card": "#0a0a0a",
    "ink": "#010101",
    "soft": "#020202",
    "rule": "#030303",
    "real": "#040404",
    "fake": "#050505",
    "third": "#060606",
    "fourth": "#070707",
    "good": "#080808",
    "bad": "#090909",
}
_numbers = itertools.count(1)


def bars(
    title: str,
    categories: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    y_label: str,
    x_label: str = "",
) -> Drawing:
    """Bars side by side for each category.

    Args:
      title: of the chart.
      categories: names along the x axis.
      series: by name, one number per category; None leaves a gap. Up to three series.
      y_label, x_label: names of the axes.
    """
    chart = _Chart(title, x_label, y_label)
    width = 0.8 / len(series)
    for number, (colour, name) in enumerate(zip(("real", "fake", "third"), series, strict=False)):
        values = series[name]
        kept = [index for index, value in enumerate(values) if value is not None]
        drawn = chart.axes.bar(
            [index - 0.4 + (number + 0.5) * width for index in kept],
            [value for value in values if value is not None],
            width * 0.95,
            color=_COLOURS[colour],
            label=name if len(series) > 1 else "_",
        )
        for bar, index in zip(drawn, kept, strict=True):
            own = f", {name}" if len(series) > 1 else ""
            chart.hint(bar, f"{categories[index]}{own}: {values[index]:.4g}")
    every = -(-len(categories) // 20)
    chart.axes.set_xticks(range(0, len(categories), every), categories[::every])
    return chart.drawing()


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str,
    y_label: str,
    log_y: bool = False,
) -> Drawing:
    """One line per series.

    Args:
      title: of the chart.
      series: by name, points of x and y in order; values that are not finite leave a gap. Up to
        four series.
      x_label, y_label: names of the axes.
      log_y: a logarithmic y axis, where all values are above 0 and spread over a factor of 10.
    """
    shown = {name: _thinned(points) for name, points in series.items() if len(points)}
    values = [y for points in shown.values() for _, y in points if math.isfinite(y)]
    if not values:
        return Drawing(title, Markup(""))
    chart = _Chart(title, x_label, y_label)
    for colour, (name, points) in zip(
        ("fake", "real", "third", "fourth"), shown.items(), strict=False
    ):
        few = len(points) < 3
        chart.axes.plot(
            *zip(*points, strict=True),
            color=_COLOURS[colour],
            marker="o" if few else "",
            linewidth=2,
            label=name,
        )
        for x, y in points:
            if math.isfinite(y):
                chart.reading(x, f"{name} {y:.4g}")
    if log_y and min(values) > 0 and max(values) > 10 * min(values):
        chart.log_scale()
    else:
        chart.axes.set_ylim(bottom=0 if min(values) >= 0 else None)
    return chart.drawing()


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most as many points as a line can show; the last one stays."""
    step = -(-len(points) // _MOST_POINTS)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def histogram(
    title: str, counts: Mapping[float, float], *, x_label: str, y_label: str, colour: str = "real"
) -> Drawing:
    """A histogram on a logarithmic axis.

    Args:
      title: of the chart.
      counts: by the left edge of the bin, at equal distances; bins without any are left out.
      x_label, y_label: names of the axes.
      colour: a variable of the style sheet.
    """
    chart = _Chart(title, x_label, y_label)
    edges = sorted(edge for edge, count in counts.items() if count > 0)
    width = min((b - a for a, b in itertools.pairwise(sorted(counts))), default=1.0)
    drawn = chart.axes.bar(
        edges, [counts[e] for e in edges], width * 0.97, align="edge", color=_COLOURS[colour]
    )
    for bar, edge in zip(drawn, edges, strict=True):
        chart.hint(bar, f"{edge:.3g} to {edge + width:.3g}: {counts[edge]:,.0f}")
    chart.log_scale()
    return chart.drawing()


def history(
    title: str, runs: Sequence[Mapping], *, y_label: str, threshold: float | None = None
) -> Drawing:
    """A value over runs; nothing where fewer than two runs have it.

    Args:
      title: of the chart.
      runs: oldest first: `name`, `value` (a number or None), `blessed` and `pushed`; maybe
        `interval`, two numbers about the value, or None.
      y_label: name of the value.
      threshold: of the newest run; drawn as a dashed line.
    """
    found = [(n, run) for n, run in enumerate(runs, start=1) if run["value"] is not None]
    if len(found) < 2:
        return Drawing(title, Markup(""))
    chart = _Chart(title, "runs, oldest first", y_label)
    named = set()
    for number, run in found:
        blessed, pushed = run["blessed"], run["pushed"]
        colour = _COLOURS["good" if blessed else "bad"]
        state = ("blessed" if blessed else "not blessed") + (", pushed" if pushed else "")
        hint = f"{run['name']}: {run['value']:.4g}, {state}"
        if interval := run.get("interval"):
            hint += f", interval {interval[0]:.4g} to {interval[1]:.4g}"
            chart.axes.vlines(number, *interval, color=colour, linewidth=2)
        [point] = chart.axes.plot(
            number,
            run["value"],
            marker="D" if pushed else "o",
            markersize=8 if pushed else 7,
            color=colour,
            linestyle="none",
            label="_" if state in named else state,
        )
        named.add(state)
        chart.hint(point, hint)
    if threshold is not None:
        chart.axes.axhline(
            threshold, color=_COLOURS["ink"], linestyle="--", linewidth=1, label="threshold"
        )
    values = [run["value"] for _, run in found]
    if min(values) > 0 and max(values) > 10 * min(values):
        chart.log_scale()
    chart.axes.set_xlim(0.5, len(runs) + 0.5)
    every = -(-len(runs) // 12)
    chart.axes.set_xticks(range(1, len(runs) + 1, every))
    return chart.drawing()


def timeline(title: str, spans: Sequence[tuple[str, float, float, str]]) -> Drawing:
    """When each node ran, one bar below the other.

    Args:
      title: of the chart.
      spans: name, start and length in seconds, and state, in the order of the rows.
    """
    if not spans:
        return Drawing(title, Markup(""))
    chart = _Chart(title, "seconds since the run began", "", height=64 + 22 * len(spans))
    for row, (name, start, seconds, state) in enumerate(spans):
        colour = {"FAILED": "bad", "CACHED": "rule"}.get(state, "third")
        [bar] = chart.axes.barh(row, max(seconds, 0.0), 0.7, left=start, color=_COLOURS[colour])
        chart.hint(bar, f"{name}: {seconds:.1f} s, {state.lower()}")
    chart.axes.set_yticks(range(len(spans)), [name for name, *_ in spans])
    chart.axes.invert_yaxis()
    chart.axes.set_xlim(left=0)
    return chart.drawing()


def parallel(
    title: str, axes: Mapping[str, Sequence], colours: Mapping[str, Sequence[int]]
) -> Drawing:
    """Parallel coordinates: an upright axis for each property, a line for each row.

    Args:
      title: of the chart.
      axes: by name, a number or a text for each row. Numbers over a factor of ten or more are on a
        logarithmic axis; rows of the same text lie beside each other, in their order.
      colours: by what it means, the rows of a colour, the last in front. Up to four.
    """
    chart = _Chart(title, "", "", height=340)
    places = []
    for number, values in enumerate(axes.values()):
        places.append(_places(values))
        ticks = dict(zip(map(_brief, values), places[-1], strict=True))
        if all(isinstance(value, int | float) for value in values) and len(ticks) > 2:
            ticks = {
                _brief(value): float(value == max(values)) for value in (min(values), max(values))
            }
        for text, height in ticks.items():
            chart.axes.annotate(
                text, (number, height), (5, 0), textcoords="offset points", va="center",
                fontsize=12, color=_COLOURS["ink"], zorder=9,
                bbox={"facecolor": _COLOURS["card"], "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
    palette = (*("soft", "real", "third")[: len(colours) - 1], "fake")
    for depth, (colour, (meaning, rows)) in enumerate(zip(palette, colours.items(), strict=True)):
        for first, row in enumerate(rows):
            [line] = chart.axes.plot(
                [heights[row] for heights in places],
                color=_COLOURS[colour],
                linewidth=3 if colour == "fake" else 1.5 if depth else 1,
                label="_" if first else meaning,
                zorder=3 + depth,
            )
            chart.hint(line, ", ".join(f"{k} {_brief(v[row])}" for k, v in axes.items()))
    # Every second name a line lower: neighbours of any length keep apart.
    names = ["\n" * (i % 2) + name.replace("_", "\n", 1) for i, name in enumerate(axes)]
    chart.axes.set_xticks(range(len(axes)), names)
    chart.axes.set_xlim(-0.2, len(axes) - 0.4)
    chart.axes.set_ylim(-0.06, 1.06)
    chart.axes.set_yticks([])
    chart.axes.grid(axis="x", color=_COLOURS["soft"], linewidth=1)
    chart.axes.spines["bottom"].set_visible(False)
    return chart.drawing()


def _places(values: Sequence) -> list[float]:
    """Where each value stands on an axis from 0 to 1."""
    if all(isinstance(value, int | float) for value in values) and len(set(values)) > 2:
        log = min(values) > 0 and max(values) >= 10 * min(values)
        heights = [math.log(value) if log else value for value in values]
        low, span = min(heights), max(heights) - min(heights)
        return [(height - low) / span for height in heights]
    names = list(dict.fromkeys(sorted(values)))
    places = []
    for row, value in enumerate(values):
        same = [other for other, text in enumerate(values) if text == value]
        aside = (same.index(row) + 0.5) / len(same) - 0.5
        places.append((names.index(value) + 0.5 + 0.6 * aside) / len(names))
    return places


def _brief(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class _Chart:
    """Axes in the page's colours, and the way to SVG."""

    def __init__(self, title: str, x_label: str, y_label: str, height: float = _HEIGHT):
        from matplotlib.figure import Figure  # takes half a second; only pages need it

        self._title, self._size = title, (_WIDTH, height)
        self._hints: dict[str, str] = {}
        self._readings: dict[float, str] = {}
        self._x_label = x_label
        # At 72 dots per inch a point is a pixel, so that sizes below are the page's.
        self._figure = Figure(figsize=(_WIDTH / 72, height / 72), dpi=72, layout="constrained")
        self.axes = axes = self._figure.add_subplot()
        axes.set_xlabel(x_label, fontsize=12.5, color=_COLOURS["soft"])
        axes.set_ylabel(y_label, fontsize=12.5, color=_COLOURS["soft"])
        axes.tick_params(labelsize=12, length=0, labelcolor=_COLOURS["soft"])
        axes.grid(axis="y", color=_COLOURS["rule"], linewidth=1)
        axes.set_axisbelow(True)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_COLOURS["soft"])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: _text(value))

    def hint(self, artist, text: str) -> None:
        """Text that a browser shows under the pointer."""
        name = f"hint{len(self._hints)}"
        artist.set_gid(name)
        self._hints[name] = text

    def reading(self, x: float, text: str) -> None:
        """Adds what is to be read where a cross-hair is at `x`."""
        before = self._readings.get(x, f"{self._x_label} {_text(x)}")
        self._readings[x] = f"{before} · {text}"

    def log_scale(self) -> None:
        self.axes.set_yscale("log")
        low, high = self.axes.get_ylim()
        decades = math.log10(high / low)
        self.axes.yaxis.set_major_formatter(lambda value, _: _text(value))
        self.axes.yaxis.set_minor_formatter(
            (lambda value, _: _text(value) if f"{value:e}"[0] in "25" else "")
            if decades < 1.5
            else (lambda value, _: "")
        )
        self.axes.tick_params(which="minor", length=0, labelsize=12, labelcolor=_COLOURS["soft"])

    def drawing(self) -> Drawing:
        import matplotlib

        handles, names = self.axes.get_legend_handles_labels()
        if names:
            self._figure.legend(
                handles, names, loc="outside upper left", ncols=len(names), frameon=False,
                fontsize=12, labelcolor=_COLOURS["ink"], handlelength=1.2, columnspacing=1.4,
            )  # fmt: skip
        number = next(_numbers)
        buffer = io.BytesIO()
        # Text stays text; ids must differ from those of the page's other charts.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"chart {number}"}):
            self._figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        page = _for_page(buffer.getvalue(), self._title, self._hints, number, self._cross_hair())
        return Drawing(self._title, page)

    def _cross_hair(self) -> str:
        """As JSON: ends of an upright line, and its places with what is to be read there."""
        if not self._readings:
            return ""
        frame, height = self.axes.bbox, self._size[1]
        places = [
            [round(float(self.axes.transData.transform((x, 1))[0]), 1), text]
            for x, text in sorted(self._readings.items())
        ]
        ends = [round(float(height - y), 1) for y in (frame.y1, frame.y0)]
        return json.dumps({"ends": ends, "places": places}, ensure_ascii=False)


def _for_page(
    document: bytes, title: str, hints: Mapping[str, str], number: int, readings: str
) -> Markup:
    """Matplotlib's document as an element of the page."""
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(document)
    space = "{http://www.w3.org/2000/svg}"
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
        name = parent.get("id", "")
        if name in hints:
            ElementTree.SubElement(parent, f"{space}title").text = hints[name]
        if name in hints or (parent.tag == f"{space}g" and name):
            del parent.attrib["id"]  # such as axes_1: the same in every chart
    box = root.attrib["viewBox"]
    body = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    body = re.sub(r' xmlns(:\w+)?="[^"]*"', "", body)  # HTML knows SVG's elements by itself
    for variable, colour in _COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    # The page's font; Matplotlib reserved room for a wider one.
    body = re.sub(r"font: ([\d.]+px) [^;\"]*|font-family: [^;\"]*;? ?", _size, body)
    body = body.replace("xlink:href", "href")
    width = float(box.split()[2])
    return Markup(
        f'<svg class="chart" viewBox="{box}" role="img" aria-labelledby="chart-{number}" '
        f'style="--natural-width: {width:g}px"'
        + (f' data-readings="{escape(readings)}"' if readings else "")
        + f'><title id="chart-{number}">{escape(title)}</title>{body}</svg>'
    )


def _size(match: re.Match) -> str:
    return f"font-size: {match[1]}" if match[1] else ""


def _text(value: float) -> str:
    """A tick's label: 1,000, 20k, 2.5M and 0.25."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
