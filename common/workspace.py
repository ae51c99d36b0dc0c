"""The workspace: one folder that holds everything a pipeline makes, and the lock on it."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import time
import typing
from collections.abc import Callable, Iterator

PIPELINE_NAME = "mnist-gan"
MODEL_NAME = "mnist_gan"  # of generators of MNIST; see `model_name`
DEFAULT = "workspace"
VARIABLE = "MNIST_GAN_WORKSPACE"


# Patterns for TensorFlow and Beam, parts of an address for SQLite.
FORBIDDEN = "*?[]%#\\"
_SOURCES = pathlib.Path(__file__).resolve().parent.parent
LOCK_PATIENCE = 0.5  # s; whoever only asks whether the lock is held holds it for a moment


def moved_path(path: str | os.PathLike, root: pathlib.Path) -> pathlib.Path | None:
    """Where a path of a workspace lies in the workspace that is at `root` today.

    A workspace may be moved or copied, and its metadata keeps the paths of the day they were made:
    such as `/anywhere/pipeline_root/NODE/KEY/N` or `/anywhere/serving/MODEL/VERSION`, and what lies
    below them. None for a path that is not of a workspace.
    """
    parts = pathlib.PurePath(path).parts
    if ".." in parts:  # it could lead out of the workspace
        return None
    for folder, depth in (("pipeline_root", 4), ("serving", 3)):
        # The last one that leaves room for what lies below: a workspace may be in one.
        places = [i for i, part in enumerate(parts) if part == folder and len(parts) >= i + depth]
        if places:
            return pathlib.Path(root, *parts[places[-1] :])
    return None


class WorkspaceError(RuntimeError):
    """The workspace can't be used; the message says why."""


class WorkspaceBusyError(WorkspaceError):
    """Another process runs a pipeline in this workspace."""


def model_name(dataset: str) -> str:
    """The name under which generators of a data set are served.

    Another data set is another model, so that one never replaces the other: "mnist" gives
    "mnist_gan", "emnist/letters" gives "emnist_letters_gan".
    """
    return re.sub(r"[^a-z0-9]+", "_", dataset.lower()).strip("_") + "_gan"


