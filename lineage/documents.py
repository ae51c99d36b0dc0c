"""What the lineage commands answer, as the documents of `--json`; README.md describes them.

The texts and drawings of `render.py` and the report are made from these documents alone.
"""

import collections
import contextlib
import datetime
import itertools
import json
import math
import pathlib
from collections.abc import Iterable, Iterator

from common.text import parse_json
from common.workspace import Workspace, moved_path
from lineage import graph
from lineage.graph import Trace
from lineage.store import Artifact, Execution, Run, Store
from serving import versions

SCHEMA = "mnist-gan.lineage/1"

_SOURCE_KEYS = ("source_hash", "module_path")
# What TFX notes on everything and nobody asks for.
_NOISE = frozenset({"is_external", "tfx_version", "stats_dashboard_link", "name", "state"})
_OF_TRIAL = ("trial_id", "score", "model")  # in a trial's row, beside its settings
_NEWEST_REUSES = 5
_RUNS_AT_ONCE = 200


class NotFoundError(LookupError):
    """Nothing in the store answers to a name; the message says what was looked for."""


def document(command: str, **content) -> dict:
    """The frame that all documents share."""
    return {"schema": SCHEMA, "command": command, **content}


# Runs


def runs(
    store: Store,
    *,
    alive: bool | None = None,
    blessed: bool | None = None,
    state: str | None = None,
    since: datetime.datetime | None = None,
    limit: int | None = None,
) -> dict:
    """Pipeline runs, newest first; at most `limit` of them.

    Args:
      store: an open store.
      alive: whether a run is going on now; None where that can't be known.
      blessed: only runs whose model was blessed (True) or was not (False).
      state, since: only runs in this state; only runs that began then or later.
    """
    candidates = store.runs()
    newest = candidates[0].id if candidates else None
    if since is not None:
        candidates = [run for run in candidates if run.created >= since.timestamp() * 1000]
    if blessed is None and state is None:
        candidates = candidates[:limit]
    rows = (
        row
        for row in _run_rows(store, candidates, alive, newest)
        if blessed in (None, row["blessed"]) and (state or row["state"]).upper() == row["state"]
    )
    return document("runs", runs=list(itertools.islice(rows, limit)))


def _run_rows(
    store: Store, runs: list[Run], alive: bool | None, newest: int | None
) -> Iterator[dict]:
    for start in range(0, len(runs), _RUNS_AT_ONCE):
        some = runs[start : start + _RUNS_AT_ONCE]
        executions = {run.id: store.executions_of_run(run) for run in some}
        outputs = _outputs(store, [e for group in executions.values() for e in group])
        for run in some:
            made = [a for e in executions[run.id] for a in outputs[e.id]]
            # Only the newest run can be the one that goes on.
            going_on = None if alive is None else alive and run.id == newest
            yield _run_row(run, executions[run.id], made, going_on)


def _outputs(store: Store, executions: list[Execution]) -> dict[int, list[Artifact]]:
    """The artifacts that each of these executions put out, by its id."""
    events = store.events_of_executions([execution.id for execution in executions])
    artifacts = store.artifacts({e.artifact for e in events if e.kind == "output"})
    found = collections.defaultdict(list)
    for event in events:
        if event.kind == "output" and event.artifact in artifacts:
            found[event.execution].append(artifacts[event.artifact])
    return found


def _run_row(
    run: Run, executions: list[Execution], made: list[Artifact], alive: bool | None
) -> dict:
    facts = run.properties
    data = [a.properties.get("dataset") for a in made if a.type == "Examples"]
    span = None
    if executions:
        begun = min(execution.created for execution in executions)
        span = (max(execution.updated for execution in executions) - begun) / 1000
    return {
        "run": run.name,
        "started": iso(run.created),
        "state": _run_state(facts.get("state"), executions, alive),
        "seconds": facts.get("seconds", span),
        "preset": facts.get("preset"),
        "dataset": facts.get("dataset", data[0] if data else None),
        "dataset_note": facts.get("dataset_note") or None,
        "nodes": dict(collections.Counter(e.state for e in executions)),
        "error": next((e.error for e in executions if e.error), None),
        **_verdict(made),
    }


