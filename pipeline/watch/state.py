"""What there is to see of a workspace's newest run and training, as one JSON document."""

import json
import math
import os
import pathlib
import time

import ml_metadata as mlmd

from common.workspace import Workspace
from lineage.store import Execution, StoreError, open_store

HISTORY_FILE = "history.jsonl"  # of the Trainer, beside its checkpoints (trainer/summaries.py)
TRAINER = "Trainer"


class Nodes:
    """The nodes of the newest run; ML Metadata is read again only where it has changed."""

    def __init__(self, workspace: Workspace):
        self._workspace = workspace
        self._seen: tuple[int, int] | None = None
        self._known: dict = {"run": None, "nodes": [], "steps": None, "batch_size": None}

    def read(self) -> dict:
        """`run` (its name or None), `nodes`, and the Trainer's `steps` and `batch_size`.

        While another process writes it may be what was known a moment ago.
        """
        path = self._workspace.metadata
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._known, self._seen = self._read(path), seen
        except (OSError, StoreError, mlmd.errors.StatusError):
            pass
        return self._known

    @staticmethod
    def _read(path: pathlib.Path) -> dict:
        store = open_store(path)
        runs = store.runs()
        if not runs:
            return {"run": None, "nodes": [], "steps": None, "batch_size": None}
        executions = store.executions_of_run(runs[0])
        places = store.places_of([execution.id for execution in executions])
        nodes, settings = [], {}
        for execution in executions:
            name = places[execution.id][0]
            nodes.append({"name": name, **_facts(execution)})
            if name == TRAINER:
                settings = _training_settings(execution)
        return {
            "run": runs[0].name,
            "nodes": nodes,
            "steps": settings.get("steps"),
            "batch_size": settings.get("batch_size"),
        }


def describe(workspace: Workspace, nodes: Nodes) -> dict:
    """Everything that the page shows.

    Returns:
      `workspace`; `alive`, whether a run holds it now; `time` in s; `run`, `nodes` ([{"name",
      "state", "started" in ms, "seconds", "error"}]) of the newest run; `training`: None, or
      {"step", "steps", "images_per_second", "seconds_left", "written" in s, "history": one record
      an interval, "samples": steps of which there are images}. What is not known is None.
    """
    known = nodes.read()
    return {
        "workspace": str(workspace.root),
        "alive": workspace.is_locked(),
        "time": time.time(),
        "run": known["run"],
        "nodes": known["nodes"],
        "training": _training(workspace, known),
    }


def newest_training(workspace: Workspace) -> pathlib.Path | None:
    """The folder of the training that wrote last; None where none has written."""
    written = {}
    for path in workspace.checkpoints.glob(f"*/{HISTORY_FILE}"):
        try:
            written[path.parent] = os.stat(path).st_mtime
        except OSError:  # it was removed a moment ago
            continue
    return max(written, key=lambda folder: written[folder], default=None)


def sample_path(training: pathlib.Path, step: int) -> pathlib.Path:
    """Where the samples of a step are, if there are any."""
    return training / "samples" / f"step_{step:07d}.png"


def _training(workspace: Workspace, known: dict) -> dict | None:
    folder = newest_training(workspace)
    if folder is None:
        return None
    try:
        lines = (folder / HISTORY_FILE).read_text().splitlines()
        written = (folder / HISTORY_FILE).stat().st_mtime
        history = [_finite(json.loads(line)) for line in lines]
    except (OSError, ValueError):
        return None
    if not history:
        return None
    found = folder.glob("samples/step_*.png")
    samples = sorted(int(path.stem.removeprefix("step_")) for path in found)
    step, steps, batch = history[-1]["step"], known["steps"], known["batch_size"]
    rates = [record["images_per_second"] for record in history if record.get("images_per_second")]
    rate = rates[-1] if rates else None
    left = None
    if rate and steps and batch:
        left = max(0, steps - step) * batch / rate
    return {
        "step": step,
        "steps": steps,
        "images_per_second": rate,
        "seconds_left": left,
        "written": written,
        "history": history,
        "samples": samples,
    }


def _facts(execution: Execution) -> dict:
    return {
        "state": execution.state,
        "started": execution.created,
        "seconds": execution.seconds,
        "error": execution.error,
    }


def _training_settings(execution: Execution) -> dict:
    """What the Trainer was told of steps and batches; {} where it can't be read."""
    custom = execution.parameters.get("custom_config")
    try:
        training = custom["training"] if isinstance(custom, dict) else None
        found = json.loads(training) if isinstance(training, str) else training
    except (KeyError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _finite(record: dict) -> dict:
    """Without NaN and infinity, which JSON of browsers has not."""
    return {
        key: value if not isinstance(value, float) or math.isfinite(value) else None
        for key, value in record.items()
    }
