"""What becomes of the local server where clients, disks and queues misbehave.

    python -m benchmarks.serving_faults [--model DIR]

Each case says what was seen, as a row of the table in docs/reference/local-server.md. In each of
them a well-behaved client asks over REST all the while; its failures and its slowest answer are
part of the row.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import resource
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.serving import MODEL, fresh_generator, memory_mib
from common.contract import WARMUP_FILE
from serving import process
from serving.client import GeneratorClient, ServerError

BODY = b'{"signature_name": "generate", "instances": [{"seed": 1, "label": 7}]}'
HEAD = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
REQUEST = HEAD.encode() + BODY
IDLE = 1000
WARMUP_ASIDE = ".warmup"


class Bystander:
    """A well-behaved client that asks for one digit after the other.

    Attributes:
      seconds: of each answer.
      errors: what was refused.
    """

    def __init__(self, url: str):
        self.seconds: list[float] = []
        self.errors: list[str] = []
        self._url, self._done = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with GeneratorClient(self._url, model=MODEL, retries=0, timeout=60) as client:
            while not self._done.is_set():
                begun = time.perf_counter()
                try:
                    client.generate([1], 7)
                    self.seconds.append(time.perf_counter() - begun)
                except ServerError as error:
                    self.errors.append(str(error))

    def __enter__(self) -> "Bystander":
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._done.set()
        self._thread.join()

    def __str__(self) -> str:
        slowest = f", slowest {max(self.seconds):.2f} s" if self.seconds else ""
        return f"{len(self.seconds)} answers, {len(self.errors)} failures{slowest}"


def connect(server: process.Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.rest_port), 60)


def read_answer(connection: socket.socket) -> str:
    """Status and reason of an answer that is read to its end; "closed" where there is none."""
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        response.read()
    except (http.client.HTTPException, ConnectionError):
        return "closed"
    return f"{response.status} {response.reason}"


def slow_clients(server: process.Server, base_path: pathlib.Path) -> str:
    """50 clients that send a byte each 20 ms."""
    connections = [connect(server) for _ in range(50)]
    for i in range(len(REQUEST)):
        for connection in connections:
            connection.sendall(REQUEST[i : i + 1])
        time.sleep(0.02)
    lines = collections.Counter(read_answer(connection) for connection in connections)
    for connection in connections:
        connection.close()
    return f"50 clients sent a byte each 20 ms: {_counted(lines)}"


def half_open(server: process.Server, base_path: pathlib.Path) -> str:
    """200 clients that send half of a request and go away without a word."""
    before, connections = _descriptors(server), []
    for _ in range(200):
        connection = connect(server)
        connection.sendall(REQUEST[:-20])
        # A reset instead of a goodbye, as when a machine was switched off and on again.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connections.append(connection)
    during = _descriptors(server)
    for connection in connections:
        connection.close()
    time.sleep(1)
    return (
        f"200 clients sent half of a request and vanished: open files {before}, then {during}, "
        f"after it {_descriptors(server)}"
    )


def idle_connections(server: process.Server, base_path: pathlib.Path) -> str:
    """1,000 connections that ask once, rest, and ask again."""
    memory = memory_mib(server.pid)
    connections = [connect(server) for _ in range(IDLE)]
    for connection in connections:
        connection.sendall(b"GET /v1/models/digits HTTP/1.1\r\nHost: x\r\n\r\n")
        read_answer(connection)
    time.sleep(30)
    grown = memory_mib(server.pid) - memory
    lines = collections.Counter()
    for connection in connections:
        connection.sendall(b"GET /v1/models/digits HTTP/1.1\r\nHost: x\r\n\r\n")
        lines[read_answer(connection)] += 1
        connection.close()
    return (
        f"{IDLE:,} connections rested for 30 s and asked again: {_counted(lines)}; "
        f"memory +{grown:.0f} MiB"
    )


def full_queue(server: process.Server, base_path: pathlib.Path) -> str:
    """32 clients at once that ask for a whole batch each, where two batches may wait."""

    def ask(_: int) -> str:
        with GeneratorClient(server.rest_url, model=MODEL, retries=0) as client:
            try:
                client.generate(range(64), 7)
            except ServerError as error:
                return error.code.name
            return "OK"

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        codes = collections.Counter(pool.map(ask, range(320)))
    return f"320 requests of 32 clients, room for two batches in the queue: {_counted(codes)}"


def slow_load(server: process.Server, base_path: pathlib.Path) -> str:
    """A version whose warm-up is long."""
    staged = base_path / ".tmp-2"
    shutil.copytree(base_path / "1", staged)
    shutil.copy(base_path / WARMUP_ASIDE, staged / WARMUP_FILE)
    os.rename(staged, base_path / "2")
    seen: dict[str, float] = {}
    with GeneratorClient(server.rest_url, model=MODEL) as client:
        begun = time.monotonic()
        while "2 AVAILABLE, 1 END" not in seen and time.monotonic() - begun < 300:
            states = {v.version: v.state for v in client.versions()}
            shown = f"2 {states.get(2, 'unseen')}, 1 {states[1]}"
            seen.setdefault(shown, time.monotonic() - begun)
            time.sleep(0.1)
    return "; ".join(f"after {since:.0f} s {shown}" for shown, since in seen.items())


def unmounted(server: process.Server, base_path: pathlib.Path) -> str:
    """The folder of the versions is gone for 5 s and comes back with a new version."""
    away = base_path.with_name("away")
    base_path.rename(away)
    time.sleep(5)
    with GeneratorClient(server.rest_url, model=MODEL) as client:
        gone = {v.version: v.state for v in client.versions()}
        shutil.copytree(away / "1", away / "3")
        away.rename(base_path)
        begun = time.monotonic()
        while time.monotonic() - begun < 60:
            back = {v.version: v.state for v in client.versions()}
            if back.get(3) == "AVAILABLE":
                break
            time.sleep(0.1)
    return f"versions gone for 5 s: {gone}; back with version 3: {back}"


QUEUE = "max_batch_size {value: 64} max_enqueued_batches {value: 2} num_batch_threads {value: 1}"
# What each is called in the table, batching parameters, and more flags of its server.
CASES: dict[Callable[[process.Server, pathlib.Path], str], tuple[str, str, list[str]]] = {
    slow_clients: ("slow clients", "", []),
    half_open: ("half-open connections", "", []),
    idle_connections: ("idle keep-alive connections", "", []),
    full_queue: ("full queue", QUEUE, []),
    slow_load: ("a load of 30 s or more", "", ["--num_request_iterations_for_warmup=80"]),
    unmounted: ("unmounted disk", "", []),
}


def _counted(counts: collections.Counter) -> str:
    return ", ".join(f"{count} x {key}" for key, count in counts.most_common())


def _descriptors(server: process.Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


@contextlib.contextmanager
def _serving(
    model: pathlib.Path, parameters: str, flags: list[str]
) -> Iterator[tuple[process.Server, pathlib.Path]]:
    with tempfile.TemporaryDirectory() as temporary:
        base_path = pathlib.Path(temporary, MODEL)
        shutil.copytree(model, base_path / "1")
        os.rename(base_path / "1" / WARMUP_FILE, base_path / WARMUP_ASIDE)
        arguments = list(flags)
        if parameters:
            file = pathlib.Path(temporary, "batching.config")
            file.write_text(parameters)
            arguments += ["--enable_batching", f"--batching_parameters_file={file}"]
        with process.running(base_path, model=MODEL, arguments=arguments) as server:
            yield server, base_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, help="an exported generator")
    parser.add_argument("--only", nargs="*", help="cases, by the names of their functions")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8 * IDLE), most))
    with tempfile.TemporaryDirectory() as temporary:
        model = options.model or fresh_generator(pathlib.Path(temporary, "model"), 1)
        print("| case | what was done and seen | a client meanwhile |\n| --- | --- | --- |")
        for case, (name, *settings) in CASES.items():
            if options.only and case.__name__ not in options.only:
                continue
            with _serving(model, *settings) as (server, base_path):
                with Bystander(server.rest_url) as bystander:
                    seen = case(server, base_path)
                with GeneratorClient(server.rest_url, model=MODEL) as client:
                    assert np.isfinite(client.generate([1], 7)).all()
            print(f"| {name} | {seen} | {bystander} |", flush=True)


if __name__ == "__main__":
    main()
