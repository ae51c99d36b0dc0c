"""A whole run where everything is as narrow as can be."""

import os
import resource
import subprocess
import sys

import pytest

from common.workspace import Workspace
from serving import versions
from tests.conftest import REPOSITORY
from tests.e2e.conftest import arguments

pytestmark = pytest.mark.e2e


def limit() -> None:
    """64 open files, one core, files for the user alone."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.umask(0o077)


def test_a_run_with_few_files_one_core_no_home_c_locale_and_20_columns(tmp_path):
    command = [sys.executable, "-m", "pipeline", *arguments(tmp_path / "ws")]
    command.remove("--json")
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "LANG", "LC_CTYPE")}
    environment |= {"LC_ALL": "C", "COLUMNS": "20", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, env=environment, preexec_fn=limit, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    [version] = versions.list_versions(Workspace.at(tmp_path / "ws").serving)
    assert version.path.stat().st_mode & 0o077 == 0
