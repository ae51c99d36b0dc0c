"""The layers of a network as a table, for `networks.json` and `networks.md`."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras


def network_table(network: keras.Model) -> dict[str, Any]:
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


def _shape(layer: Mapping[str, Any]) -> str:
    return "×".join(str(n) for n in layer["output_shape"][1:]) or "1"
