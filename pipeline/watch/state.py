"""What there is to see of a workspace's newest run and training, as one JSON document."""

import math
import pathlib
import time

import ml_metadata as mlmd

from common.text import parse_json
from common.workspace import Workspace
from lineage.store import Execution, StoreError, open_store
from trainer.hold import Hold

# Of the Trainer, beside its checkpoints (trainer/summaries.py).
HISTORY_FILE = "history.jsonl"
RECORDS = {  # of single steps: what a folder holds
    "samples": {"png": "image/png"},
    "opinions": {"png": "image/png", "json": "application/json"},
}
TRAINER = "Trainer"
_NOTHING: dict = {"run": None, "nodes": [], "training": {}}


class Nodes:
    """The nodes of the newest run; ML Metadata is read again only where it has changed."""

    def __init__(self, workspace: Workspace):
        self._workspace = workspace
        self._seen: tuple[int, int] | None = None
        self._known = _NOTHING

    def read(self) -> dict:
        """`run` (its name or None), `nodes`, and `training`, the Trainer's settings.

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
            return _NOTHING
        executions = store.executions_of_run(runs[0])
        places = store.places_of([execution.id for execution in executions])
        nodes, settings = [], {}
        for execution in executions:
            name = places[execution.id][0]
            nodes.append({"name": name, **_facts(execution)})
            if name == TRAINER:
                settings = _training_settings(execution)
        return {"run": runs[0].name, "nodes": nodes, "training": settings}


def describe(workspace: Workspace, nodes: Nodes) -> dict:
    """Everything that the page shows.

    Returns:
      `workspace`; `alive`, whether a run holds it now; `time` in s; `run`, `nodes` ([{"name",
      "state", "started" in ms, "seconds", "error"}]) of the newest run; `training`: None, or
      {"step", "steps", "images_per_second", "seconds_left", "written" in s, "history": one record
      an interval, "samples" and "opinions": steps of which there are such, "teaching": whether it
      takes orders, "hold": the step to wait at}. What is not known is None.
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
    """The folder of the training that began or wrote last; None where there is none."""
    changed = {}
    for path in workspace.checkpoints.glob("*/"):
        try:
            changed[path] = path.stat().st_mtime
        except OSError:  # it was removed a moment ago
            continue
    return max(changed, key=lambda folder: changed[folder], default=None)


def record_path(training: pathlib.Path, kind: str, step: int, ending: str) -> pathlib.Path:
    """Where the record of a step is, if there is any; `kind` and `ending` as in RECORDS."""
    return training / kind / f"step_{step:07d}.{ending}"


def _training(workspace: Workspace, known: dict) -> dict | None:
    folder = newest_training(workspace)
    if folder is None:
        return None
    path, lines = folder / HISTORY_FILE, []
    try:
        written = folder.stat().st_mtime
        if path.exists():
            lines = path.read_text().splitlines()
        history = [_finite(parse_json(line)) for line in lines]
    except (OSError, ValueError):
        return None
    found = {kind: _steps(folder / kind) for kind in RECORDS}
    if not history and not found["samples"]:
        return None
    step = max([record["step"] for record in history] + found["samples"])
    steps, batch = (known["training"].get(name) for name in ("steps", "batch_size"))
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
        **found,
        "teaching": known["training"].get("teaching", False),
        "hold": Hold(folder).step,
    }


def _steps(folder: pathlib.Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step_")) for path in folder.glob("step_*.png"))


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
        found = parse_json(training) if isinstance(training, str) else training
    except (KeyError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _finite(record: dict) -> dict:
    """Without NaN and infinity, which JSON of browsers has not."""
    return {
        key: value if not isinstance(value, float) or math.isfinite(value) else None
        for key, value in record.items()
    }
