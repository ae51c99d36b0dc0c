"""ML Metadata as plain Python: runs, executions, artifacts, and what connects them.

Reads any store that TFX wrote, through ML Metadata's own client, in bulk calls that both its 1.16
and its 1.21 know (1.21 has no filter queries). Read-only; imports neither TFX nor TensorFlow.
"""

import contextlib
import functools
import os
import pathlib
import re
import sqlite3
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import ml_metadata as mlmd
from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as pb

from common.text import parse_json, plain
from common.workspace import moved_path

RUN_CONTEXT = "pipeline_run"
NODE_CONTEXT = "node"
ABANDONED_PROPERTY = "abandoned"  # custom property of an artifact that a run did not take: why
VERSIONS_PROPERTY = "library_versions"  # custom property of an execution: JSON, by package
ERROR_PROPERTY = "error"  # custom property of a FAILED execution: what went wrong, in words
# Custom properties of artifacts that hold paths of the workspace.
_PLACES = ("pushed_destination", "evaluation", "current_model", "baseline_model", "served_path")
_STATES = {
    pb.Execution.COMPLETE: "COMPLETE",
    pb.Execution.CACHED: "CACHED",
    pb.Execution.RUNNING: "RUNNING",
    pb.Execution.NEW: "RUNNING",
    pb.Execution.CANCELED: "CANCELED",
}
# Resolvers connect by INTERNAL_ events, which are left out: they look up and make nothing.
_LOOKUPS = (".resolver.Resolver", ".baseline.Baseline")
_KINDS = {
    pb.Event.INPUT: "input",
    pb.Event.DECLARED_INPUT: "input",
    pb.Event.OUTPUT: "output",
    pb.Event.DECLARED_OUTPUT: "output",
}

_OWN = "components."  # of our own types of artifacts, since 0.3
_MANY = 300
_SERVER_SECONDS = 30.0  # in which an ML Metadata server must answer a call


class StoreError(ValueError):
    """The metadata can't be read; the message says what is wrong with it."""


class _Node:
    """Wraps `record`, what ML Metadata answered; properties are parsed when they are read.

    Attributes:
      id: in ML Metadata.
      type: of an artifact "Model", "Examples" and so on; of an execution the component's class.
      created: milliseconds since the epoch.
    """

    def __init__(self, record: pb.Artifact | pb.Execution | pb.Context):
        self.record = record
        self.id: int = record.id
        self.type: str = plain(record.type)
        self.created: int = record.create_time_since_epoch

    @functools.cached_property
    def properties(self) -> dict:
        """Properties and custom properties; JSON objects and lists are parsed."""
        return facts_of(self.record.properties) | facts_of(self.record.custom_properties)


class Artifact(_Node):
    """Something that was made.

    Attributes:
      uri: where its files lie.
      state: "LIVE", "DELETED", "PENDING" and so on; "UNKNOWN" where none was recorded.
    """

    def __init__(self, record: pb.Artifact):
        super().__init__(record)
        self.type = self.type.removeprefix(_OWN)
        self.uri: str = plain(record.uri)
        self.state: str = pb.Artifact.State.Name(record.state)

    @property
    def pushed_version(self) -> int | None:
        """The version under which this was pushed; None for whatever was not."""
        if self.type != "PushedModel" or self.properties.get("pushed") != 1:
            return None
        version = str(self.properties.get("pushed_version", ""))
        return int(version) if version.isdecimal() else None

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
            span = f", span {facts['span']}" if facts.get("spans") else ""
            return f"{facts['dataset']} {facts.get('dataset_version', '')}".strip() + span
        if self.type == "InService":
            return f"version {facts['version']}" if "version" in facts else "nothing in service"
        if self.type == "SpanDrift" and "span" in facts:
            return f"span {facts['span']} against {facts['before']}"
        return ""


class Execution(_Node):
    """One time that a node ran, or was spared by the cache.

    Attributes:
      state: "COMPLETE", "CACHED", "RUNNING", "FAILED" or "CANCELED".
      updated: milliseconds since the epoch.
    """

    def __init__(self, record: pb.Execution):
        super().__init__(record)
        self.state: str = _STATES.get(record.last_known_state, "FAILED")
        self.updated: int = record.last_update_time_since_epoch

    @property
    def error(self) -> str | None:
        """Why it failed, where that was kept."""
        return str(self.properties.get(ERROR_PROPERTY) or "") or None

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
        """How long it took; None while it runs. 0 where the clock was set back meanwhile."""
        return None if self.state == "RUNNING" else max(0, self.updated - self.created) / 1000