_BLESSED = ("blessed", "blessing_reason", "infra_blessed", "infra_blessing_reason")


def _verdict(made: list[Artifact]) -> dict:
    """What the judge and the Pusher said, from the artifacts that a run made."""
    found: dict = {"metrics": {}, **dict.fromkeys((*_BLESSED, "pushed_version"))}
    for artifact in made:
        facts = artifact.properties
        if artifact.type == "ModelEvaluation":
            found["metrics"] |= numbers(facts)
        elif artifact.type in ("ModelBlessing", "InfraBlessing") and "blessed" in facts:
            prefix = "infra_" if artifact.type == "InfraBlessing" else ""
            found[f"{prefix}blessed"] = facts["blessed"] == 1
            found[f"{prefix}blessing_reason"] = facts.get("reason")
        elif artifact.type == "PushedModel":
            found["pushed_version"] = artifact.pushed_version
    return found


def status(store: Store, workspace: Workspace, run: Run) -> dict:
    """What one run did, as `run --json` and `status --json` print it.

    The workspace tells whether a run that claims to go on still does.

    Returns:
      `run_id`, `dataset`, `dataset_note`, `preset`, `state` (COMPLETE, FAILED, RUNNING, or WAITING
      between two nodes that are run one by one), `stopped` (whether somebody stopped it),
      `seconds`, `nodes` (each `id`, `state` among COMPLETE, CACHED, RUNNING, FAILED, NOT_RUN,
      `seconds`, `error`), `metrics`, `blessed`,
      `blessing_reason`, `infra_blessed`, `infra_blessing_reason` (whether a server can serve it),
      `pushed_version`, `pushed_path`, `push_reason`, `samples` (an image of what the generator
      draws), `rolled_back` (whether that version was taken out of service since then), `search`
      (what `mnist-gan tune` found, as `search` gives it). What a run did not come to is None.
      Lookups are left out: they only look up what is there.
    """
    facts = run.properties
    holder = workspace.holder()
    alive = holder == run.name or (facts.get("state") == "RUNNING" and facts.get("pid") == holder)
    executions = store.executions_of_run(run)
    by_node = {store.place_of(execution.id)[0]: execution for execution in executions}
    outputs = _outputs(store, executions)
    made = [artifact for execution in executions for artifact in outputs[execution.id]]
    row = _run_row(run, executions, made, alive)
    push = next((a.properties for a in reversed(made) if a.type == "PushedModel"), {})
    path = None
    if row["pushed_version"] is not None:
        path = pathlib.Path(push["pushed_destination"])
        path = moved_path(path, workspace.root) or path
    return {
        "run_id": run.name,
        **{key: row[key] for key in ("dataset", "dataset_note", "preset", "state")},
        "stopped": facts.get("stopped") == "yes",
        "seconds": facts.get("seconds"),
        "nodes": [_node_status(n, by_node.get(n), alive) for n in facts.get("nodes") or by_node],
        "metrics": row["metrics"] or None,
        **{key: row[key] for key in (*_BLESSED, "pushed_version")},
        "pushed_path": path and str(path),
        "push_reason": push.get("reason"),
        "samples": _samples(store, made),
        "rolled_back": path and versions.rolled_back_path(path).is_dir(),
        "search": search(store, made),
    }


def search(store: Store, artifacts: Iterable[Artifact]) -> dict | None:
    """The newest search for settings among artifacts; None where there is none to be read.

    Returns:
      `model` and `trials`: the best first, each `settings` (by name), `number` of the settings,
      `round`, `steps`, `fid` (None where a loss was not finite) and `cpu_seconds`.
    """
    results = [artifact for artifact in artifacts if artifact.type == "TunerResults"]
    folder = store.path_of(results[-1].uri) if results else None
    try:
        rows = parse_json((folder / "tuner_results.json").read_text()) if folder else []
        trials = [
            {
                "settings": {k: v for k, v in row.items() if "/" not in k and k not in _OF_TRIAL},
                **{key: row[f"tuner/{key}"] for key in ("number", "round", "steps")},
                "fid": row["score"] if math.isfinite(row["score"]) else None,
                "cpu_seconds": round(row["tuner/cpu_seconds"], 2),
            }
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"model": rows[0]["model"], "trials": trials} if trials else None


