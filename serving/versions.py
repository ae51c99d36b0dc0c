"""Version directories as TensorFlow Serving reads them: list, publish, roll back, fingerprint.

Children of a model's base path whose name is an integer are versions; every other name is invisible
to a server. A version is staged under such a name and renamed when it is whole, so a server never
sees half of one; it is rolled back by a rename too, so a server sees it or does not. Needs neither
TensorFlow nor TFX.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

from common.contract import ASSETS_EXTRA, METADATA_FILE
from common.files import file_digests, file_sizes
from common.text import parse_json, plain

CARD_FILE = f"{ASSETS_EXTRA}/model_card.md"
SAMPLES_FILE = f"{ASSETS_EXTRA}/samples.png"

_STAGING = ".tmp-"
_ROLLED_BACK = ".rolled_back"


class PublishError(RuntimeError):
    """A version could not be published; nothing of it was left behind."""


class VersionError(ValueError):
    """A version can't be rolled back or restored; the message says why."""


@dataclasses.dataclass(frozen=True)
class Version:
    """One version directory.

    Attributes:
      number: what TF Serving calls it; "00000123" is 123.
      path: the SavedModel.
      metadata: the content of `assets.extra/metadata.json`, {} where there is none.
    """

    number: int
    path: pathlib.Path
    metadata: dict

    @property
    def digest_when_pushed(self) -> str | None:
        """The model's digest as its metadata has it; None where that says nothing."""
        return _told(self.metadata, *_TOLD["digest"])

    @property
    def is_rolled_back(self) -> bool:
        """Whether it was taken out of service."""
        return self.path.name.endswith(_ROLLED_BACK)


def list_versions(base_path: str | os.PathLike) -> list[Version]:
    """The versions below `base_path`, ascending; none when the folder is not there."""
    return _versions(base_path, "")


def list_rolled_back(base_path: str | os.PathLike) -> list[Version]:
    """The versions that were rolled back, ascending: no server sees them."""
    return _versions(base_path, _ROLLED_BACK)


def rolled_back_path(path: pathlib.Path) -> pathlib.Path:
    """Where the version in folder `path` lies after it was rolled back."""
    return path.with_name(path.name + _ROLLED_BACK)


def _versions(base_path: str | os.PathLike, suffix: str) -> list[Version]:
    base = pathlib.Path(base_path)
    if not base.is_dir():
        return []
    found = [
        Version(int(match[1]), child, _read_metadata(child))
        for child in base.iterdir()
        if (match := re.fullmatch(rf"([0-9]+){re.escape(suffix)}", child.name))
        and int(match[1]) < 2**63  # servers pass over what is no int64
        and child.is_dir()
    ]
    return sorted(found, key=lambda version: version.number)


def latest(base_path: str | os.PathLike) -> Version | None:
    """The version that a server with its default policy would load."""
    versions = list_versions(base_path)
    return versions[-1] if versions else None


def in_service(
    base_path: str | os.PathLike, other_than: str | None = None
) -> tuple[Version, str | None] | None:
    """The newest version that is not rolled back, and the digest of its files as they are now.

    The digest is None where its files can't be read. Versions that hold the model `other_than`
    (a digest) are passed over, and so are folders without a SavedModel: no server loads them.
    """
    for version in reversed(list_versions(base_path)):
        try:
            digest = model_digest(version.path)
        except FileNotFoundError:
            continue
        except OSError:
            digest = None
        if digest is None or digest != other_than:
            return version, digest
    return None


