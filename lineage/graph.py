"""ML Metadata as plain Python: runs, executions, artifacts, and what connects them.

Reads any store that TFX wrote, through ML Metadata's own client, in bulk calls that both its 1.16
and its 1.21 know (1.21 has no filter queries). Read-only; imports neither TFX nor TensorFlow.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import sqlite3
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import ml_metadata as mlmd
from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as pb

from common.workspace import moved_path

RUN_CONTEXT = "pipeline_run"
NODE_CONTEXT = "node"
ABANDONED_PROPERTY = "abandoned"  # custom property of an artifact that a run did not take: why
VERSIONS_PROPERTY = "library_versions"  # custom property of an execution: JSON, by package
ERROR_PROPERTY = "error"  # custom property of a FAILED execution: what went wrong, in words

_STATES = {
    pb.Execution.COMPLETE: "COMPLETE",
    pb.Execution.CACHED: "CACHED",
    pb.Execution.RUNNING: "RUNNING",
    pb.Execution.NEW: "RUNNING",
    pb.Execution.CANCELED: "CANCELED",
}
# Resolvers connect by INTERNAL_ events, which are left out: they look up and make nothing.
_KINDS = {
    pb.Event.INPUT: "input",
    pb.Event.DECLARED_INPUT: "input",
    pb.Event.OUTPUT: "output",
    pb.Event.DECLARED_OUTPUT: "output",
}

_MANY = 300
_SERVER_SECONDS = 30.0  # in which an ML Metadata server must answer a call


class StoreError(ValueError):
    """The metadata can't be read; the message says what is wrong with it."""


class _Node:
    """Wraps what ML Metadata answered; properties are parsed when somebody asks for them."""

    def __init__(self, record: pb.Artifact | pb.Execution | pb.Context):
        self._record = record
        self.id: int = record.id
        self.type: str = record.type

    @functools.cached_property
    def properties(self) -> dict:
        """Properties and custom properties; JSON objects and lists are parsed."""
        return facts_of(self._record.properties) | facts_of(self._record.custom_properties)


class Artifact(_Node):
    """Something that was made.

    Attributes:
      id: in ML Metadata.
      type: "Model", "Examples" and so on.
      uri: where its files lie.
      state: "LIVE", "DELETED", "PENDING" and so on; "UNKNOWN" where none was recorded.
      created: milliseconds since the epoch.
    """

    def __init__(self, record: pb.Artifact):
        super().__init__(record)
        self.uri: str = record.uri
        self.state: str = pb.Artifact.State.Name(record.state)
        self.created: int = record.create_time_since_epoch

    @property
    def pushed_version(self) -> int | None:
        """The version under which this was pushed; None for whatever was not."""
        if self.type != "PushedModel" or self.properties.get("pushed") != 1:
            return None
        version = str(self.properties.get("pushed_version", ""))
        return int(version) if version.isdigit() else None

    @property
    def summary(self) -> str:
        """What people ask first about an artifact of this type; "" when there is nothing."""
        if self.type == "PushedModel":
            version = self.pushed_version
            return "not pushed" if version is None else f"version {version}"
        facts = self.properties
        if self.type in ("ModelBlessing", "InfraBlessing") and "blessed" in facts:
            return "blessed" if facts["blessed"] == 1 else "not blessed"
        if self.type == "ModelEvaluation" and isinstance(facts.get("fid"), int | float):
            return f"FID {facts['fid']:.4g}"
        if self.type == "Examples" and facts.get("dataset"):
            return f"{facts['dataset']} {facts.get('dataset_version', '')}".strip()
        return ""


