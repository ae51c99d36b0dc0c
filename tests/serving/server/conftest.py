"""Servers to ask: the local one, and TF Serving where it is on PATH or named."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import time

import grpc
import httpx
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving import process
from serving.process import PROGRAM, VARIABLE
from serving.server import flags
from serving.server.listening import free_ports
from serving.server.model_server import ModelServer
from tests.serving.server import saved_models

REAL_SERVER = os.environ.get(VARIABLE) or shutil.which(PROGRAM)
REST_TIMEOUT_MS = 3000


@dataclasses.dataclass
class Running:
    """A server and ways to ask it."""

    grpc_port: int
    rest_port: int
    server: ModelServer | None = None

    def __post_init__(self):
        self.url = f"http://127.0.0.1:{self.rest_port}"
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def close(self):
        self.http.close()
        self.channel.close()

    def predict(self, path: str, document) -> httpx.Response:
        """POST /v1/models/`path`:predict."""
        return self.http.post(f"/v1/models/{path}:predict", json=document)

    def versions(self, name: str = "digits") -> dict[int, str]:
        """Version and state of a model."""
        statuses = self.http.get(f"/v1/models/{name}").json().get("model_version_status", [])
        return {int(status["version"]): status["state"] for status in statuses}


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> pathlib.Path:
    """A base path with versions 1, 2 and 3 of the tiny generator; tests copy it."""
    folder = tmp_path_factory.mktemp("digits")
    for version in (1, 2, 3):
        saved_models.write_generator(folder / str(version), scale=float(version))
    return folder


@pytest.fixture
def base_path(digits, tmp_path) -> pathlib.Path:
    """A base path of one's own with version 1."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copytree(digits / "1", folder / "1")
    return folder


def push(digits: pathlib.Path, base_path: pathlib.Path, version: int, as_version: int = 0) -> None:
    """Publishes a version as the Pusher does: a copy aside, then a rename."""
    staging = base_path / ".tmp-push"
    shutil.copytree(digits / str(version), staging)
    os.rename(staging, base_path / str(as_version or version))


@pytest.fixture(scope="session")
def config_file(digits, tmp_path_factory) -> pathlib.Path:
    """Models of every kind, in TF Serving's own configuration format."""
    folder = tmp_path_factory.mktemp("models")
    saved_models.write_half_plus_two(folder / "half_plus_two" / "00000123")
    saved_models.write_types(folder / "types" / "1")
    saved_models.write_slow(folder / "slow" / "1")
    models = {
        "digits": (
            digits,
            "model_version_policy { specific { versions: 1 versions: 2 } }"
            'version_labels { key: "stable" value: 1 }'
            'version_labels { key: "canary" value: 2 }',
        ),
        **{n: (folder / n, "") for n in ("half_plus_two", "types", "slow")},
    }
    file = folder / "models.config"
    entries = [
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" {more} }}'
        for name, (path, more) in models.items()
    ]
    file.write_text("model_config_list { " + "\n".join(entries) + " }")
    return file


@pytest.fixture(scope="session", params=["local", "real"])
def server(request, digits, config_file, tmp_path_factory):
    """A running server with the models of `config_file`, started by the same command line."""
    if request.param == "real" and not REAL_SERVER:
        pytest.skip("TF Serving is not at hand: TENSORFLOW_MODEL_SERVER names its program")
    monitoring = tmp_path_factory.mktemp("monitoring") / "monitoring.config"
    monitoring.write_text(
        'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }'
    )
    arguments = [
        f"--model_config_file={config_file}",
        "--allow_version_labels_for_unavailable_models=true",
        f"--rest_api_timeout_in_ms={REST_TIMEOUT_MS}",
        f"--monitoring_config_file={monitoring}",
    ]
    program = REAL_SERVER if request.param == "real" else ""
    with process.running(digits, model="digits", program=program, arguments=arguments) as started:
        running = Running(started.grpc_port, started.rest_port)
        yield running
        running.close()


@contextlib.contextmanager
def _starter():
    with contextlib.ExitStack() as stack:

        def starter(base_path, *arguments: str, **options) -> Running:
            grpc_port, rest_port = free_ports(2)
            parsed = flags.parse(
                [
                    f"--model_base_path={base_path}",
                    "--model_name=digits",
                    f"--port={grpc_port}",
                    f"--rest_api_port={rest_port}",
                    "--max_num_load_retries=0",
                    *arguments,
                ]
            )
            server = ModelServer(parsed, **options)
            stack.callback(server.stop)
            # A test should not wait a second for each change of a folder.
            server.core.manager._poll_seconds = 0.05
            server.start()
            running = Running(grpc_port, rest_port, server=server)
            stack.callback(running.close)
            return running

        yield starter


@pytest.fixture
def start():
    """Starts local servers in this process: start(base_path, "--flag=value", ...)."""
    with _starter() as starter:
        yield starter


@pytest.fixture(scope="module")
def start_once():
    """`start` for servers that the tests of a module share: none of them changes anything."""
    with _starter() as starter:
        yield starter


@pytest.fixture(scope="module")
def limited(start_once, digits):
    """A shared server of version 3 with low limits."""
    return start_once(digits, "--max_request_bytes=200000", "--max_batch_rows=64")


def eventually(check, seconds: float = 20.0):
    """Waits until `check()` is true."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)
