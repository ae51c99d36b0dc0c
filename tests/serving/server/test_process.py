"""The server as a process: what it says, how it ends."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from serving import process
from serving.server.listening import free_ports
from tests.conftest import REPOSITORY
from tests.serving.server import saved_models


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "serving.server", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        command(*arguments), env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("flag", ["--port", "--rest_api_port"])
def test_a_port_that_is_taken_is_told_in_one_line_before_tensorflow_is_loaded(flag, tmp_path):
    other = free_ports(1)[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = {"--port": other, "--rest_api_port": other, flag: port}
        if flag == "--port":
            arguments.pop("--rest_api_port")
        done = run(f"--model_base_path={tmp_path}", *(f"{k}={v}" for k, v in arguments.items()))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"mnist-gan serve: port {port} of 127.0.0.1 is in use; choose another with {flag}"
    )
    assert done.stdout == ""


def test_wrong_flags_exit_with_2_and_no_traceback():
    done = run("--enable_profiler=true", "--model_base_path=/m")
    assert done.returncode == 2
    assert "has no profiler" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.e2e
def test_sigterm_lets_running_requests_end_and_exits_with_0(tmp_path):
    saved_models.write_slow(tmp_path / "slow" / "1")
    body = {"instances": [20_000]}
    with process.running(tmp_path / "slow", model="slow") as server:
        url = f"{server.rest_url}/v1/models/slow:predict"
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(httpx.post, url, json=body, timeout=60, trust_env=False)
            time.sleep(0.2)
            assert not answer.done(), "the request is to be running when the signal comes"
            os.kill(server.pid, signal.SIGTERM)
            assert "with exit code 0" in server.ended(30)
            assert answer.result().status_code == 200, answer.result().text


@pytest.mark.e2e
def test_a_model_that_does_not_load_exits_with_1_and_says_why(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    grpc_port = free_ports(1)[0]
    done = run(
        f"--model_base_path={tmp_path / 'm'}", f"--port={grpc_port}", "--max_num_load_retries=0"
    )
    assert done.returncode == 1
    assert "Could not find SavedModel" in done.stderr
    assert "This is mnist-gan's local server, not TF Serving" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.e2e
def test_a_server_that_waits_for_its_first_version_says_so_and_can_be_stopped(tmp_path):
    arguments = command(f"--model_base_path={tmp_path}", f"--port={free_ports(1)[0]}")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as server:
        for line in server.stderr:
            if "No versions of servable default found" in line:
                break
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
