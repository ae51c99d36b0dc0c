"""Files written whole or not at all, digests of what files hold, and disks that take no more.

Standard library only.
"""

import contextlib
import errno
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary name beside `path` to write to; becomes `path` if the block succeeds.

    Readers see the old file or the whole new one, after a power cut too. The folder is made where
    it is missing. An OSError of writing names `path`.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, because NumPy, Keras and Pillow look at it.
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes a file whole or not at all; text as UTF-8. See `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 (hexadecimal) of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def file_digests(folder: str | os.PathLike) -> dict[str, str]:
    """SHA-256 (hexadecimal) of every file below `folder`, by its path relative to it, sorted.

    Raises:
      PermissionError: a file or folder may not be read.
    """
    return {name: file_digest(path) for name, path in _files(folder).items()}


def file_sizes(folder: str | os.PathLike) -> dict[str, int]:
    """Bytes of every file below `folder`, by its path relative to it, sorted.

    Raises:
      PermissionError: a folder may not be read.
    """
    return {name: path.stat().st_size for name, path in _files(folder).items()}


def _files(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
    def refuse(error: OSError) -> None:  # `rglob` would pass over what may not be read
        if isinstance(error, PermissionError):
            raise error

    walk = os.walk(os.fspath(folder), onerror=refuse)
    paths = [pathlib.Path(below, name) for below, _, names in walk for name in names]
    named = {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}
    return dict(sorted(named.items()))


def combined_digest(files: Mapping[str, str]) -> str:
    """One digest of many files: of what `file_digests` returns."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def folder_digest(folder: str | os.PathLike) -> str:
    """SHA-256 (hexadecimal) over the names and contents of all files below a folder.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {os.fspath(folder)}")
    return combined_digest(file_digests(folder))


# What SQLite says, by what the system says.
_FULL = "database or disk is full"
_ROOM = "make room and run again; what was finished is kept"
_LIMIT = "raise the limit of `ulimit -f` and run again; what was finished is kept"
_MEND = "mend that and run again; what was finished is kept"
_REASONS = {
    os.strerror(errno.ENOSPC): _ROOM,
    _FULL: _ROOM,
    os.strerror(errno.EDQUOT): _ROOM,
    os.strerror(errno.EFBIG): _LIMIT,
    os.strerror(errno.EROFS): _MEND,
    "attempt to write a readonly database": _MEND,
    os.strerror(errno.EIO): _MEND,
    "disk I/O error": _MEND,  # SQLite's for a quota too
    "cannot commit - no transaction is active": _MEND,  # it undid what could not be written
}


def disk_fault(said: str, *folders: str | os.PathLike) -> str | None:
    """What to tell where a disk is full, over its quota, read-only or failing.

    Args:
      said: the message of an error. Libraries hand on the words of the system, or of SQLite.
      folders: where it may have been written; the first one with the least room is named.

    Returns:
      A sentence with the folder and the bytes that are free there. How many more were needed the
      system does not say. None where the error is another.
    """
    for reason, then in _REASONS.items():
        if reason in said:
            disks: dict[int, int] = {}  # asked once each: room on a disk changes while it is asked
            room = {
                os.fspath(folder): disks.setdefault(
                    os.stat(folder).st_dev, shutil.disk_usage(folder).free
                )
                for folder in folders
                if os.path.isdir(folder)
            }
            folder = min(room, key=lambda name: room[name], default="a folder that is gone")
            what = os.strerror(errno.ENOSPC) if reason == _FULL else reason
            free = f" ({room[folder]:,} bytes are free)" if room else ""
            return f"{what[0].lower()}{what[1:]} under {folder}{free}: {then}"
    return None