def _samples(store: Store, made: list[Artifact]) -> str | None:
    """The judge's sheet of samples, where it is still there."""
    for artifact in made:
        folder = store.path_of(artifact.uri) if artifact.type == "ModelEvaluation" else None
        if folder is not None and (folder / "samples.png").is_file():
            return str(folder / "samples.png")
    return None


def _node_status(node: str, execution: Execution | None, alive: bool) -> dict:
    if execution is None:
        return {"id": node, "state": "NOT_RUN", "seconds": None, "error": None}
    seconds = None if execution.seconds is None else round(execution.seconds, 2)
    state, error = execution.state, execution.error
    if state == "RUNNING" and not alive:
        state, error = "FAILED", error or "the run was killed before this node ended"
    return {"id": node, "state": state, "seconds": seconds, "error": error}


def _run_state(noted: str | None, executions: list[Execution], alive: bool | None) -> str:
    states = {execution.state for execution in executions}
    if "FAILED" in states or noted == "FAILED":
        return "FAILED"
    if "RUNNING" in states or noted == "RUNNING" or (noted == "WAITING" and alive):
        return "FAILED" if alive is False else "RUNNING"
    return noted or "COMPLETE"


def numbers(facts: dict) -> dict[str, float]:
    """The measurements among an artifact's properties."""
    return {
        key: value
        for key, value in facts.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in _NOISE
    }


# Names


def find_version(store: Store, version: str | int) -> Artifact:
    """The PushedModel that made a version; "latest" is the highest that was ever pushed.

    Raises:
      NotFoundError: there is none.
    """
    pushed = [a for a in store.artifacts_of_type("PushedModel") if a.pushed_version is not None]
    if str(version) == "latest":
        if not pushed:
            raise NotFoundError("no model was pushed yet")
        version = max(artifact.pushed_version or 0 for artifact in pushed)
    found = [artifact for artifact in pushed if str(artifact.pushed_version) == str(version)]
    if not found:
        versions = ", ".join(str(a.pushed_version) for a in pushed[-5:]) or "none"
        raise NotFoundError(f"no version {version} was pushed (newest: {versions})")
    # A later run that found its model pushed already names the same version: it made nothing.
    return min(found, key=lambda a: (a.properties.get("new") == 0, a.id))


def find_run(store: Store, name: str) -> Run:
    """The run of this name, of the only name that begins so, or the newest ("latest").

    Raises:
      NotFoundError: there is none, or several begin so.
    """
    if exact := store.run_named(name):
        return exact
    candidates = store.runs()
    if name == "latest" and candidates:
        return candidates[0]
    found = [run for run in candidates if run.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} runs begin with {name!r}" if found else f"there is no run {name!r}"
    raise NotFoundError(several)


def find(store: Store, name: str) -> list[Artifact | Execution | Run]:
    """Everything that a name may mean; NotFoundError where that is nothing.

    It is `artifact:ID`, `execution:ID`, `version:N`, `run:NAME` (or the start of it), `latest` (the
    newest version), or any of these without its prefix.
    """
    kind, colon, rest = name.partition(":")
    if colon and kind in ("artifact", "execution", "version", "run"):
        return [_find_one(store, kind, rest)]
    if name == "latest":
        return [find_version(store, "latest")]
    found: list[Artifact | Execution | Run] = []
    for kind in ("version", "artifact", "execution") if name.isdecimal() else ("run",):
        with contextlib.suppress(NotFoundError):
            found.append(_find_one(store, kind, name))
            if kind == "version":
                return found
    if not found:
        raise NotFoundError(f"nothing is called {name!r}: no version, artifact, execution or run")
    return found


def _find_one(store: Store, kind: str, name: str) -> Artifact | Execution | Run:
    if kind == "version":
        return find_version(store, name)
    if kind == "run":
        return find_run(store, name)
    if name.isdecimal() and int(name) < 2**63:  # as ML Metadata counts
        call = store.artifacts if kind == "artifact" else store.executions
        for found in call([int(name)]).values():
            return found
    raise NotFoundError(f"there is no {kind} {name}")


