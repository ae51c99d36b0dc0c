"""Workers elsewhere for the nodes that use Beam; what does not use Beam stays in this process.

`mnist-gan worker` starts a pool on a machine that has this project installed and sees the workspace
under the same path. `mnist-gan run --engine workers://HOST:PORT,HOST:PORT` asks each pool for one
worker per node. Whoever reaches a pool's port can run code there, as with all of Beam's workers:
pools belong on a trusted network.
"""

import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import socket
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import ClassVar

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.portability.api import beam_fn_api_pb2_grpc as api
from apache_beam.runners import runner
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.runners.worker import worker_pool_main
from apache_beam.transforms import environments

from pipeline import provenance

_SECONDS = 10  # that a pool may take to answer
_LOOKS = 6  # so many times, as many seconds apart, until a silent pool counts as lost
_NODES = ("components.mnist_example_gen", "components.preprocessing", "components.evaluator")
_PROBLEM = "EngineError: "
_LOST = "a worker was lost: see what its pool prints, and run again; what was finished is kept"


class EngineError(ValueError):
    """The workers can't be used; the message says what to do."""


class _Connection(worker_handlers.ControlConnection):
    """To one worker. Beam's own waits for ever for a worker that is lost between two bundles."""

    connected: ClassVar[set["_Connection"]] = set()
    _lost = ""

    def _read(self) -> None:
        _Connection.connected.add(self)
        # The other side is gone: gRPC raises whatever was the reason.
        with contextlib.suppress(Exception):
            super()._read()
        self.lose(f"{_PROBLEM}{_LOST}")

    def lose(self, message: str) -> None:
        """Lets all that waits for this worker, now or later, fail with `message`."""
        _Connection.connected.discard(self)
        self._lost = message
        for identity, future in list(self._futures_by_id.items()):
            future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=identity, error=message))

    def push(self, req):
        future = super().push(req)
        if self._lost:
            self.lose(self._lost)
        return future

    def close(self) -> None:
        if self._lost:  # its thread may read for ever
            self.push(worker_handlers.BeamFnControlServicer._DONE_MARKER)
        else:
            super().close()


worker_handlers.ControlConnection = _Connection


class WorkersRunner(runner.PipelineRunner):
    """Beam's own runner with the workers of --environment_config."""

    def run_pipeline(self, pipeline, options):
        place = environments.ExternalEnvironment.from_options(options.view_as(PortableOptions))
        return fn_runner.FnApiRunner(default_environment=place).run_pipeline(pipeline, options)


@contextlib.contextmanager
def beam_flags(pools: Sequence[str], workspace: pathlib.Path) -> Iterator[Sequence[str]]:
    """Flags that let Beam use the workers of `pools` while the block runs.

    Beam asks one address for all workers: one of this process, which asks the pools in turn.

    Args:
      pools: HOST:PORT of each; none means this process.
      workspace: a folder that exists here, and is looked for on every worker.

    Raises:
      EngineError: a pool does not answer, or its workers lack this project, have other code than
        this process, or do not see the workspace.
    """
    if not pools:
        yield ()
        return
    for pool in pools:
        if silent := _silent(pool):
            raise EngineError(silent)
    with _switchboard(pools) as address, _watched(pools):
        flags = (
            f"--runner={__name__}.{WorkersRunner.__name__}",
            "--sdk_container_image=none",
            "--environment_type=EXTERNAL",
            f"--environment_config={address}",
            f"--direct_num_workers={len(pools)}",
        )
        _try_workers(flags, len(pools), workspace)
        yield flags


def _silent(pool: str) -> str | None:
    """A sentence where no pool answers at HOST:PORT."""
    host, _, port = pool.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
    except OSError as error:
        return (
            f"no worker pool answers at {pool} ({error.strerror or error}): start one there with "
            f"`mnist-gan worker --port {port}`; what was finished is kept"
        )
    return None


@contextlib.contextmanager
def _watched(pools: Sequence[str]) -> Iterator[None]:
    """Lets nodes fail whose pool does not answer for a minute: its machine or network is gone."""
    ended = threading.Event()

    def watch() -> None:
        looks = dict.fromkeys(pools, 0)
        while not ended.wait(_SECONDS):
            for pool in looks:
                silent = _silent(pool)
                looks[pool] = looks[pool] + 1 if silent else 0
                if looks[pool] >= _LOOKS:
                    for connection in list(_Connection.connected):
                        connection.lose(f"{_PROBLEM}{silent}")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextlib.contextmanager
def _switchboard(pools: Sequence[str]) -> Iterator[str]:
    """Address of a server that hands requests for workers to `pools` in turn."""
    stubs = itertools.cycle(
        [(pool, api.BeamFnExternalWorkerPoolStub(grpc.insecure_channel(pool))) for pool in pools]
    )

    class Switchboard(api.BeamFnExternalWorkerPoolServicer):
        def StartWorker(self, request, context):
            pool, stub = next(stubs)
            try:
                return stub.StartWorker(request, timeout=_SECONDS)
            except grpc.RpcError as error:
                problem = _silent(pool) or f"the worker pool at {pool} starts none: {error}"
                return beam_fn_api_pb2.StartWorkerResponse(error=f"{_PROBLEM}{problem}")

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    api.add_BeamFnExternalWorkerPoolServicer_to_server(Switchboard(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def _try_workers(flags: Sequence[str], workers: int, workspace: pathlib.Path) -> None:
    mark = workspace / f".workers-{uuid.uuid4().hex}"
    mark.touch()
    try:
        with beam.Pipeline(argv=list(flags)) as pipeline:
            (
                pipeline
                | beam.Create(range(workers), reshuffle=True)
                | beam.Map(_check_worker, str(mark), provenance.source_hash(*_NODES))
            )
    except Exception as error:
        raise EngineError(explain(str(error)) or f"the workers can't be used: {error}") from error
    finally:
        mark.unlink()


def _check_worker(_, mark: str, source: str) -> None:
    """Raises EngineError where the worker that runs this differs from the process that asked."""
    if not os.access(mark, os.R_OK | os.W_OK):
        raise EngineError(
            f"a worker on {socket.gethostname()} can't read and write {os.path.dirname(mark)}: "
            "workers must see the workspace under the same path, as a user who may write it"
        )
    if provenance.source_hash(*_NODES) != source:
        raise EngineError(
            f"a worker on {socket.gethostname()} has another version of mnist-gan: install there "
            "the one that runs here"
        )


def explain(text: str) -> str | None:
    """What a worker's failure means in one sentence; None where `text` tells of something else."""
    if _PROBLEM in text:
        return text.partition(_PROBLEM)[2].splitlines()[0].partition(" [while running")[0]
    if "ModuleNotFoundError" in text:
        module = text.partition("No module named ")[2].splitlines()[0].split(" ")[0]
        return f"a worker has no module {module}: install mnist-gan where the worker pool runs"
    if "Channel closed prematurely" in text:
        return _LOST
    return None


def serve_pool(port: int) -> None:
    """Starts a worker process for each node that asks for one, until this process is stopped."""
    # Beam starts workers as "python": let it be the one that has this project.
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    worker_pool_main.main(["--service_port", str(port)])