@dataclasses.dataclass(frozen=True)
class Workspace:
    """The paths below `root`; nothing is made until it is needed.

    Attributes:
      root: the folder.
      model: name of the served model that is meant; None is the one that was pushed to last
        (`mnist_gan` where nothing was pushed).
    """

    root: pathlib.Path
    model: str | None = None

    @classmethod
    def at(cls, path: str | os.PathLike) -> "Workspace":
        """The workspace in folder `path`, which need not exist yet."""
        return cls(pathlib.Path(path).expanduser().resolve())

    @property
    def metadata(self) -> pathlib.Path:
        return self.root / "metadata.sqlite"

    @property
    def pipeline_root(self) -> pathlib.Path:
        return self.root / "pipeline_root"

    def models(self) -> list[str]:
        """Names of the models that have versions, the one that was pushed to last first."""
        newest = {
            base.name: max((int(v.name) for v in base.iterdir() if v.name.isdecimal()), default=-1)
            for base in (self.root / "serving").glob("*/")
            if base.is_dir()
        }
        return sorted((n for n in newest if newest[n] >= 0), key=lambda n: (-newest[n], n))

    def of_model(self, name: str | None) -> "Workspace":
        """The same folder, with another model meant."""
        return dataclasses.replace(self, model=name)

    @property
    def serving(self) -> pathlib.Path:
        """TF Serving's base path of the model."""
        return self.root / "serving" / (self.model or next(iter(self.models()), MODEL_NAME))

    @property
    def checkpoints(self) -> pathlib.Path:
        return self.root / "checkpoints"

    @property
    def tensorboard(self) -> pathlib.Path:
        return self.root / "tensorboard"

    @property
    def tfds(self) -> pathlib.Path:
        return self.root / "tfds"

    @property
    def cache(self) -> pathlib.Path:
        """What can be computed again, such as the judge's reference statistics."""
        return self.root / "cache"

    @property
    def logs(self) -> pathlib.Path:
        return self.root / "logs"

    @property
    def report(self) -> pathlib.Path:
        return self.root / "report" / "index.html"

    @property
    def _lock_file(self) -> pathlib.Path:
        return self.root / ".lock"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the workspace for one run.

        The lock is the kernel's (flock): it ends with the process that holds it, however that
        ends, so a dead run never keeps a workspace.

        Raises:
          WorkspaceBusyError: another live process holds it.
          WorkspaceError: the folder can't be made or written, or has a name that the libraries
            can't work with.
        """
        with self._held(self._lock_file, f"{self.root} is held by another run"):
            yield

    @contextlib.contextmanager
    def share(self, run: str, node: str, alone: Callable[[], object]) -> Iterator[None]:
        """Holds the workspace for one node of a run, beside other nodes of the same run.

        Args:
          run: the run's name.
          node: the node's; one process at a time works on it.
          alone: called first where no other process holds the workspace; none can meanwhile.

        Raises:
          WorkspaceBusyError, WorkspaceError: as `lock`.
        """
        own, busy = self.root / f".lock-{node}", f"{node} of this run is at work already"
        with self._held(self._lock_file, f"{self.root} is held by another run", run, alone):
            with self._held(own, busy):
                yield

    @contextlib.contextmanager
    def _held(
        self,
        path: pathlib.Path,
        busy: str,
        run: str | None = None,
        alone: Callable[[], object] = lambda: None,
    ) -> Iterator[None]:
        self.check_name()
        with contextlib.ExitStack() as stack:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(path, "a+"))
                self._acquire(file, busy, run, alone)
            except OSError as error:
                raise WorkspaceError(
                    f"the workspace {self.root} can't be written ({error.strerror}): "
                    "make room or choose another folder with --workspace DIR"
                ) from None
            yield

    def check_name(self) -> None:
        """Raises WorkspaceError where the path is one that the libraries can't work with."""
        name = str(self.root)
        if self.root == _SOURCES or os.path.exists(self.root / "__init__.py"):
            raise WorkspaceError(
                f"{self.root} holds the source of programs, among which a run would write: choose "
                "another folder with --workspace DIR"
            )
        for character in name:
            if character in FORBIDDEN or not character.isprintable():
                shown = character if character.isprintable() else ascii(character)
                raise WorkspaceError(
                    f"the path of the workspace, {ascii(name)[1:-1]}, holds the character {shown}, "
                    "which TensorFlow, Beam or SQLite would take for something else: choose "
                    "another folder with --workspace DIR"
                )

    def _acquire(
        self, file: typing.TextIO, busy: str, run: str | None, alone: Callable[[], object]
    ) -> None:
        """For this process alone; with `run` for all that name the same run."""
        patience = time.monotonic() + LOCK_PATIENCE
        while True:
            if _locks(file, fcntl.LOCK_EX):
                noted = {"pid": os.getpid(), "since": time.strftime("%H:%M:%S")}
                file.truncate(0)
                file.write(json.dumps(noted | ({"run": run} if run else {})))
                file.flush()
                if run is None:
                    return
                alone()
            noted = {"pid": "unknown", "since": "?"} | _noted(file.name)
            ours = run is not None and noted.get("run") == run
            if ours and _locks(file, fcntl.LOCK_SH):
                # Another run may have come and gone while one lock was changed for the other.
                if _noted(file.name).get("run") == run:
                    return
                fcntl.flock(file, fcntl.LOCK_UN)
            if not ours and time.monotonic() > patience:
                raise WorkspaceBusyError(
                    f"{busy} (process {noted['pid']}, since {noted['since']}). Wait for it, stop "
                    "it, or give this run a folder of its own with --workspace DIR."
                )
            time.sleep(0.02)

    def is_locked(self) -> bool:
        """Whether a live process holds the workspace."""
        for path in self.root.glob(".lock*"):
            try:
                with open(path) as file:
                    if not _locks(file, fcntl.LOCK_SH):
                        return True
            except (OSError, WorkspaceError):
                continue
        return False

    def holder(self) -> str | None:
        """Who holds the workspace: a run, if its nodes share it, or a process id; None: nobody."""
        noted = _noted(self._lock_file) if self.is_locked() else {}
        return noted.get("run") or (str(noted["pid"]) if "pid" in noted else None)


def _locks(file: typing.TextIO, how: int) -> bool:
    """Takes the lock LOCK_EX or LOCK_SH of `file`; False where another process has it."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # such as ENOLCK of a network file system
        raise WorkspaceError(
            f"the file system of {os.path.dirname(file.name)} has no locks that keep a second run "
            f"away ({error.strerror}): choose a folder on a local disk with --workspace DIR"
        ) from None
    return True


def _noted(path: str | os.PathLike) -> dict:
    """What who holds a lock or held it last has noted in its file; {} where nobody tells."""
    try:
        noted = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
