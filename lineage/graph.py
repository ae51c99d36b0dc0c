"""Follows what executions read and made: where an artifact comes from, and what came of it."""

import collections
import dataclasses
from collections.abc import Sequence

from lineage.store import Artifact, Execution, Store

# A model is compared with its baseline, it does not come from it; `baseline_model` until 0.2.
REFERENCE_KEYS = frozenset({"in_service", "candidate", "baseline_model"})


@dataclasses.dataclass
class Trace:
    """A part of the lineage around some artifacts.

    Attributes:
      direction: "up" to where they come from, "down" to what came of them.
      artifacts, executions: what was met, by id. Beside the chain itself, these hold what its
        executions made besides (`on_path` tells), and the baselines that were compared with.
      inputs, outputs: by execution, then by channel key: ids of artifacts.
      producers: by artifact: the execution that made it.
      reused: by artifact: executions that took it from the cache, newest first.
      consumers: by artifact: the executions of the trace that read it.
      omitted: by artifact: how many older executions read it that were not followed.
      on_path: ids of the artifacts of the chain.
    """

    direction: str
    artifacts: dict[int, Artifact] = dataclasses.field(default_factory=dict)
    executions: dict[int, Execution] = dataclasses.field(default_factory=dict)
    inputs: dict[int, dict[str, list[int]]] = dataclasses.field(default_factory=dict)
    outputs: dict[int, dict[str, list[int]]] = dataclasses.field(default_factory=dict)
    producers: dict[int, int] = dataclasses.field(default_factory=dict)
    reused: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    consumers: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    omitted: dict[int, int] = dataclasses.field(default_factory=dict)
    on_path: set[int] = dataclasses.field(default_factory=set)

    def made(self, execution: int) -> list[int]:
        """Ids of the outputs of `execution`."""
        return [i for ids in self.outputs.get(execution, {}).values() for i in ids]

    def read(self, execution: int, *, references: bool = False) -> list[int]:
        """Ids of the inputs of `execution`, each once; with or without what it compared with."""
        return list(
            dict.fromkeys(
                i
                for key, ids in self.inputs.get(execution, {}).items()
                if references or key not in REFERENCE_KEYS
                for i in ids
            )
        )


def trace(
    store: Store,
    roots: Sequence[int],
    direction: str = "up",
    depth: int | None = None,
    limit: int | None = None,
) -> Trace:
    """Follows the lineage of artifacts.

    Of the executions that a store names as having put out an artifact, the one that really made
    it counts; those that took it from the cache are listed apart. Lookups are left out.

    Args:
      store: an open store.
      roots: ids of artifacts.
      direction: "up" or "down".
      depth: executions to follow in a row; None is all the way.
      limit: down, the newest executions of each type to follow from one artifact; None is all.
    """
    found = Trace(direction)
    level = list(roots)
    while level:
        found.on_path.update(level)
        if depth is not None and (depth := depth - 1) < 0:
            break
        up = direction == "up"
        met = _makers(store, found, level) if up else _readers(store, found, level, limit)
        executions = met - found.inputs.keys()
        _add_executions(store, found, executions)
        following: dict[int, None] = {}  # each once, in the order met
        for execution in sorted(executions):
            following |= dict.fromkeys(found.read(execution) if up else found.made(execution))
        level = [i for i in following if i not in found.on_path]
    if direction == "down":
        _makers(store, found, list(roots))
    everything = set(found.on_path)
    for execution in found.inputs:
        everything.update(found.read(execution, references=True), found.made(execution))
    found.artifacts = store.artifacts(everything)
    return found


def _makers(store: Store, found: Trace, level: list[int]) -> set[int]:
    """Notes who made and who reused the artifacts of `level`; returns the makers."""
    by_artifact = collections.defaultdict(set)
    for event in store.events_of_artifacts(level):
        if event.kind == "output":
            by_artifact[event.artifact].add(event.execution)
    executions = store.executions(set().union(*by_artifact.values()))
    for artifact, ids in by_artifact.items():
        order = sorted(ids, key=lambda i: (_RANK.get(executions[i].state, len(_RANK)), i))
        found.producers[artifact] = order[0]
        found.executions[order[0]] = executions[order[0]]
        found.reused[artifact] = sorted(order[1:], reverse=True)
    return {found.producers[artifact] for artifact in by_artifact}


_RANK = {"COMPLETE": 0, "RUNNING": 1, "FAILED": 2, "CANCELED": 3}  # CACHED last


def _readers(store: Store, found: Trace, level: list[int], limit: int | None) -> set[int]:
    """Notes who read the artifacts of `level`; returns the newest that did something with them."""
    by_artifact = collections.defaultdict(set)
    for event in store.events_of_artifacts(level):
        if event.kind == "input" and not REFERENCE_KEYS.issuperset(event.keys):
            by_artifact[event.artifact].add(event.execution)
    executions = store.executions(set().union(*by_artifact.values()))
    followed: set[int] = set()
    for artifact, ids in by_artifact.items():
        by_type = collections.defaultdict(list)
        for i in sorted(ids, reverse=True):
            if executions[i].state != "CACHED":
                by_type[executions[i].type].append(i)
        followed.update(i for order in by_type.values() for i in order[:limit])
        found.omitted[artifact] = sum(len(order[limit:]) for order in by_type.values() if limit)
    return followed


def _add_executions(store: Store, found: Trace, ids: set[int]) -> None:
    found.executions.update(store.executions(ids))
    for execution in ids:
        found.inputs[execution], found.outputs[execution] = {}, {}
    for event in store.events_of_executions(sorted(ids)):
        slots = found.inputs if event.kind == "input" else found.outputs
        for key in event.keys or ("",):
            slots[event.execution].setdefault(key, []).append(event.artifact)
        if event.kind == "input":
            found.consumers.setdefault(event.artifact, []).append(event.execution)
        elif found.direction == "down":
            found.producers.setdefault(event.artifact, event.execution)