class Run(_Node):
    """One run of a pipeline: its `name`, and as properties what it noted about itself."""

    def __init__(self, record: pb.Context):
        super().__init__(record)
        self.name: str = plain(record.name)


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
        self.client = client
        self.home = home
        self._artifacts: dict[int, Artifact] = {}
        self._executions: dict[int, Execution] = {}
        self._places: dict[int, tuple[str, str | None]] = {}

    def runs(self) -> list[Run]:
        """All pipeline runs, newest first: by id, since a clock may be set back."""
        runs = [Run(c) for c in self._of_type(self.client.get_contexts_by_type, RUN_CONTEXT)]
        return sorted(runs, key=lambda run: run.id, reverse=True)

    def run_named(self, name: str) -> Run | None:
        """The run of exactly this name."""
        try:
            context = self.client.get_context_by_type_and_name(RUN_CONTEXT, name)
        except mlmd.errors.NotFoundError:
            context = None
        return None if context is None else Run(context)

    def executions_of_run(self, run: Run, *, lookups: bool = False) -> list[Execution]:
        """What `run` executed or took from the cache, in order; with or without its lookups."""
        found = [self._keep_execution(e) for e in self.client.get_executions_by_context(run.id)]
        if not lookups:  # of what others made
            found = [e for e in found if not e.type.endswith(_LOOKUPS)]
        return sorted(found, key=lambda e: e.id)

    def execution_of(self, run: str, node: str) -> Execution | None:
        """The last execution of a node in the run of this name; None if the run came to none."""
        found = self.run_named(run)
        for execution in reversed(self.executions_of_run(found, lookups=True) if found else ()):
            if self.place_of(execution.id)[0] == node:
                return execution
        return None

    def executions(self, ids: Iterable[int]) -> dict[int, Execution]:
        """The executions of these ids; those that do not exist are left out."""
        wanted = sorted(set(ids))
        if missing := [i for i in wanted if i not in self._executions]:
            for execution in self.client.get_executions_by_id(missing):
                self._keep_execution(execution)
        return {i: self._executions[i] for i in wanted if i in self._executions}

    @functools.cached_property
    def all_executions(self) -> dict[int, Execution]:
        """Every execution of the store, by id."""
        return {e.id: self._keep_execution(e) for e in self.client.get_executions()}

    def artifacts(self, ids: Iterable[int]) -> dict[int, Artifact]:
        """The artifacts of these ids; those that do not exist are left out."""
        wanted = sorted(set(ids))
        if missing := [i for i in wanted if i not in self._artifacts]:
            for artifact in self.client.get_artifacts_by_id(missing):
                self._keep_artifact(artifact)
        return {i: self._artifacts[i] for i in wanted if i in self._artifacts}

    def artifacts_of_type(self, name: str) -> list[Artifact]:
        """All artifacts of one type, by id."""
        kinds = (name, _OWN + name)
        found = [a for k in kinds for a in self._of_type(self.client.get_artifacts_by_type, k)]
        return sorted((self._keep_artifact(a) for a in found), key=lambda a: a.id)

    @functools.cached_property
    def all_artifacts(self) -> dict[int, Artifact]:
        """Every artifact of the store, by id."""
        return {a.id: self._keep_artifact(a) for a in self.client.get_artifacts()}

    def events_of_executions(self, ids: Iterable[int]) -> list[Event]:
        """What these executions read and wrote."""
        ids = list(ids)
        return _events(self.client.get_events_by_execution_ids(ids) if ids else ())

    def events_of_artifacts(self, ids: Iterable[int]) -> list[Event]:
        """Which executions read and wrote these artifacts."""
        ids = list(ids)
        return _events(self.client.get_events_by_artifact_ids(ids) if ids else ())

    def places_of(self, executions: Iterable[int]) -> dict[int, tuple[str, str | None]]:
        """The node that each execution belongs to, and its run's name (None if it has none)."""
        missing = sorted({i for i in executions if i not in self._places})
        places: dict[int, dict[str, str]] = {i: {} for i in missing}
        if len(missing) > _MANY:
            # A call an execution would take longer than one for each node and each run.
            for kind in (NODE_CONTEXT, RUN_CONTEXT):
                for context in self._of_type(self.client.get_contexts_by_type, kind):
                    for execution in self.client.get_executions_by_context(context.id):
                        if execution.id in places:
                            places[execution.id][kind] = context.name
        else:
            for i in missing:
                for context in self.client.get_contexts_by_execution(i):
                    places[i][context.type] = context.name
        for i, execution in self.executions(missing).items():
            # TFX names the context of a node PIPELINE.NODE.
            node = places[i].get(NODE_CONTEXT, execution.type).rpartition(".")[2]
            run = places[i].get(RUN_CONTEXT)
            self._places[i] = (plain(node), None if run is None else plain(run))
        return {i: self._places[i] for i in executions}

    def place_of(self, execution: int) -> tuple[str, str | None]:
        """The same of one execution."""
        return self.places_of([execution])[execution]

    def path_of(self, uri: str) -> pathlib.Path | None:
        """Where the files of `uri` lie on this machine; None for what lies elsewhere.

        A workspace's files are those beside its store: of a copied workspace it is the copy that
        is meant, and what is outside is not of it, by a symbolic link neither. The path need not
        exist.
        """
        scheme, _, rest = uri.partition("://")
        if rest and scheme != "file":
            return None
        path = pathlib.Path(rest or uri)
        return path if self._root is None else inside(path, self._root)

    @functools.cached_property
    def _root(self) -> pathlib.Path | None:
        """The workspace that the store is of; of none where nothing of one lies beside it."""
        beside = ("pipeline_root", "serving", ".lock")  # the first may have been lost
        is_one = self.home and any((self.home / name).exists() for name in beside)
        return self.home if is_one else None

    @staticmethod
    def _of_type(call, name: str) -> Sequence:
        try:
            return call(name)
        except mlmd.errors.NotFoundError:  # a store that has not seen the type yet
            return ()

    def _keep_artifact(self, artifact: pb.Artifact) -> Artifact:
        if artifact.id not in self._artifacts:
            if self._root:
                follow_move(artifact, self._root)
            self._artifacts[artifact.id] = Artifact(artifact)
        return self._artifacts[artifact.id]

    def _keep_execution(self, execution: pb.Execution) -> Execution:
        return self._executions.setdefault(execution.id, Execution(execution))