# Artifacts and executions


def iso(milliseconds: int) -> str:
    """A time in ML Metadata as ISO 8601 in UTC."""
    when = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


def artifact_document(artifact: Artifact) -> dict:
    """One artifact, on its own."""
    return {
        "id": artifact.id,
        "type": artifact.type,
        "summary": artifact.summary,
        "uri": artifact.uri,
        "state": artifact.state,
        "created": iso(artifact.created),
        "properties": artifact.properties,
    }


def execution_document(store: Store, execution: Execution) -> dict:
    """One execution, on its own."""
    node, run = store.place_of(execution.id)
    return {
        "id": execution.id,
        "node": node,
        "run": run,
        "type": execution.type,
        "state": execution.state,
        "started": iso(execution.created),
        "seconds": execution.seconds,
        "error": execution.error,
        "parameters": execution.parameters,
    }


def show(store: Store, name: str, alive: bool | None = None) -> dict:
    """Everything about whatever is called `name`.

    Raises:
      NotFoundError: nothing is.
    """
    matches = []
    for found in find(store, name):
        if isinstance(found, Artifact):
            matches.append({"kind": "artifact", **_artifact_and_neighbours(store, found)})
        elif isinstance(found, Execution):
            channels = _channels(store, [found.id])[found.id]
            matches.append({"kind": "execution", **execution_document(store, found), **channels})
        else:
            matches.append({"kind": "run", **run_document(store, found, alive)})
    return document("show", name=name, matches=matches)


def run_row(store: Store, run: Run, alive: bool | None = None) -> dict:
    """One run, as a row of `runs`."""
    [row] = _run_rows(store, [run], alive, store.runs()[0].id)
    return row


def run_document(store: Store, run: Run, alive: bool | None = None) -> dict:
    """One run with its settings and executions."""
    row = run_row(store, run, alive)
    executions = store.executions_of_run(run)
    channels = _channels(store, [execution.id for execution in executions])
    known = ("state", "seconds", "preset", "dataset", "dataset_note", "nodes")
    return {
        **row,
        "facts": {key: value for key, value in run.properties.items() if key not in known},
        "executions": [
            execution_document(store, execution) | channels[execution.id]
            for execution in executions
        ],
    }


def _artifact_and_neighbours(store: Store, artifact: Artifact) -> dict:
    up = graph.trace(store, [artifact.id])
    producer = up.producers.get(artifact.id)
    readers = {
        event.execution
        for event in store.events_of_artifacts([artifact.id])
        if event.kind == "input"
    }
    executions = store.executions(readers)
    used_by = [i for i, execution in executions.items() if execution.state != "CACHED"]
    return {
        **artifact_document(artifact),
        "producer": producer and execution_document(store, up.executions[producer]),
        "reused": _reuse(store, up.reused.get(artifact.id, [])),
        "used_by": [_short(store, i) for i in used_by],
    }


def _short(store: Store, execution: int) -> dict:
    node, run = store.place_of(execution)
    return {"id": execution, "node": node, "run": run}


def _reuse(store: Store, executions: list[int]) -> dict:
    newest = executions[:_NEWEST_REUSES]
    return {"count": len(executions), "newest": [_short(store, i) for i in newest]}


def _channels(store: Store, ids: list[int]) -> dict[int, dict]:
    channels: dict[int, dict] = {i: {"inputs": {}, "outputs": {}} for i in ids}
    for event in store.events_of_executions(ids):
        for key in event.keys or ("",):
            slot = channels[event.execution][f"{event.kind}s"]
            slot.setdefault(key, []).append(event.artifact)
    return channels


# Trace


