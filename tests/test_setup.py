"""What `make` sets up: which stack and which Python, and what it says where it can't."""

import os
import subprocess

import pytest

from tests.conftest import REPOSITORY


def choice(**environment: str) -> subprocess.CompletedProcess:
    """tools/setup.sh where it finds nothing to install with, so that it ends with its choice."""
    return subprocess.run(
        ["sh", REPOSITORY / "tools" / "setup.sh"],
        env={"PATH": os.defpath, "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
    )


def test_an_unknown_stack_is_refused():
    done = choice(STACK="tfx-2")
    assert done.returncode == 1
    assert done.stderr == "setup: STACK is 'tfx-2'; it takes tfx-1.16 or tfx-1.21.\n"


@pytest.mark.parametrize("stack", ["tfx-1.16", "tfx-1.21"])
def test_a_python_that_the_lock_is_not_for_is_refused(stack):
    done = choice(STACK=stack, PYTHON_VERSION="3.11")
    assert done.returncode == 1
    assert f"stack {stack}: asked for by STACK, and PYTHON_VERSION asks for 3.11" in done.stderr
    assert "Get a Python 3.1" in done.stderr


def test_an_old_c_library_takes_the_older_stack(tmp_path):
    getconf = tmp_path / "getconf"
    getconf.write_text("#!/bin/sh\necho glibc 2.36\n")
    getconf.chmod(0o755)
    done = choice(PATH=f"{tmp_path}:{os.defpath}", PYTHON_VERSION="3.13")
    assert done.returncode == 1
    assert "stack tfx-1.16: tfx-1.21 needs glibc 2.39, here is glibc 2.36" in done.stderr
