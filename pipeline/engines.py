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
import uuid
from collections.abc import Iterator, Sequence

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.portability.api import beam_fn_api_pb2_grpc as api
from apache_beam.runners import runner
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.worker import worker_pool_main
from apache_beam.transforms import environments

from pipeline import provenance

_SECONDS = 10  # that a pool may take to answer
_NODES = ("components.mnist_example_gen", "components.preprocessing", "components.evaluator")
_PROBLEM = "EngineError: "


class EngineError(ValueError):
    """The workers can't be used; the message says what to do."""


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
        host, _, port = pool.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
        except OSError as error:
            raise EngineError(
                f"no worker pool answers at {pool} ({error.strerror or error}): start one there "
                f"with `mnist-gan worker --port {port}`"
            ) from None
    with _switchboard(pools) as address:
        flags = (
            f"--runner={__name__}.{WorkersRunner.__name__}",
            "--sdk_container_image=none",
            "--environment_type=EXTERNAL",
            f"--environment_config={address}",
            f"--direct_num_workers={len(pools)}",
        )
        _try_workers(flags, len(pools), workspace)
        yield flags


@contextlib.contextmanager
def _switchboard(pools: Sequence[str]) -> Iterator[str]:
    """Address of a server that hands requests for workers to `pools` in turn."""
    stubs = itertools.cycle(
        [api.BeamFnExternalWorkerPoolStub(grpc.insecure_channel(pool)) for pool in pools]
    )

    class Switchboard(api.BeamFnExternalWorkerPoolServicer):
        def StartWorker(self, request, context):
            return next(stubs).StartWorker(request, timeout=_SECONDS)

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
        return (
            "a worker was lost while it worked: see what its pool prints, and run again; what was "
            "finished is kept"
        )
    return None


def serve_pool(port: int) -> None:
    """Starts a worker process for each node that asks for one, until this process is stopped."""
    # Beam starts workers as "python": let it be the one that has this project.
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    worker_pool_main.main(["--service_port", str(port)])
