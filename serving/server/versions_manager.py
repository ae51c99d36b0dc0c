"""Which versions of which models are loaded: TF Serving's ServerCore, in one file.

A thread polls the file system. What the version policy asks for is loaded first and what it no
longer asks for is unloaded afterwards, so that a model that was available stays so. A version
leaves when the last request that uses it is done. Needs no TensorFlow: how a version is loaded is
passed in.
"""

import contextlib
import copy
import dataclasses
import enum
import logging
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import (
    Code,
    ServingError,
    failed_precondition,
    invalid_argument,
    not_found,
)

log = logging.getLogger(__name__)

PLATFORM = "tensorflow"
MAX_VERSION = 2**63 - 1
# Versions that have ended are remembered for the status calls; this bounds a server that lives
# through thousands of pushes.
REMEMBERED_VERSIONS = 100


class State(enum.IntEnum):
    """`tensorflow.serving.ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Servable:
    """One version of one model, from the first sight of its folder to its end.

    Attributes:
      error: why it ended, where it failed to load.
      loaded: what answers requests, while it is AVAILABLE or UNLOADING; has a method `close`.
      in_flight: requests that use it at this moment.
      wanted: whether the version policy asks for it.
    """

    name: str
    version: int
    path: str
    state: State = State.START
    error: ServingError | None = None
    loaded: Any = None
    in_flight: int = 0
    wanted: bool = True


@dataclasses.dataclass(eq=False)
class _Model:
    """A configured model: its settings, the versions asked for, the versions known."""

    name: str
    config: model_server_config_pb2.ModelConfig | None = None  # None: being removed
    aspired: dict[int, str] = dataclasses.field(default_factory=dict)
    servables: dict[int, Servable] = dataclasses.field(default_factory=dict)
    complaint: str = ""  # the last one logged, so that polling does not repeat it

    def available(self) -> list[Servable]:
        return [s for s in self.servables.values() if s.state is State.AVAILABLE]

    def failed(self) -> list[Servable]:
        return [s for s in self.servables.values() if s.wanted and s.error and s.state is State.END]


class VersionsManager:
    """Loads, replaces and unloads versions, and hands them to requests.

    Attributes:
      on_ready: called, without locks, whenever a version became available or ended.
    """

    def __init__(
        self,
        load: Callable[[str, int, str], Any],
        *,
        poll_seconds: float = 1.0,
        max_load_retries: int = 5,
        retry_seconds: float = 60.0,
        load_threads: int = 0,
        allow_labels_for_unavailable: bool = False,
    ):
        """Serves nothing yet; `apply` gives it models.

        Args:
          load: called with model name, version and folder; returns what answers requests or
            raises ServingError. Runs outside all locks.
          poll_seconds: time between two looks at the file system; 0 looks once a configuration.
          max_load_retries, retry_seconds: tries after the first failure, and the time between.
          load_threads: loads at once; 0 is one.
          allow_labels_for_unavailable: whether a new label may name a version that is not loaded.
        """
        self._load = load
        self._poll_seconds = poll_seconds
        self._max_load_retries = max_load_retries
        self._retry_seconds = retry_seconds
        self._allow_labels_for_unavailable = allow_labels_for_unavailable
        self.on_ready: Callable[[], object] = lambda: None
        self._models: dict[str, _Model] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._changed = threading.Condition()
        self._look_now = False
        self._stopping = False
        self._free_slots = max(1, load_threads)
        self._waiting: list[Servable] = []  # for a slot
        self._thread = threading.Thread(target=self._run, name="versions", daemon=True)
        self._thread.start()

    # Configuration.

    def apply(self, config: model_server_config_pb2.ModelServerConfig) -> set[str]:
        """Takes over a whole new model list; loading and unloading start in the background.

        Returns:
          The models that are new in it, for `wait_until_available`.

        Raises:
          ServingError: the list is not valid, or a label names a version that is not available;
            nothing is changed.
        """
        with self._changed:
            if config.WhichOneof("config") is None and not self._models:
                log.info("Taking no action for empty config.")
                return set()  # models may be given later
            configs = {c.name: c for c in _validated(config)}
            self._labels = self._checked_labels(configs.values())
            new = configs.keys() - {n for n, m in self._models.items() if m.config}
            for name, model in self._models.items():
                if name not in configs:
                    model.config = None
            for name, model_config in configs.items():
                model = self._models.setdefault(name, _Model(name))
                model.config = model_config
                model.complaint = ""
            self._look_now = True
            self._changed.notify_all()
            return new

    def _checked_labels(
        self, configs: Iterable[model_server_config_pb2.ModelConfig]
    ) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for config in configs:
            model = self._models.get(config.name)
            available = {s.version for s in model.available()} if model else set()
            for label, version in config.version_labels.items():
                known = self._labels.get(config.name, {}).get(label, version)
                may_wait = self._allow_labels_for_unavailable and known == version
                if version not in available and not may_wait:
                    raise failed_precondition(
                        f"Request to assign label to version {version} of model {config.name}, "
                        "which is not currently available for inference"
                    )
                labels.setdefault(config.name, {})[label] = version
        return labels

    # Requests.

    @contextlib.contextmanager
    def acquire(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[Servable]:
        """Holds a version for the length of a `with` block; it is not unloaded meanwhile.

        Without a number and a label it is the newest that is available.

        Raises:
          ServingError: no such model, version or label.
        """
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        with self._changed:
            version, servables = self._asked_for(name, version, label)
            available = {s.version: s for s in servables if s.state is State.AVAILABLE}
            servable = available.get(max(available, default=0) if version is None else version)
            if servable is None:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise not_found(f"Servable not found for request: {wanted}")
            servable.in_flight += 1
        try:
            yield servable
        finally:
            with self._changed:
                servable.in_flight -= 1
                if not servable.in_flight and servable.state is State.UNLOADING:
                    self._changed.notify_all()

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> list[Servable]:
        """Copies of a model's versions, newest first, those that have ended included.

        Raises:
          ServingError: no such model, version or label.
        """
        if not name:
            raise invalid_argument("Missing model name in request.")
        with self._changed:
            version, servables = self._asked_for(name, version, label)
            found = [s for s in servables if version in (None, s.version)]
            if not found:
                what = "any versions" if version is None else f"version {version}"
                raise not_found(f"Could not find {what} of model {name}")
            return [dataclasses.replace(s) for s in sorted(found, key=lambda s: -s.version)]

    def _asked_for(
        self, name: str, version: int | None, label: str | None
    ) -> tuple[int | None, list[Servable]]:
        """The version that is asked for, and all that the model has (lock held)."""
        if label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        model = self._models.get(name)
        return version, list(model.servables.values()) if model else []

    def names(self) -> list[str]:
        """The configured models."""
        with self._changed:
            return [name for name, model in self._models.items() if model.config]

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a model and the versions that they point at."""
        with self._changed:
            return dict(self._labels.get(name, {}))

    def ready(self) -> bool:
        """Whether each configured model has an available version."""
        with self._changed:
            models = [m for m in self._models.values() if m.config]
            return bool(models) and all(m.available() for m in models) and not self._stopping

    def wait_until_available(self, names: set[str], timeout: float | None = None) -> None:
        """Waits until each named model has an available version.

        Raises:
          ServingError: all the versions that a model has failed, the manager stopped, or the
            time is up.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                models = [m for name, m in self._models.items() if name in names]
                waiting = [m for m in models if not m.available()]
                if not waiting:
                    return
                causes = [
                    f"version {s.version} of {s.name}: {s.error}"
                    for m in waiting
                    if m.aspired and len(m.failed()) == len(m.aspired)
                    for s in m.failed()
                ]
                if causes:
                    message = f"Some models did not become available: {'; '.join(causes)}"
                    raise ServingError(Code.UNKNOWN, message)
                if self._stopping:
                    raise ServingError(Code.CANCELLED, "the server is stopping")
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    late = ", ".join(m.name for m in waiting)
                    message = f"Some models did not become available in time: {late}"
                    raise ServingError(Code.DEADLINE_EXCEEDED, message)
                self._changed.wait(left)

    def stop(self, grace_seconds: float = 30.0) -> None:
        """Unloads everything; requests that run have `grace_seconds` to end."""
        with self._changed:
            self._stopping = True
            for model in self._models.values():
                model.config, model.aspired = None, {}
                self._reconcile(model)
            self._changed.notify_all()
            servables = [s for m in self._models.values() for s in m.servables.values()]
            self._changed.wait_for(
                lambda: all(s.state is State.END for s in servables), grace_seconds
            )
        self._thread.join(grace_seconds)

    # The thread that looks at the file system, and what follows from it.

    def _run(self) -> None:
        while True:
            with self._changed:
                timeout = self._poll_seconds or None
                self._changed.wait_for(lambda: self._look_now or self._stopping, timeout)
                if self._stopping:
                    return
                self._look_now = False
                models = [(m, m.config) for m in self._models.values()]
            # Without the lock: a slow file system must not hold up requests.
            found = [(m, c, _aspired_versions(c) if c else {}) for m, c in models]
            with self._changed:
                for model, config, aspired in found:
                    if model.config is not config or self._stopping:
                        continue  # configured again meanwhile; the next look is due at once
                    complaint = _complaint(config, aspired)
                    if complaint and complaint != model.complaint:
                        log.warning("%s", complaint)
                    model.complaint = complaint
                    # An unreadable base path changes nothing: it may be gone for a moment only.
                    if aspired is not None:
                        model.aspired = aspired
                        self._reconcile(model)
                self._changed.notify_all()

    def _reconcile(self, model: _Model) -> None:
        """Starts the loads and unloads that bring a model to what is asked for (lock held)."""
        for servable in model.servables.values():
            # A version that comes back while it leaves, or after its end, is a new one.
            leaving = servable.state in (State.UNLOADING, State.END)
            servable.wanted = servable.version in model.aspired and (servable.wanted or not leaving)
        for version, path in sorted(model.aspired.items(), reverse=True):
            known = model.servables.get(version)
            if known is None or (known.state is State.END and not known.wanted):
                servable = Servable(model.name, version, path)
                model.servables[version] = servable
                self._waiting.append(servable)
                self._start(self._load_servable, model, servable)
        available = sorted(model.available(), key=lambda s: s.version)
        unwanted = [s for s in available if not s.wanted]
        if model.aspired and len(unwanted) == len(available):
            unwanted = unwanted[:-1]  # the newest stays until a wanted one has been loaded
        for servable in unwanted:
            servable.state, servable.wanted = State.UNLOADING, False
            self._start(self._unload_servable, model, servable)
        ended = [s.version for s in model.servables.values() if s.state is State.END]
        for version in sorted(set(ended) - set(model.aspired))[:-REMEMBERED_VERSIONS]:
            del model.servables[version]

    @staticmethod
    def _start(work: Callable[..., None], model: _Model, servable: Servable) -> None:
        name = f"{work.__name__}-{servable.name}-{servable.version}"
        threading.Thread(target=work, args=(model, servable), name=name, daemon=True).start()

    def _load_servable(self, model: _Model, servable: Servable) -> None:
        loaded, error = None, None
        for attempt in range(self._max_load_retries + 1):
            with self._changed:

                def given_up() -> bool:
                    return self._stopping or not servable.wanted

                if attempt:
                    # Waiting for its next try, it does not hold up others.
                    self._changed.wait_for(given_up, self._retry_seconds)
                    self._waiting.append(servable)
                self._changed.wait_for(lambda: given_up() or self._is_next(servable))
                self._waiting.remove(servable)
                if given_up():
                    servable.wanted = False  # should it be asked for again: from the start
                    self._changed.notify_all()
                    break
                servable.state = State.LOADING
                self._free_slots -= 1
            loaded, error = self._try_to_load(servable)
            with self._changed:
                self._free_slots += 1
                self._changed.notify_all()
            if loaded is not None:
                break
            log.warning("%s/%d could not be loaded: %s", servable.name, servable.version, error)
        with self._changed:
            servable.state = State.END if loaded is None else State.AVAILABLE
            servable.loaded, servable.error = loaded, error
            self._reconcile(model)
            self._changed.notify_all()
        if loaded is not None:
            log.info("version %d of %s is available", servable.version, servable.name)
        self.on_ready()

    def _is_next(self, servable: Servable) -> bool:
        """Whether a load may begin: the newest that waits goes first."""
        newest = max(self._waiting, key=lambda waiting: waiting.version)
        return self._free_slots > 0 and servable.version == newest.version

    def _try_to_load(self, servable: Servable) -> tuple[Any, ServingError | None]:
        try:
            return self._load(servable.name, servable.version, servable.path), None
        except ServingError as error:
            # It is remembered; its traceback would keep what was half loaded in memory.
            return None, ServingError(error.code, error.message)
        except Exception as error:  # a loader's surprise must not end the thread
            log.exception("loading version %d of %s", servable.version, servable.name)
            return None, ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")

    def _unload_servable(self, model: _Model, servable: Servable) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not servable.in_flight)
            loaded, servable.loaded = servable.loaded, None
        try:
            loaded.close()
        except Exception:  # it is gone either way
            log.exception("unloading version %d of %s", servable.version, servable.name)
        with self._changed:
            servable.state = State.END
            self._reconcile(model)
            self._changed.notify_all()
        log.info("version %d of %s is unloaded", servable.version, servable.name)
        self.on_ready()


def _validated(
    config: model_server_config_pb2.ModelServerConfig,
) -> list[model_server_config_pb2.ModelConfig]:
    """Copies of the models of a list, their base paths as paths of this machine."""
    if config.WhichOneof("config") != "model_config_list":
        raise failed_precondition(
            "Cannot transition to requested config. It is only legal to transition "
            "from one ModelConfigList to another."
        )
    models = copy.deepcopy(list(config.model_config_list.config))
    names = [model.name for model in models]
    for model in models:
        if not model.name:
            raise invalid_argument("each model of the list needs a name")
        if names.count(model.name) > 1:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        # model_type is how it was said before platforms had names; 1 is TENSORFLOW.
        if bool(model.model_type) == bool(model.model_platform):
            which = ("setting both", "and") if model.model_type else ("setting neither", "nor")
            raise invalid_argument(
                f"Illegal {which[0]} ModelServerConfig::model_type (deprecated) {which[1]} "
                f"ModelServerConfig::model_platform, model name is {model.name}"
            )
        if model.model_type > 1 or model.model_platform not in ("", PLATFORM):
            platform = model.model_platform or f"of model_type {model.model_type}"
            raise invalid_argument(f"Model {model.name} requests unsupported platform {platform}")
        model.base_path = _local_path(model)
    return models


def _local_path(model: model_server_config_pb2.ModelConfig) -> str:
    path = model.base_path
    if re.match(r"[a-zA-Z][a-zA-Z0-9.]*://", path):
        uri = urllib.parse.urlsplit(path)
        if uri.scheme != "file" or uri.netloc not in ("", "localhost"):
            raise invalid_argument(
                f"model {model.name}: the base path {path} is not on this machine; this local "
                "server reads folders and file:// only: mount or copy it, or use TF Serving"
            )
        path = urllib.parse.unquote(uri.path)
    if not os.path.isabs(path):
        raise invalid_argument(
            f"Expected model {model.name} to have an absolute path or URI; "
            f"got base_path()={model.base_path}"
        )
    return path


def version_folders(base_path: str | os.PathLike) -> dict[int, str]:
    """The versions under a base path: the children whose names are whole numbers.

    Returns:
      Folder by version; where two names mean one number (`7` and `007`), the last in order.

    Raises:
      OSError: the base path can't be read.
    """
    folders = {}
    for name in sorted(os.listdir(base_path)):
        if re.fullmatch(r"[0-9]+", name) and int(name) <= MAX_VERSION:
            folders[int(name)] = os.path.join(base_path, name)
    return folders


def _aspired_versions(config: model_server_config_pb2.ModelConfig) -> dict[int, str] | None:
    """What the policy asks for among what is there, or None where the base path is unreadable."""
    try:
        folders = version_folders(config.base_path)
    except (OSError, ValueError):  # a path may hold a NUL
        return None
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return folders
    if choice == "specific":
        return {v: path for v, path in folders.items() if v in set(policy.specific.versions)}
    newest = sorted(folders)[-max(1, policy.latest.num_versions) :]
    return {version: folders[version] for version in newest}


def _complaint(
    config: model_server_config_pb2.ModelConfig | None, aspired: dict[int, str] | None
) -> str:
    if config is None or aspired:
        return ""
    if aspired is None:
        return f"Could not find base path {config.base_path} for servable {config.name}"
    return (
        f"No versions of servable {config.name} found under base path {config.base_path}. "
        "Waiting for a folder whose name is a number and that the version policy asks for."
    )
