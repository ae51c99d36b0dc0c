"""A run on Beam workers in other processes: the same generator, or one sentence."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest

from common.files import file_digest
from pipeline.provenance import SOURCES
from serving.server.listening import free_ports
from tests.conftest import REPOSITORY
from tests.e2e.conftest import call, run

pytestmark = pytest.mark.e2e

BEAM_NODES = {"MnistExampleGen", "StatisticsGen", "Transform", "Evaluator"}


class Pool:
    """`mnist-gan worker` in a process and a folder of its own."""

    def __init__(self, folder: pathlib.Path, sources: pathlib.Path = REPOSITORY):
        self.log = folder / "worker.log"
        (port,) = free_ports(1)
        self.address = f"localhost:{port}"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "worker", "--port", str(port)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(sources)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(lambda: answers(port))


def answers(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), 1).close()
    except OSError:
        return False
    return True


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def pools(tmp_path):
    """Two pools with the sources that run here."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(Pool(tmp_path / name))
    yield made
    for pool in made:
        pool.process.terminate()
        pool.process.wait(30)


def engine(*pools: Pool) -> list[str]:
    return ["--engine", "workers://" + ",".join(pool.address for pool in pools)]


def weights(workspace: pathlib.Path) -> set[str]:
    return {
        file_digest(path) for path in workspace.glob("serving/*/*/variables/variables.data-00000*")
    }


def test_workers_make_the_generator_of_a_plain_run(made, pools, tmp_path):
    workspace = tmp_path / "workspace"
    whole = run(workspace, *engine(*pools))
    assert whole.exit_code == 0, whole.stderr
    for pool in pools:
        # One to try it out and at least one for each node.
        assert pool.log.read_text().count("Starting worker") > len(BEAM_NODES)
    reference, plain = made
    assert weights(workspace) == weights(reference)
    fid = plain.document["metrics"]["fid"]
    assert whole.document["metrics"]["fid"] == pytest.approx(fid, rel=1e-9)

    here = run(workspace)
    assert set(here.states().values()) == {"CACHED"}, "where Beam works decides nothing"


def test_workers_with_other_code_are_refused(tmp_path):
    for name in SOURCES:
        shutil.copytree(REPOSITORY / name, tmp_path / "sources" / name)
    with (tmp_path / "sources" / "components" / "preprocessing.py").open("a") as file:
        file.write("\nANOTHER = 1\n")
    pool = Pool(tmp_path, tmp_path / "sources")
    try:
        refused = call(tmp_path / "workspace", *engine(pool))
    finally:
        pool.process.terminate()
        pool.process.wait(30)
    assert refused.returncode == 2
    assert "has another version of mnist-gan" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_pool_that_is_not_there_is_named(tmp_path):
    (port,) = free_ports(1)
    refused = call(tmp_path / "workspace", "--engine", f"workers://localhost:{port}")
    assert refused.returncode == 2
    assert f"`mnist-gan worker --port {port}`" in refused.stderr
    assert "Traceback" not in refused.stderr
