"""The layers of a network as a table, for `networks.json`."""

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
