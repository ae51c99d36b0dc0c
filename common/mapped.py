"""Arrays that may be too large for memory: past a size they lie in a file that is mapped.

A mapped array is read-only and used as any other; the system keeps in memory what it has room for.
NumPy only.
"""

import os
import tempfile
import zipfile
from collections.abc import Iterable

import numpy as np

IN_MEMORY = 1 << 28  # bytes, 256 MiB: the 60,000 train images of MNIST as floats take 188 MB


def joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    """`np.concatenate(parts)`; more than IN_MEMORY bytes in a file below the temporary folder.

    The file has no name: it is gone when the last array that shows it is. `TMPDIR` says where it
    is; the folder must not lie in memory itself.

    Args:
      parts: one array at least, alike but for their lengths.

    Raises:
      OSError: the disk is full.
    """
    waiting: list[np.ndarray] = []
    length = size = 0
    file = None
    for part in parts:
        waiting.append(part)
        length, size = length + len(part), size + part.nbytes
        if size > IN_MEMORY:
            file = file or tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            for rows in waiting:
                file.write(np.ascontiguousarray(rows).data)
            waiting.clear()
    if file is None:
        return np.concatenate(waiting)
    with file:
        file.flush()
        return np.memmap(file, part.dtype, "r", shape=(length, *part.shape[1:]))


def load(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a file of `np.savez`; those of more than IN_MEMORY bytes are mapped.

    Raises:
      Whatever NumPy and zipfile raise for files that are damaged.
    """
    with np.load(path, allow_pickle=False) as archive:
        members = {info.filename: info for info in archive.zip.infolist()}
        return {
            name: _member(path, archive.zip, members[f"{name}.npy"])
            if members[f"{name}.npy"].file_size > IN_MEMORY
            else archive[name]
            for name in archive.files
        }


def _member(
    path: str | os.PathLike, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> np.ndarray:
    """An array within a zip file, where `np.savez` stores it as it is."""
    with open(path, "rb") as file, archive.open(member) as stored:
        version = np.lib.format.read_magic(stored)
        read = {(1, 0): np.lib.format.read_array_header_1_0}[version]
        shape, fortran, dtype = read(stored)
        # Before the array there are the member's own header, its name and extra field, and NumPy's.
        file.seek(member.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
        start = member.header_offset + 30 + int(lengths.sum()) + stored.tell()
        return np.memmap(file, dtype, "r", start, shape, "F" if fortran else "C")
