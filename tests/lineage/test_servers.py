"""Stores behind a server read like files: MySQL (where there is one to start) and gRPC."""

import concurrent.futures
import contextlib
import getpass
import pathlib
import shutil
import socket
import subprocess
import time

import grpc
import ml_metadata as mlmd
import pytest
from click.testing import CliRunner
from google.protobuf import message_factory, symbol_database
from ml_metadata.proto import metadata_store_pb2 as pb
from ml_metadata.proto import metadata_store_service_pb2 as service_pb

from benchmarks.lineage import make_store
from lineage import documents
from lineage.store import connect, open_store
from pipeline.cli import main

RUNS = 6


@contextlib.contextmanager
def served(path: pathlib.Path):
    """An ML Metadata gRPC server on the SQLite file `path`; yields its port."""
    store = connect(path, readonly=False)

    def answer(method):
        def call(request, context):
            response = _class_of(method.output_type)()
            try:
                store._call(method.name, request, response)
            except mlmd.errors.StatusError as error:
                codes = {code.value[0]: code for code in grpc.StatusCode}
                context.abort(codes[error.error_code], error.message)
            return response

        return grpc.unary_unary_rpc_method_handler(
            call,
            _class_of(method.input_type).FromString,
            _class_of(method.output_type).SerializeToString,
        )

    service = service_pb.DESCRIPTOR.services_by_name["MetadataStoreService"]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    handlers = {method.name: answer(method) for method in service.methods}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service.full_name, handlers)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None)


def _class_of(descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return symbol_database.Default().GetPrototype(descriptor)


def test_a_store_behind_a_grpc_server_reads_like_its_file(stock_file):
    with served(stock_file) as port:
        remote = open_store(f"grpc://127.0.0.1:{port}")
        local = open_store(stock_file)
        assert documents.runs(remote) == documents.runs(local)
        assert documents.trace(remote, [16]) == documents.trace(local, [16])


def test_a_grpc_answer_may_be_larger_than_four_megabytes(tmp_path):
    path = tmp_path / "metadata.sqlite"
    store = connect(path, readonly=False)
    make_store(store, 2)
    artifacts = store.get_artifacts()
    for artifact in artifacts:
        artifact.custom_properties["long"].string_value = "x" * (6_000_000 // len(artifacts))
    store.put_artifacts(artifacts)
    with served(path) as port:
        found = open_store(f"grpc://127.0.0.1:{port}").all_artifacts
    assert len(found) == len(artifacts)


def test_a_server_that_is_not_there_is_named_without_its_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for uri in (f"mysql://me:secret@127.0.0.1:{port}/db", f"grpc://127.0.0.1:{port}"):
        result = CliRunner().invoke(main, ["lineage", "runs"], env={"MNIST_GAN_METADATA": uri})
        assert result.exit_code == 2
        assert "can't be read" in result.output
        assert "secret" not in result.output
        assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def mysql_port(tmp_path_factory):
    """A MariaDB of this machine's own, with a database and a user for the tests."""
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    client = shutil.which("mariadb")
    if not (server and install and client):
        pytest.skip("no mariadbd on PATH to start (Debian: apt-get install mariadb-server)")
    folder = tmp_path_factory.mktemp("mysql")
    data, log = folder / "data", (folder / "log").open("w")
    user = f"--user={getpass.getuser()}"
    subprocess.run(
        [install, "--no-defaults", user, f"--datadir={data}", "--auth-root-authentication-method"
         "=normal", "--skip-test-db"],
        check=True, stdout=log, stderr=log,
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [server, "--no-defaults", user, f"--datadir={data}", f"--socket={folder}/s",
         f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder}/pid"],
        stdout=log, stderr=log,
    )  # fmt: skip
    statements = (
        "CREATE DATABASE mlmd; CREATE USER writer@'%' IDENTIFIED BY 'wr:te';"
        "GRANT ALL ON mlmd.* TO writer@'%'; CREATE USER reader@'%' IDENTIFIED BY 'r';"
        "GRANT SELECT ON mlmd.* TO reader@'%'; DROP USER IF EXISTS ''@'localhost', ''@'%';"
    )
    try:
        for _ in range(120):
            begun = subprocess.run(
                [client, "--no-defaults", "-uroot", f"--socket={folder}/s", "-e", statements],
                stdout=log, stderr=log,
            )  # fmt: skip
            if begun.returncode == 0 or process.poll() is not None:
                break
            time.sleep(0.25)
        assert begun.returncode == 0, (folder / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.e2e
def test_a_mysql_store_reads_like_a_file_by_a_user_who_may_only_select(mysql_port):
    config = pb.ConnectionConfig()
    config.mysql.host, config.mysql.port, config.mysql.database = "127.0.0.1", mysql_port, "mlmd"
    config.mysql.user, config.mysql.password = "writer", "wr:te"
    make_store(mlmd.MetadataStore(config), RUNS)
    store = open_store(f"mysql://reader:r@127.0.0.1:{mysql_port}/mlmd")
    rows = documents.runs(store)["runs"]
    assert [row["run"] for row in rows] == [f"run-{i:05d}" for i in reversed(range(RUNS))]
    pushed = documents.find_version(store, "latest")
    nodes = {e["node"] for e in documents.trace(store, [pushed.id])["executions"]}
    assert {"Pusher", "Evaluator", "Trainer", "Transform", "MnistExampleGen"} <= nodes
    same = open_store(f"mysql://writer:wr%3Ate@127.0.0.1:{mysql_port}/mlmd")
    assert documents.runs(same)["runs"] == rows