def trace(store: Store, roots: list[int], direction: str = "up", limit: int | None = None) -> dict:
    """The lineage of artifacts: `graph.trace` as a document, with the origin in short."""
    found = graph.trace(store, roots, direction, limit=limit)
    executions = sorted(found.inputs)
    store.places_of(executions)  # in one go
    return document(
        "trace",
        direction=direction,
        roots=roots,
        origin=_origin(store, found) if direction == "up" else None,
        artifacts=[
            artifact_document(artifact)
            | {
                "on_path": artifact.id in found.on_path,
                "producer": found.producers.get(artifact.id),
                "consumers": sorted(found.consumers.get(artifact.id, [])),
                "consumers_omitted": found.omitted.get(artifact.id, 0),
                "reused": _reuse(store, found.reused.get(artifact.id, [])),
            }
            for artifact in found.artifacts.values()
        ],
        executions=[
            execution_document(store, found.executions[i])
            | {
                "inputs": found.inputs[i],
                "outputs": found.outputs[i],
                "references": sorted(set(found.read(i, references=True)) - set(found.read(i))),
            }
            for i in executions
        ],
    )


def _origin(store: Store, found: Trace) -> dict:
    """Data, settings, seed, source, versions, verdict: what a person asks of a model."""
    executions = _by_node(store, [found.executions[i] for i in found.inputs])
    names = {name for _, name in store.places_of(found.inputs).values() if name}
    runs_of = sorted((find_run(store, name) for name in names), key=lambda run: run.id)
    made = {i for e in found.inputs for i in found.made(e)}
    facts = _facts(executions, [found.artifacts[i] for i in sorted(made) if i in found.artifacts])
    # The run that made the last of it tells the settings, and the versions where the nodes do not.
    noted = runs_of[-1].properties if runs_of else {}
    own = any(execution.versions for execution in executions.values())
    versions = facts["versions"] if own else _noted(noted, "versions") or facts["versions"]
    facts["config"] = _untold(facts["config"], facts["data"], versions)
    return {
        "data": facts["data"],
        "seed": next(
            (value for key, value in facts["config"].items() if key.rpartition(".")[2] == "seed"),
            _noted(noted, "settings").get("seed"),
        ),
        "preset": noted.get("preset"),
        "dataset_note": noted.get("dataset_note") or None,
        "config": facts["config"],
        "source": facts["source"],
        "versions": versions,
        "metrics": facts["metrics"],
        "verdict": facts["verdict"],
        "runs": [{"run": run.name, "started": iso(run.created)} for run in runs_of],
    }


def _noted(facts: dict, key: str) -> dict:
    """A document among the facts that a run noted about itself; {} where it is none."""
    found = facts.get(key)
    return found if isinstance(found, dict) else {}


def _by_node(store: Store, executions: Iterable[Execution]) -> dict[str, Execution]:
    """Executions by node; a node that ran twice on the way (a warm start) is numbered."""
    named: dict[str, Execution] = {}
    times: collections.Counter[str] = collections.Counter()
    for execution in sorted(executions, key=lambda e: e.id, reverse=True):
        node = store.place_of(execution.id)[0]
        times[node] += 1
        named[node if times[node] == 1 else f"{node} ({times[node]})"] = execution
    return dict(sorted(named.items(), key=lambda item: item[1].id))


def _facts(executions: dict[str, Execution], made: list[Artifact]) -> dict[str, dict]:
    """What describes a result, sorted by what it is about."""
    sections = ("data", "config", "source", "versions", "metrics", "verdict")
    facts: dict[str, dict] = {name: {} for name in sections}
    for node, execution in executions.items():
        for key, value in flatten(execution.parameters, node).items():
            if value in (None, "", "null", {}, []):
                continue
            kind = "source" if key.rpartition(".")[2] in _SOURCE_KEYS else "config"
            facts[kind][key] = value
    for artifact in made:  # later ones win
        properties = {
            key: value
            for key, value in artifact.properties.items()
            if key not in _NOISE and not key.startswith("content_")
        }
        if artifact.type == "Examples" and ("dataset" in properties or not facts["data"]):
            facts["data"] = flatten(properties)
        elif artifact.type == "ModelEvaluation":
            facts["metrics"] |= numbers(properties)
        elif artifact.type == "ModelBlessing":
            facts["verdict"] |= properties
        if version := artifact.properties.get("tfx_version"):
            facts["versions"]["tfx"] = version
    used: dict[str, set[str]] = collections.defaultdict(set)
    for execution in executions.values():
        for package, version in execution.versions.items():
            used[package].add(version)
    # Nodes that ran at different times may have run on different versions.
    facts["versions"] |= {name: ", ".join(sorted(found)) for name, found in sorted(used.items())}
    facts["verdict"] = _untold(facts["verdict"], facts["metrics"])
    return facts


