"""Small disks in memory, for tests of what happens when there is no more room."""

import os
import pathlib
import shutil
import subprocess

import pytest


def mount(folder: pathlib.Path, *options: str) -> None:
    """Mounts what `options` say at `folder`; skips the test where that is not allowed."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")


def fill(folder: pathlib.Path) -> pathlib.Path:
    """Writes a file that takes all that is left."""
    file = folder / "ballast"
    with open(file, "wb", buffering=0) as out, pytest.raises(OSError, match="No space left"):
        while True:
            out.write(bytes(4096))
    return file