def model_digest(model_dir: str | os.PathLike) -> str:
    """SHA-256 (hexadecimal) of what a SavedModel computes: its graph, variables and assets.

    The same for the exported model and every pushed copy of it. `assets.extra` (documents about
    the model) and `fingerprint.pb` (a random number for each export) do not count.

    Raises:
      FileNotFoundError: the folder holds no SavedModel.
    """
    root = pathlib.Path(model_dir)
    if not (root / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{root} holds no saved_model.pb")
    digest = hashlib.sha256()
    for name, file_digest in file_digests(root).items():
        if name != "fingerprint.pb" and not name.startswith(f"{ASSETS_EXTRA}/"):
            digest.update(f"{name}\0{file_digest}\n".encode())
    return digest.hexdigest()


def publish(
    model_dir: str | os.PathLike,
    base_path: str | os.PathLike,
    describe: Callable[[int], tuple[Mapping[str, bytes], dict]],
) -> tuple[Version, bool]:
    """Copies a SavedModel into the next version directory, all of it or nothing.

    The number is the time in seconds, or one more than the highest there is. A model that some
    version already holds (by `model_digest`) is not published again, one that was rolled back
    neither: somebody took it out of service. Leftovers of a killed publication are removed.

    Args:
      model_dir: the SavedModel to copy.
      base_path: TF Serving's base path of the model; made when missing.
      describe: given the version's number, returns the files to add (relative path to content)
        and the content of `assets.extra/metadata.json`. `model.digest`, `version`, `pushed_at`
        and `files` (SHA-256 of each file but the metadata itself) are filled in here.

    Returns:
      The version that holds the model, and whether it is new.

    Raises:
      PublishError: the copy failed (a full disk, an unreadable file).
    """
    base = pathlib.Path(base_path)
    staging = None
    try:
        base.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(base)
        digest = model_digest(model_dir)
        served, rolled_back = list_versions(base), list_rolled_back(base)
        for version in (*reversed(served), *reversed(rolled_back)):
            # A folder that somebody put there without a model in it is in nobody's way.
            with contextlib.suppress(FileNotFoundError):
                if model_digest(version.path) == digest:
                    return version, False
        # Above those that were rolled back too: they may come back.
        taken = [version.number for version in (*served, *rolled_back)]
        number = max([int(time.time()), *(n + 1 for n in taken)])
        staging = base / f"{_STAGING}{number}-{os.getpid()}"
        shutil.copytree(model_dir, staging)
        extra_files, metadata = describe(number)
        for name, content in extra_files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        metadata = {
            **metadata,
            "model": {**metadata.get("model", {}), "digest": digest},
            "version": number,
            "pushed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "files": {k: v for k, v in file_digests(staging).items() if k != METADATA_FILE},
        }
        path = staging / METADATA_FILE
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n")
        _flush(staging)
        final = base / str(number)
        os.rename(staging, final)
        _flush_directory(base)
        return Version(number, final, metadata), True
    except OSError as error:
        raise PublishError(_explain(error, base, model_dir)) from error
    finally:
        # After the rename there is nothing left under this name.
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def roll_back(base_path: str | os.PathLike, to: int | None = None) -> list[Version]:
    """Takes versions out of service, so that servers go back to the one before, or to `to`.

    By a rename: a server sees a version whole or not at all, and `restore` undoes it.

    Returns:
      The versions that were taken out, ascending, where they lie now.

    Raises:
      VersionError: there is no older version, or `to` is none or the newest already. Nothing was
        changed.
    """
    found = list_versions(base_path)
    numbers = [version.number for version in found]
    if not found:
        raise VersionError(f"there is no version in {base_path}")
    if to is not None and to not in numbers:
        raise VersionError(f"there is no version {to}; there are {', '.join(map(str, numbers))}")
    if to == numbers[-1]:
        raise VersionError(f"version {to} is the newest already")
    if len(found) == 1:
        raise VersionError(
            f"version {numbers[0]} is the only one: without it nothing would be served"
        )
    doomed = found[-1:] if to is None else [v for v in found if v.number > to]
    # The newest one last: until then servers stay with it, and then go where they are to go.
    return [_rename(version, rolled_back_path(version.path)) for version in doomed]


def restore(base_path: str | os.PathLike, number: int) -> Version:
    """Puts a version that was rolled back into service again.

    Raises:
      VersionError: it was not rolled back.
    """
    found = {version.number: version for version in list_rolled_back(base_path)}
    if number not in found:
        known = ", ".join(map(str, found)) or "none"
        raise VersionError(f"version {number} was not rolled back (those that were: {known})")
    path = found[number].path
    return _rename(found[number], path.with_name(path.name.removesuffix(_ROLLED_BACK)))


def _rename(version: Version, path: pathlib.Path) -> Version:
    try:
        os.rename(version.path, path)
        _flush_directory(path.parent)
    except OSError as error:
        raise VersionError(
            f"{version.path} can't be renamed to {path.name}: {error.strerror}"
        ) from None
    return dataclasses.replace(version, path=path)


def overview(base_path: str | os.PathLike, labels: Mapping[str, int]) -> list[dict]:
    """What there is, newest first: the rows of `mnist-gan versions list`.

    `labels` are versions by label. A row says whether a server answers with the version where
    nobody asks for another (`current`), and null for what its metadata does not tell.
    """
    served = list_versions(base_path)
    rows = [
        {
            "version": version.number,
            "current": version is served[-1] if served else False,
            "rolled_back": version.is_rolled_back,
            "labels": sorted(name for name, n in labels.items() if n == version.number),
            **{key: _told(version.metadata, *place) for key, place in _TOLD.items()},
            "path": str(version.path),
        }
        for version in (*served, *list_rolled_back(base_path))
    ]
    return sorted(rows, key=lambda row: row["version"], reverse=True)


# What the metadata of a version says about it: of which type, and where it stands.
_TOLD: dict[str, tuple] = {
    "pushed_at": (str, "pushed_at"),
    "dataset": (str, "data", "dataset"),
    "preset": (str, "preset"),
    "fid": (int | float, "metrics", "fid"),
    "relative_fid": (int | float, "metrics", "relative_fid"),
    "blessed": (bool, "blessing", "blessed"),
    "forced": (bool, "blessing", "forced"),
    "run": (str, "mlmd", "pipeline_run_id"),
    "digest": (str, "model", "digest"),
}


def _told(metadata: Any, kind: Any, *keys: str) -> Any:
    """What metadata says under `keys`; None where that is of another type."""
    for key in keys:
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    if not isinstance(metadata, kind):
        return None
    return plain(metadata) if isinstance(metadata, str) else metadata


def _explain(error: OSError, base: pathlib.Path, model_dir: str | os.PathLike) -> str:
    # `shutil.copytree` gathers the errors of single files into one that has no number.
    reasons = (os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))
    if any(reason in str(error) for reason in reasons):
        needed = sum(file_sizes(model_dir).values())
        free = shutil.disk_usage(base).free
        return (
            f"the disk of {base} is full: nothing was pushed. The model has {needed:,} bytes, "
            f"{free:,} are free; free some space and run again"
        )
    return f"pushing to {base} failed ({error}): nothing was pushed"


def _remove_leftovers(base: pathlib.Path) -> None:
    """Removes staging folders whose process is gone (or was this one)."""
    for folder in base.glob(f"{_STAGING}*"):
        owner = re.fullmatch(rf"{re.escape(_STAGING)}\d+-(\d+)", folder.name)
        if owner is None or int(owner[1]) == os.getpid() or not _is_alive(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except (PermissionError, OverflowError):
        return True
    except ProcessLookupError:
        return False
    return True


def _read_metadata(version_dir: pathlib.Path) -> dict:
    # A version that something else put there is a version all the same.
    try:
        metadata = parse_json((version_dir / METADATA_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _flush(folder: pathlib.Path) -> None:
    """Brings every file and folder below `folder` to the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                os.fsync(file.fileno())
        _flush_directory(root)


def _flush_directory(folder: str | os.PathLike) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
