"""Files written whole or not at all, and digests of what files hold. Standard library only."""

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary name beside `path` to write to; becomes `path` if the block succeeds.

    Readers see the old file or the whole new one, after a power cut too. The folder is made where
    it is missing.
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
    """SHA-256 (hexadecimal) of every file below `folder`, by its path relative to it, sorted."""
    root = pathlib.Path(folder)
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return {name: file_digest(root / name) for name in names}


def file_sizes(folder: str | os.PathLike) -> dict[str, int]:
    """Bytes of every file below `folder`, by its path relative to it, sorted."""
    root = pathlib.Path(folder)
    found = ((p.relative_to(root).as_posix(), p) for p in root.rglob("*") if p.is_file())
    return {name: path.stat().st_size for name, path in sorted(found)}


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