class Execution(_Node):
    """One time that a node ran, or was spared by the cache.

    Attributes:
      id: in ML Metadata.
      type: the component's class, dotted.
      state: "COMPLETE", "CACHED", "RUNNING", "FAILED" or "CANCELED".
      started, updated: milliseconds since the epoch.
    """

    def __init__(self, record: pb.Execution):
        super().__init__(record)
        self.state: str = _STATES.get(record.last_known_state, "FAILED")
        self.started: int = record.create_time_since_epoch
        self.updated: int = record.last_update_time_since_epoch

    @property
    def is_resolver(self) -> bool:
        """Whether it only looked up what others had made."""
        return self.type.endswith(".resolver.Resolver")

    @property
    def error(self) -> str | None:
        """Why it failed, where that was kept."""
        error = self.properties.get(ERROR_PROPERTY)
        return None if error is None else str(error)

    @property
    def parameters(self) -> dict:
        """What the node was told: its execution properties."""
        notes = (ERROR_PROPERTY, VERSIONS_PROPERTY)
        return {key: value for key, value in self.properties.items() if key not in notes}

    @property
    def versions(self) -> dict[str, str]:
        """Of the libraries that it ran on, by package; {} where nobody noted them."""
        noted = self.properties.get(VERSIONS_PROPERTY)
        return noted if isinstance(noted, dict) else {}

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.state == "RUNNING" else (self.updated - self.started) / 1000


class Run(_Node):
    """One run of a pipeline: its name, its start in ms, what it noted about itself."""

    def __init__(self, record: pb.Context):
        super().__init__(record)
        self.name: str = record.name
        self.created: int = record.create_time_since_epoch


class Event(NamedTuple):
    """An execution read or wrote an artifact.

    Attributes:
      execution, artifact: their ids.
      kind: "input" or "output".
      keys: the channels' names; one artifact may enter by several.
    """

    execution: int
    artifact: int
    kind: str
    keys: tuple[str, ...]


