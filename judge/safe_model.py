"""Refuses a SavedModel whose graph reaches for files or other processes: a model is a program.

TensorFlow runs whatever operations a graph holds, and some of them write files. A generator needs
none of these.
"""

import collections
import os
import pathlib
import re
from typing import Any

# Parts of the names of operations that read or write files of the graph's choosing, hide another
# graph in a string, run Python or speak to others. Parts, because TensorFlow adds operations.
FORBIDDEN = re.compile(
    "Collective|Dataset|Debug|Event|File|Print|Proto|PyFunc|Reader|Remap|Remote|Restore|Rpc|Save"
    "|Summary|MergeV2Checkpoints"
)


class UnsafeModelError(ValueError):
    """A SavedModel would do more than compute; the message names the operation."""


def check(model_dir: str | os.PathLike) -> None:
    """Looks at every operation that loading or calling a SavedModel can come to.

    What only TensorFlow's own saver reaches is left out: every SavedModel has that, and it is given
    its files by whoever loads.

    Raises:
      UnsafeModelError: `FORBIDDEN` is found in the name of one, or the file is no SavedModel.
      OSError: the file can't be read.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    path = pathlib.Path(model_dir, "saved_model.pb")
    try:
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except DecodeError:
        raise UnsafeModelError(f"{path} is no SavedModel") from None
    for graph in model.meta_graphs:
        functions = {f.signature.name: f for f in graph.graph_def.library.function}
        nodes = _reached(graph)
        waiting = collections.deque(graph.object_graph_def.concrete_functions)
        seen = set()
        while nodes or waiting:
            for node in nodes:
                if FORBIDDEN.search(node.op):
                    raise UnsafeModelError(
                        f"{model_dir} holds the operation {node.op} ({node.name}), which a "
                        "generator does not need: it is not loaded"
                    )
                waiting.extend([node.op, *_named_functions(node)])
            nodes = []
            if waiting and (name := waiting.popleft()) in functions and name not in seen:
                seen.add(name)
                nodes = list(functions[name].node_def)


def _reached(graph: Any) -> list:
    """The nodes that signatures and initialisation come to, outside of functions."""
    by_name = {node.name: node for node in graph.graph_def.node}
    waiting = [
        output.name for signature in graph.signature_def.values()
        for output in signature.outputs.values()
    ]  # fmt: skip
    for collection in graph.collection_def.values():
        waiting += collection.node_list.value
    seen = {}
    while waiting:
        name = waiting.pop().removeprefix("^").partition(":")[0]
        if name in by_name and name not in seen:
            seen[name] = by_name[name]
            waiting += by_name[name].input
    return list(seen.values())


def _named_functions(node: Any) -> list[str]:
    values = node.attr.values()
    return [v.func.name for v in values if v.HasField("func")] + [
        function.name for v in values for function in v.list.func
    ]
