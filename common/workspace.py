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
from collections.abc import Iterator

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
        self.check_name()
        with contextlib.ExitStack() as stack:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(self._lock_file, "a+"))
                self._acquire(file)
                file.truncate(0)
                file.write(json.dumps({"pid": os.getpid(), "since": time.strftime("%H:%M:%S")}))
                file.flush()
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

    def _acquire(self, file: typing.TextIO) -> None:
        patience = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > patience:
                    noted = {"pid": "unknown", "since": "?"} | self._noted_holder()
                    holder = f"process {noted['pid']}, since {noted['since']}"
                    raise WorkspaceBusyError(
                        f"{self.root} is held by another run ({holder}). Wait for it, stop it, or "
                        "give this run a folder of its own with --workspace DIR."
                    ) from None
                time.sleep(0.02)
            except OSError as error:  # such as ENOLCK of a network file system
                raise WorkspaceError(
                    f"the file system of {self.root} has no locks that keep a second run away "
                    f"({error.strerror}): choose a folder on a local disk with --workspace DIR"
                ) from None

    def is_locked(self) -> bool:
        """Whether a live process holds the workspace."""
        try:
            with open(self._lock_file) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def holder(self) -> int | None:
        """The process that holds the workspace; None when nobody does."""
        return self._noted_holder().get("pid") if self.is_locked() else None

    def _noted_holder(self) -> dict:
        """`pid` and `since` of who holds the workspace or held it last; {} where nobody tells."""
        try:
            noted = json.loads(self._lock_file.read_text())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}