class Store:
    """A store, open for reading. Answers are kept: a store is read at one moment.

    Args:
      client: the open ML Metadata store.
      home: the folder that holds the store's file, where it is one. Files are looked for here
        before they are looked for where they were written: a workspace may be moved or copied.
    """

    def __init__(self, client: mlmd.MetadataStore, home: pathlib.Path | None = None):
        self._client = client
        self.home = home
        self._artifacts: dict[int, Artifact] = {}
        self._executions: dict[int, Execution] = {}
        self._places: dict[int, tuple[str, str | None]] = {}

    def runs(self) -> list[Run]:
        """All pipeline runs, newest first: by id, since a clock may be set back."""
        runs = [Run(c) for c in self._of_type(self._client.get_contexts_by_type, RUN_CONTEXT)]
        return sorted(runs, key=lambda run: run.id, reverse=True)

    def run_named(self, name: str) -> Run | None:
        """The run of exactly this name."""
        try:
            context = self._client.get_context_by_type_and_name(RUN_CONTEXT, name)
        except mlmd.errors.NotFoundError:
            context = None
        return None if context is None else Run(context)

    def executions_of_run(self, run: Run) -> list[Execution]:
        """What `run` executed or took from the cache, in order; resolvers are left out."""
        found = [self._keep_execution(e) for e in self._client.get_executions_by_context(run.id)]
        return sorted((e for e in found if not e.is_resolver), key=lambda e: e.id)

    def executions(self, ids: Iterable[int]) -> dict[int, Execution]:
        """The executions of these ids; those that do not exist are left out."""
        wanted = set(ids)
        if missing := sorted(i for i in wanted if i not in self._executions):
            for execution in self._client.get_executions_by_id(missing):
                self._keep_execution(execution)
        return {i: self._executions[i] for i in sorted(wanted) if i in self._executions}

    @functools.cached_property
    def all_executions(self) -> dict[int, Execution]:
        """Every execution of the store, by id."""
        return {e.id: self._keep_execution(e) for e in self._client.get_executions()}

    def artifacts(self, ids: Iterable[int]) -> dict[int, Artifact]:
        """The artifacts of these ids; those that do not exist are left out."""
        wanted = set(ids)
        if missing := sorted(i for i in wanted if i not in self._artifacts):
            for artifact in self._client.get_artifacts_by_id(missing):
                self._keep_artifact(artifact)
        return {i: self._artifacts[i] for i in sorted(wanted) if i in self._artifacts}

    def artifacts_of_type(self, name: str) -> list[Artifact]:
        """All artifacts of one type, by id."""
        found = self._of_type(self._client.get_artifacts_by_type, name)
        return sorted((self._keep_artifact(a) for a in found), key=lambda a: a.id)

    @functools.cached_property
    def all_artifacts(self) -> dict[int, Artifact]:
        """Every artifact of the store, by id."""
        return {a.id: self._keep_artifact(a) for a in self._client.get_artifacts()}

    def events_of_executions(self, ids: Iterable[int]) -> list[Event]:
        """What these executions read and wrote."""
        ids = list(ids)
        return _events(self._client.get_events_by_execution_ids(ids) if ids else ())

    def events_of_artifacts(self, ids: Iterable[int]) -> list[Event]:
        """Which executions read and wrote these artifacts."""
        ids = list(ids)
        return _events(self._client.get_events_by_artifact_ids(ids) if ids else ())

    def places_of(self, executions: Iterable[int]) -> dict[int, tuple[str, str | None]]:
        """The node that each execution belongs to, and its run's name (None if it has none)."""
        missing = sorted({i for i in executions if i not in self._places})
        places: dict[int, dict[str, str]] = {i: {} for i in missing}
        if len(missing) > _MANY:
            # A call an execution would take longer than one for each node and each run.
            for kind in (NODE_CONTEXT, RUN_CONTEXT):
                for context in self._of_type(self._client.get_contexts_by_type, kind):
                    for execution in self._client.get_executions_by_context(context.id):
                        if execution.id in places:
                            places[execution.id][kind] = context.name
        else:
            for i in missing:
                for context in self._client.get_contexts_by_execution(i):
                    places[i][context.type] = context.name
        for i, execution in self.executions(missing).items():
            # TFX names the context of a node PIPELINE.NODE.
            node = places[i].get(NODE_CONTEXT, execution.type).rpartition(".")[2]
            self._places[i] = (node, places[i].get(RUN_CONTEXT))
        return {i: self._places[i] for i in executions}

    def place_of(self, execution: int) -> tuple[str, str | None]:
        """The same of one execution."""
        return self.places_of([execution])[execution]

    def path_of(self, uri: str) -> pathlib.Path | None:
        """Where the files of `uri` lie on this machine; None for what lies elsewhere.

        A workspace's files are those beside its store: of a copied workspace it is the copy that
        is meant. The path need not exist.
        """
        scheme, _, rest = uri.partition("://")
        if rest and scheme != "file":
            return None
        path = pathlib.Path(rest or uri)
        # Without a `pipeline_root` beside it the store is not a workspace's.
        if self.home is not None and (self.home / "pipeline_root").is_dir():
            return moved_path(path, self.home) or path
        return path

    @staticmethod
    def _of_type(call, name: str) -> Sequence:
        try:
            return call(name)
        except mlmd.errors.NotFoundError:  # a store that has not seen the type yet
            return ()

    def _keep_artifact(self, artifact: pb.Artifact) -> Artifact:
        return self._artifacts.setdefault(artifact.id, Artifact(artifact))

    def _keep_execution(self, execution: pb.Execution) -> Execution:
        return self._executions.setdefault(execution.id, Execution(execution))


