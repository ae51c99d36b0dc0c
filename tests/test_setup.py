"""What `make` sets up: which stack and which Python, and what it says where it can't."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import REPOSITORY

# Has what is asked for, answers with its own path, and makes no environment.
PYTHON = '[ "$1" != -m ] || exit 7; case $2 in *ensurepip*) ;; *) echo "$0" ;; esac'


@pytest.fixture
def choice(tmp_path):
    """Calls tools/setup.sh on a simulated platform, where it chooses and comes no further.

    Takes what `uname -s`, `uname -m` and `getconf GNU_LIBC_VERSION` say ("" for none), the names of
    the Pythons that are there, and environment variables.
    """

    def call(system="Linux", machine="x86_64", libc="glibc 2.41", pythons=(), **variables: str):
        programs = {
            "uname": f'case $1 in -s) echo "{system}" ;; -m) echo "{machine}" ;; esac',
            "getconf": f'echo "{libc}"' if libc else "exit 1",
            **dict.fromkeys(("python3", "python3.10", "python3.12", "python3.13", "uv"), "exit 1"),
        }
        for name, body in {**programs, **dict.fromkeys(pythons, PYTHON)}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)
        # A copy, so that whatever it does is not done to this checkout.
        script = tmp_path / "clone" / "tools" / "setup.sh"
        script.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "tools" / "setup.sh", script)
        return subprocess.run(
            ["sh", script],
            env={"PATH": f"{tmp_path}:{os.defpath}", "HOME": "/nonexistent", **variables},
            capture_output=True,
            text=True,
        )

    return call


def test_an_unknown_stack_is_refused(choice):
    done = choice(STACK="tfx-2")
    assert done.returncode == 1
    assert done.stderr == "setup: STACK is 'tfx-2'; it takes tfx-1.16 or tfx-1.21.\n"


@pytest.mark.parametrize("stack", ["tfx-1.16", "tfx-1.21"])
def test_a_python_that_the_lock_is_not_for_is_refused(choice, stack):
    done = choice(STACK=stack, PYTHON_VERSION="3.11")
    assert done.returncode == 1
    assert f"stack {stack}: asked for by STACK, and PYTHON_VERSION asks for 3.11" in done.stderr
    assert "Get a Python 3.1" in done.stderr


@pytest.mark.parametrize(
    ("platform", "stack", "why"),
    [
        ({"libc": "glibc 2.36"}, "tfx-1.16", "tfx-1.21 needs glibc 2.39, here is glibc 2.36"),
        ({"libc": "glibc 2.41"}, "tfx-1.21", "glibc 2.41; but no Python for it was found"),
        ({"system": "Darwin", "machine": "arm64", "libc": ""}, "tfx-1.21", "Apple silicon"),
    ],
    ids=["old glibc", "new glibc", "Apple silicon"],
)
def test_the_platform_decides_which_stack_is_looked_for(choice, platform, stack, why):
    done = choice(**platform)
    assert done.returncode == 1
    assert f"setup: stack {stack}: " in done.stderr and why in done.stderr
    assert "Get a Python 3.1" in done.stderr


@pytest.mark.parametrize(
    ("platform", "name", "advice"),
    [
        ({"libc": ""}, "musl", "x86-64 Linux with glibc"),
        ({"machine": "aarch64"}, "Linux on aarch64", "x86-64 Linux with glibc"),
        ({"system": "MINGW64_NT-10.0-22631"}, "Windows", "WSL2"),
        ({"system": "Darwin"}, "macOS on Intel", "x86-64 Linux with glibc"),
        ({"system": "FreeBSD", "machine": "amd64"}, "FreeBSD on amd64", "x86-64 Linux with glibc"),
    ],
    ids=["musl", "Linux on ARM", "Windows", "Intel Mac", "FreeBSD"],
)
def test_a_platform_without_wheels_gets_one_message(choice, platform, name, advice):
    for stack in ("", "tfx-1.21"):
        done = choice(**platform, STACK=stack)
        assert done.returncode == 1
        assert name in done.stderr and advice in done.stderr
        assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("platform", "stack"),
    [({"libc": "glibc 2.36"}, "tfx-1.21"), ({"system": "Darwin", "machine": "arm64"}, "tfx-1.16")],
)
def test_a_stack_without_wheels_for_the_platform_is_refused(choice, platform, stack):
    done = choice(**platform, STACK=stack)
    assert done.returncode == 1
    assert f"STACK asks for {stack}, which has no wheels for" in done.stderr


def test_the_newest_stack_that_a_python_is_there_for_is_taken(choice):
    old, new = "python3.10", "python3.13"
    said = choice(pythons=[old]).stderr
    assert "stack tfx-1.16 with" in said and "there is no Python 3.12 or 3.13" in said
    assert "stack tfx-1.21 with" in choice(pythons=[old, new]).stderr
    mac = {"system": "Darwin", "machine": "arm64", "libc": ""}
    assert "stack tfx-1.21 with" in choice(**mac, pythons=[old, new]).stderr


def test_a_missing_compiler_is_named_before_anything_is_installed(choice):
    done = choice(pythons=["python3.13"])
    assert done.returncode == 1
    assert "g++ python3-dev" in done.stderr and "installing" not in done.stderr
