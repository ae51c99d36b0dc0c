"""What is said of workers that fail; whole runs on workers are in `tests/e2e/test_workers.py`."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import worker_pool_main
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher

from pipeline import engines, local_runner
from serving.server.listening import free_ports
from tests.conftest import REPOSITORY
from tests.pipeline.test_pipeline import make


@pytest.mark.parametrize(
    "text, told",
    [
        ("RuntimeError: Channel closed prematurely.", "a worker was lost"),
        ("ModuleNotFoundError: No module named 'components'\n", "has no module 'components'"),
        ("x\nEngineError: a worker on h can't [while running 'Map']\ny", "a worker on h can't"),
    ],
)
def test_a_worker_that_fails_is_one_sentence(text, told):
    sentence = engines.explain(text)
    assert told in sentence
    assert "\n" not in sentence and "while running" not in sentence


def test_other_failures_are_left_to_others():
    assert engines.explain("ValueError: no examples") is None


@pytest.fixture
def pool(tmp_path):
    """Address of a pool of workers in another process."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", worker_pool_main.__name__, "--service_port", str(port)],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"},
        stderr=subprocess.DEVNULL,
    )
    while engines._silent(f"localhost:{port}"):
        assert process.poll() is None
        time.sleep(0.1)
    yield f"localhost:{port}"
    process.terminate()
    process.wait(30)


def note_process(path: str) -> str:
    pathlib.Path(path).write_text(str(os.getpid()))
    return path


@pytest.mark.skipif(beam.__version__ != "2.59.0", reason="with Beam 2.77 the run waits: limits.md")
# Beam's own thread of the data, whose other end was killed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_is_lost_between_two_bundles_is_noticed(pool, tmp_path, monkeypatch):
    noted, bundles, told = tmp_path / "worker", [], []

    class Killing(engines._Connection):
        def push(self, req):
            if getattr(req, "instruction_id", "").startswith("bundle"):
                bundles.append(req)
                if len(bundles) == 2:
                    os.kill(int(noted.read_text()), signal.SIGKILL)
                    time.sleep(1)
            return super().push(req)

    def run() -> None:
        with engines._switchboard([pool]) as address:
            flags = [f"--runner={engines.__name__}.WorkersRunner", "--environment_type=EXTERNAL"]
            flags += ["--sdk_container_image=none", f"--environment_config={address}"]
            try:
                with beam.Pipeline(argv=flags) as pipeline:
                    made = pipeline | beam.Create([str(noted)]) | beam.Map(note_process)
                    _ = made | beam.Reshuffle() | beam.Map(str)
            except Exception as error:
                told.append(engines.explain(str(error)))

    monkeypatch.setattr(engines.worker_handlers, "ControlConnection", Killing)
    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(100)
    assert len(bundles) == 2, (told, running.is_alive())
    assert told == [engines._LOST]


def test_a_pool_whose_machine_is_gone_is_noticed(monkeypatch):
    monkeypatch.setattr(engines, "_SECONDS", 0.02)
    connection, (port,) = engines._Connection(), free_ports(1)
    waiting = connection.push(beam_fn_api_pb2.InstructionRequest(instruction_id="bundle_1"))
    engines._Connection.connected.add(connection)
    with engines._watched([f"localhost:{port}"]):
        error = waiting.get(60).error
    assert f"no worker pool answers at localhost:{port}" in engines.explain(error)
    later = connection.push(beam_fn_api_pb2.InstructionRequest(instruction_id="bundle_2"))
    assert later.get(60).error == error


def test_a_pool_that_is_gone_before_the_next_node_is_named():
    (port,) = free_ports(1)
    with engines._switchboard([f"localhost:{port}"]) as address:
        stub = engines.api.BeamFnExternalWorkerPoolStub(engines.grpc.insecure_channel(address))
        error = stub.StartWorker(beam_fn_api_pb2.StartWorkerRequest()).error
    assert engines.explain(error).startswith(f"no worker pool answers at localhost:{port}")


def test_flags_for_a_node_reach_beam_and_no_node_without_it(tmp_path, monkeypatch):
    compiled = local_runner._Compiler().run(make(tmp_path))
    deployment = runner_utils.extract_local_deployment_config(compiled)
    specs = []
    monkeypatch.setattr(
        launcher, "Launcher", lambda executor_spec, **others: specs.append(executor_spec)
    )
    flag = "--environment_type=EXTERNAL"
    runner = local_runner.ObservedDagRunner(None, None, "run", beam_args=[flag])
    for node in compiled.nodes[:3]:
        with pytest.raises(AttributeError):  # there is nothing that could be launched
            runner._run_node(node.pipeline_node, compiled, deployment)
    assert [flag in str(spec) for spec in specs] == [True, True, False]