def _untold(facts: dict, *told: dict) -> dict:
    """Those of `facts` that `told` does not hold already, under the same last names."""
    known = [(f".{key}", json.dumps(value)) for one in told for key, value in one.items()]

    def is_new(key: str, value: object) -> bool:
        text = json.dumps(value)
        return not any(text == other and f".{key}".endswith(name) for name, other in known)

    return {key: value for key, value in facts.items() if is_new(key, value)}


def flatten(value: object, prefix: str = "") -> dict[str, object]:
    """Nested dictionaries as one level, keys joined by dots; lists stay whole."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, object] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


# Diff


def diff(store: Store, name_a: str, name_b: str) -> dict:
    """What differs between two runs, models or versions; executions stand for what they made.

    Raises:
      NotFoundError: nothing answers to one of the names, which are as `find` takes them.
    """
    sides = [_described(store, find(store, name)[0]) for name in (name_a, name_b)]
    both = sides[0]["nodes"].keys() & sides[1]["nodes"].keys()
    for side in sides:
        # What a node was told says nothing where the other side did not come to that node.
        alone = tuple(f"{node}." for node in side["nodes"].keys() - both)
        for section in ("config", "source", "artifacts"):
            side[section] = {k: v for k, v in side[section].items() if not k.startswith(alone)}
    sections = {}
    for section in sides[0]:
        a, b = (side[section] for side in sides)
        keys = dict.fromkeys([*a, *b])
        sections[section] = {
            "same": sum(_same(a, b, key) for key in keys),
            "different": [
                {"name": key, "a": a.get(key), "b": b.get(key)}
                for key in keys
                if not _same(a, b, key)
            ],
        }
    return document("diff", a=name_a, b=name_b, sections=sections)


def _same(a: dict, b: dict, key: str) -> bool:
    return key in a and key in b and json.dumps(a[key]) == json.dumps(b[key])


def _true_producers(store: Store, executions: list[Execution]) -> list[Execution]:
    """For what came from the cache the executions that made it: they know more about it."""
    spared = [execution for execution in executions if execution.state == "CACHED"]
    outputs = {a.id for made in _outputs(store, spared).values() for a in made}
    makers = graph.trace(store, sorted(outputs), depth=1).executions.values()
    return [e for e in executions if e.state != "CACHED"] + list(makers)


def _described(store: Store, what: Artifact | Execution | Run) -> dict[str, dict]:
    """The facts about a run, or about what made an artifact; `nodes` are states by node."""
    if isinstance(what, Run):
        noted = what.properties
        own = store.executions_of_run(what)
        executions = _true_producers(store, own)
    else:
        artifacts = [what] if isinstance(what, Artifact) else _outputs(store, [what])[what.id]
        found = graph.trace(store, [artifact.id for artifact in artifacts])
        own = executions = [found.executions[i] for i in found.inputs]
        newest = max(executions, key=lambda e: e.id, default=None)
        run = newest and store.place_of(newest.id)[1]
        noted = find_run(store, run).properties if run else {}
    nodes = {node: e.state for node, e in _by_node(store, own).items()}
    by_node = _by_node(store, executions)
    channels = _channels(store, [execution.id for execution in executions])
    outputs = {
        f"{node}.{key}": ids
        for node, execution in by_node.items()
        for key, ids in channels[execution.id]["outputs"].items()
    }
    made = store.artifacts({i for ids in outputs.values() for i in ids})
    facts = _facts(by_node, list(made.values()))
    facts["versions"] |= _noted(noted, "versions")
    # What a run noted about itself covers nodes that it did not come to; what these then were
    # told repeats it.
    settings, data = flatten(_noted(noted, "settings")), flatten(_noted(noted, "data"))
    facts["data"] |= _untold(data, facts["data"])
    facts["config"] = settings | _untold(
        facts["config"], settings, facts["data"], facts["versions"]
    )
    return {"nodes": nodes, **facts, "artifacts": outputs}