def open_store(location: str | os.PathLike) -> Store:
    """Opens a store for reading.

    Args:
      location: an SQLite file, or a URI: sqlite:///FILE, mysql://USER:PASSWORD@HOST:PORT/DATABASE,
        or grpc://HOST:PORT of an ML Metadata server.

    Raises:
      FileNotFoundError: there is no such file.
      StoreError: it can't be reached, or is not ML Metadata.
    """
    uri = urllib.parse.urlsplit(os.fspath(location))
    try:
        _ = uri.port
    except ValueError:  # the rest of it may be a part of the password
        raise StoreError(
            f"the {uri.scheme} address of the store can't be read: in user and password write / as "
            "%2F, @ as %40 and : as %3A"
        ) from None
    # Messages are kept and passed on: they must not hold the password.
    name = uri.geturl().replace(f":{uri.password}@", ":***@") if uri.password else str(location)
    home, hint = None, ""
    if uri.scheme == "mysql":
        config = pb.ConnectionConfig()
        config.mysql.host = uri.hostname or "localhost"
        config.mysql.port = uri.port or 3306
        config.mysql.database = uri.path.strip("/")
        config.mysql.user = urllib.parse.unquote(uri.username or "")
        config.mysql.password = urllib.parse.unquote(uri.password or "")
        config.mysql.skip_db_creation = True
        hint = ". Does the server run, are user and password right, does it know the database?"
    elif uri.scheme == "grpc":
        config = pb.MetadataStoreClientConfig(host=uri.hostname, port=uri.port or 8080)
        config.client_timeout_sec = _SERVER_SECONDS
        # All artifacts of a large store come in one answer; gRPC's own limit is 4 MB.
        config.channel_arguments.max_receive_message_length = -1
    elif uri.scheme in ("", "file", "sqlite"):
        path = pathlib.Path(uri.path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no ML Metadata store at {path}")
        if not path.stat().st_size:
            raise StoreError(explain(path))
        roll_back_journal(path)
        home = path.resolve().parent
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(path)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    else:
        raise StoreError(f"{name}: give a file, or a URI that begins sqlite, mysql or grpc")
    try:
        return Store(mlmd.MetadataStore(config), home)
    except (mlmd.errors.StatusError, RuntimeError) as error:
        if home is not None:
            raise StoreError(explain(path, error)) from None
        raise StoreError(f"{name} can't be read as ML Metadata: {error}{hint}") from None


def explain(path: pathlib.Path, error: Exception | None = None) -> str:
    """Why the SQLite store at `path` can't be used, and what to do about it.

    Args:
      path: the file.
      error: what ML Metadata or SQLite said, if they were asked.
    """
    said = str(error or "").splitlines()
    text = " ".join(said)
    if not path.stat().st_size:
        return (
            f"{path} is empty: it holds no run. If there is a backup put it there; otherwise "
            "`mnist-gan run` begins a new one"
        )
    if "subset of tables" in text:
        return (
            f"{path} is there in part only, as a program was killed while it made it. Nothing was "
            "recorded in it: delete it"
        )
    # Of the C++ library, without a class of its own.
    if "Concurrent writes" in text or "locked" in text:
        holder = holder_of(path)
        who = f"process {holder}" if holder else "another program"
        return f"{path} is locked by {who}, which writes to it: wait for it, or end it"
    return (
        f"{path} can't be read as ML Metadata ({said[0] if said else 'unknown reason'}). "
        "If it is damaged put a backup there, or use another --workspace"
    )


def roll_back_journal(path: pathlib.Path) -> None:
    """Has SQLite undo what a killed program was writing to the store, where that is so.

    Raises:
      StoreError: the file may not be written here, or another program holds it.
    """
    journal = path.with_name(path.name + "-journal")
    if not (journal.is_file() and journal.stat().st_size):
        return
    address = f"file:{urllib.parse.quote(str(path))}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StoreError(explain(path, error)) from None
        raise StoreError(
            f"a program was killed while it wrote to {path}, and what it left undone can't be "
            f"undone here ({error}): run a command where the folder may be written"
        ) from None
    except sqlite3.DatabaseError as error:
        raise StoreError(explain(path, error)) from None


def holder_of(path: pathlib.Path) -> str | None:
    """The process that has locked `path`, as "1234 (python)"; None where that can't be told."""
    try:
        inode = path.stat().st_ino
        for line in pathlib.Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "WRITE" in fields and any(f.endswith(f":{inode}") for f in fields):
                process = fields[fields.index("WRITE") + 1]
                name = pathlib.Path("/proc", process, "comm").read_text().strip()
                return f"{process} ({name})"
    except (OSError, ValueError):
        pass
    return None


def facts_of(properties) -> dict:
    """A map of ML Metadata values as Python values, JSON objects and lists parsed."""
    return {key: _parsed(value_of(value)) for key, value in sorted(properties.items())}


def value_of(value: pb.Value):
    """The Python value of an ML Metadata value; TFX wraps what is no int or string in a struct."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "struct_value":
        content = json_format.MessageToDict(value.struct_value)
        return content.get("__value__", content)
    if kind == "proto_value":
        return json_format.MessageToDict(value.proto_value)
    return getattr(value, kind)


def _parsed(value):
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _parsed(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, dict):
        return {key: _parsed(item) for key, item in value.items()}
    return value


def _events(events: Iterable[pb.Event]) -> list[Event]:
    return [
        Event(
            event.execution_id,
            event.artifact_id,
            _KINDS[event.type],
            # Steps are keys and indices; no channel's key is empty.
            tuple(step.key for step in event.path.steps if step.key),
        )
        for event in events
        if event.type in _KINDS
    ]


# A model is compared with its baseline, it does not come from it.
REFERENCE_KEYS = frozenset({"baseline_model"})


@dataclasses.dataclass
class Trace:
    """A part of the lineage around some artifacts.

    Attributes:
      direction: "up" to where they come from, "down" to what came of them.
      roots: ids of the artifacts that it started from.
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
    roots: list[int]
    artifacts: dict[int, Artifact] = dataclasses.field(default_factory=dict)
    executions: dict[int, Execution] = dataclasses.field(default_factory=dict)
    inputs: dict[int, dict[str, list[int]]] = dataclasses.field(default_factory=dict)
    outputs: dict[int, dict[str, list[int]]] = dataclasses.field(default_factory=dict)
    producers: dict[int, int] = dataclasses.field(default_factory=dict)
    reused: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    consumers: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    omitted: dict[int, int] = dataclasses.field(default_factory=dict)
    on_path: set[int] = dataclasses.field(default_factory=set)

    def of_type(self, *names: str) -> list[Artifact]:
        """The artifacts of these types, newest first."""
        found = [a for a in self.artifacts.values() if a.type in names]
        return sorted(found, key=lambda artifact: artifact.id, reverse=True)

    def made(self, execution: int) -> list[int]:
        """Ids of the outputs of `execution`."""
        return [i for ids in self.outputs.get(execution, {}).values() for i in ids]

    def read(self, execution: int, *, references: bool = False) -> list[int]:
        """Ids of the inputs of `execution`, each once; with or without what it compared with."""
        found: dict[int, None] = {}
        for key, ids in self.inputs.get(execution, {}).items():
            if references or key not in REFERENCE_KEYS:
                found.update(dict.fromkeys(ids))
        return list(found)


def trace(
    store: Store,
    roots: Sequence[int],
    direction: str = "up",
    depth: int | None = None,
    limit: int | None = None,
) -> Trace:
    """Follows the lineage of artifacts.

    Of the executions that a store names as having put out an artifact, the one that really made
    it counts; those that took it from the cache are listed apart. Resolvers are left out.

    Args:
      store: an open store.
      roots: ids of artifacts.
      direction: "up" or "down".
      depth: executions to follow in a row; None is all the way.
      limit: downwards, the newest executions of each type to follow from one artifact, at least
        1; None is all.
    """
    found = Trace(direction, list(roots))
    readers = functools.partial(_readers, limit=limit)
    follow = {"up": _makers, "down": readers}[direction]
    level = list(roots)
    seen: set[int] = set()
    while level:
        seen.update(level)
        found.on_path.update(level)
        if depth is not None and (depth := depth - 1) < 0:
            break
        executions = follow(store, found, level) - found.inputs.keys()
        _add_executions(store, found, executions)
        following: dict[int, None] = {}  # each once, in the order met
        for execution in sorted(executions):
            ids = found.read(execution) if direction == "up" else found.made(execution)
            following.update(dict.fromkeys(i for i in ids if i not in seen))
        level = list(following)
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
        order = sorted(
            ids, key=lambda i: (_RANK.get(executions[i].state, len(_RANK)), executions[i].id)
        )
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
