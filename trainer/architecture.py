"""What a network looks like: its layers as a table and as a picture. Needs no TensorFlow here."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metrics.svg import Canvas, Drawing

if TYPE_CHECKING:
    import keras

_ROW, _GAP = 32, 10  # height of a row, and what of it lies between boxes
_BOX, _LANE = 76, 92  # the widest box, and from one branch to the next
_NAME, _TYPE, _SHAPE, _BAR = 0, 120, 300, 376  # columns of the text, right of the branches
_WIDTH = 536  # of the text

# Of a picture that stands alone, in light and dark; the report has these classes in its own sheet.
STYLE = (
    "svg{background:#fff;font-family:sans-serif}text{font-size:13px;fill:#222}"
    ".tick{font-size:12px;fill:#5a626c}.layer{stroke:#5a626c}.weights{fill:#f4ecdd}"
    ".plain{fill:#fff}.flow{stroke:#5a626c;fill:none}.third{fill:#5d7f34}"
    "@media(prefers-color-scheme:dark){svg{background:#16181b}text{fill:#e4e3df}"
    ".tick{fill:#a3a9b1}.weights{fill:#3a3222}.plain{fill:#1e2125}.third{fill:#a5c76f}}"
)


def network_table(network: "keras.Model") -> dict[str, Any]:
    """Parameters and layers of a functional network, as JSON.

    Returns:
      `parameters`, `trainable_parameters`, and `layers` from the inputs to the output, each with
      `name`, `type`, `inputs` (names of layers), `output_shape` (the first entry is the batch),
      `parameters` and `trainable_parameters`.
    """
    inputs = {
        layer["name"]: list(dict.fromkeys(_sources(layer["inbound_nodes"])))
        for layer in network.get_config()["layers"]
    }
    layers = [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "inputs": inputs[layer.name],
            "output_shape": list(layer.output.shape),
            "parameters": layer.count_params(),
            "trainable_parameters": sum(math.prod(w.shape) for w in layer.trainable_weights),
        }
        for layer in network.layers
    ]
    return {
        "parameters": sum(layer["parameters"] for layer in layers),
        "trainable_parameters": sum(layer["trainable_parameters"] for layer in layers),
        "layers": layers,
    }


def _sources(node: object) -> Iterator[str]:
    """Names of the layers whose outputs occur in a configuration."""
    if isinstance(node, Mapping):
        if "keras_history" in node:
            yield node["keras_history"][0]
        else:
            for part in node.values():
                yield from _sources(part)
    elif isinstance(node, list | tuple):
        for part in node:
            yield from _sources(part)


def markdown_tables(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of networks, by name, for people."""
    lines = []
    for name, table in tables.items():
        lines += [
            f"# {name.capitalize()}: {table['parameters']:,} parameters, "
            f"{table['trainable_parameters']:,} of them trained",
            "",
            "| layer | type | from | output | parameters | trained |",
            "| --- | --- | --- | --- | ---: | ---: |",
        ]
        lines += [
            f"| {layer['name']} | {layer['type']} | {', '.join(layer['inputs'])} "
            f"| {_shape(layer)} | {layer['parameters']:,} | {layer['trainable_parameters']:,} |"
            for layer in table["layers"]
        ]
        lines += [""]
    return "\n".join(lines)


def draw_network(title: str, layers: Sequence[Mapping[str, Any]]) -> Drawing:
    """A network from top to bottom, a layer a row, branches side by side.

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