def inside(path: pathlib.Path, root: pathlib.Path) -> pathlib.Path | None:
    """Where a path of the workspace at `root` lies today; None for one that is not in it.

    The folders of a workspace may be links to other disks; what is in them may not lead out.
    """
    found = moved_path(path, root)
    top = root / found.relative_to(root).parts[0] if found else None
    return found if found and top and found.resolve().is_relative_to(top.resolve()) else None


def follow_move(artifact: pb.Artifact, root: pathlib.Path) -> bool:
    """Writes today's paths into the record of an artifact of the workspace at `root`.

    Returns:
      Whether it had others: the workspace was moved or copied.
    """
    before = artifact.SerializeToString(deterministic=True)
    artifact.uri = _path_today(artifact.uri, root)
    for place in _PLACES:
        if place in artifact.custom_properties:
            value = artifact.custom_properties[place]
            value.string_value = _path_today(value.string_value, root)
    return artifact.SerializeToString(deterministic=True) != before


def _path_today(path: str, root: pathlib.Path) -> str:
    return path if not path or "://" in path else str(moved_path(path, root) or path)


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
    hint = ""
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
        return Store(connect(path), path.resolve().parent)
    else:
        raise StoreError(f"{name}: give a file, or a URI that begins sqlite, mysql or grpc")
    try:
        return Store(mlmd.MetadataStore(config))
    except (mlmd.errors.StatusError, RuntimeError) as error:
        raise StoreError(f"{name} can't be read as ML Metadata: {error}{hint}") from None


def connect(path: pathlib.Path, *, readonly: bool = True) -> mlmd.MetadataStore:
    """ML Metadata's own client of an SQLite store.

    One that is not `readonly` may write, and makes the store where there is none.

    Raises:
      FileNotFoundError: there is no such file, and `readonly` is asked for.
      StoreError: it is no ML Metadata store, a damaged or an empty one.
    """
    if readonly and not path.is_file():
        raise FileNotFoundError(f"there is no ML Metadata store at {path}")
    if readonly and not path.stat().st_size:
        raise StoreError(_explain(path))
    _roll_back_journal(path)
    modes = pb.SqliteMetadataSourceConfig
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = modes.READONLY if readonly else modes.READWRITE_OPENCREATE
    try:
        return mlmd.MetadataStore(config)
    except (mlmd.errors.StatusError, RuntimeError) as error:
        raise StoreError(_explain(path, error)) from None


def _explain(path: pathlib.Path, error: Exception | None = None) -> str:
    """Why the SQLite store at `path` can't be used, going by what ML Metadata or SQLite said."""
    said = str(error or "").splitlines()
    text = " ".join(said)
    if not path.stat().st_size:
        return (
            f"{path} is empty: it holds no run. If there is a backup put it there; otherwise "
            "`mnist-gan run` begins a new one"
        )
    try:
        path.open("rb").close()
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    if "subset of tables" in text:
        return (
            f"{path} is there in part only, as a program was killed while it made it. Nothing was "
            "recorded in it: delete it"
        )
    # Of the C++ library, without a class of its own.
    if "Concurrent writes" in text or "locked" in text:
        holder = _holder_of(path)
        who = f"process {holder}" if holder else "another program"
        return f"{path} is locked by {who}, which writes to it: wait for it, or end it"
    # The library adds the whole statement that failed.
    reason = re.split(" query: +[A-Z]", said[0])[0] if said else "unknown reason"
    return (
        f"{path} can't be read as ML Metadata ({reason}). "
        "If it is damaged put a backup there, or use another --workspace"
    )


def _roll_back_journal(path: pathlib.Path) -> None:
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
            raise StoreError(_explain(path, error)) from None
        raise StoreError(
            f"a program was killed while it wrote to {path}, and what it left undone can't be "
            f"undone here ({error}): run a command where the folder may be written"
        ) from None
    except sqlite3.DatabaseError as error:
        raise StoreError(_explain(path, error)) from None


def _holder_of(path: pathlib.Path) -> str | None:
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
    return {plain(key): _parsed(value_of(value)) for key, value in sorted(properties.items())}


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
    found = getattr(value, kind)
    return plain(found) if isinstance(found, str) else found


def _parsed(value):
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _parsed(parse_json(value))
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
