"""The whole local server in this process, on real SavedModels that come and go."""

import concurrent.futures
import gzip
import json
import os
import shutil
import socket
import threading

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server import model_config, tensors
from serving.server.errors import ServingError
from tests.serving.server import saved_models
from tests.serving.server.conftest import eventually, push

SEVEN = {"signature_name": "generate", "instances": [{"seed": 1, "label": 7}]}


def answering_version(running, path="digits") -> int:
    """The version that answers, read from the image it draws."""
    response = running.predict(path, SEVEN)
    assert response.status_code == 200, response.text
    pixel = response.json()["predictions"][0][0][0]
    return round((pixel[0] if isinstance(pixel, list) else pixel) * 100 / 8)


def test_a_pushed_version_takes_over_and_a_deleted_one_gives_way(start, digits, base_path):
    running = start(base_path)
    assert answering_version(running) == 1
    push(digits, base_path, 2)
    eventually(lambda: running.versions() == {2: "AVAILABLE", 1: "END"})
    assert answering_version(running) == 2
    shutil.rmtree(base_path / "2")
    eventually(lambda: running.versions() == {2: "END", 1: "AVAILABLE"})
    assert answering_version(running) == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("saved_model.pb", None),
        ("saved_model.pb", b"\x00garbage" * 20),
        ("variables/variables.index", b"\x00garbage" * 20),
        ("variables/variables.index", None),  # TF Serving would load this one
        ("variables/variables.data-00000-of-00001", b""),
    ],
)
def test_a_damaged_model_does_not_load_and_does_no_harm(start, digits, base_path, file, content):
    running = start(base_path)
    shutil.copytree(digits / "2", base_path / "staged")
    (base_path / "staged" / file).unlink()
    if content is not None:
        (base_path / "staged" / file).write_bytes(content)
    os.rename(base_path / "staged", base_path / "2")
    eventually(lambda: running.versions() == {2: "END", 1: "AVAILABLE"})
    status = running.http.get("/v1/models/digits/versions/2").json()["model_version_status"][0]
    assert status["status"]["error_message"]
    assert answering_version(running) == 1


def test_warm_up_requests_are_replayed_and_a_failing_one_fails_the_load(start, digits, base_path):
    running = start(base_path)
    warmups = {
        # A record without a type is skipped.
        2: [saved_models.generate_request([1], [3]), None],
        3: [saved_models.generate_request([1], [label]) for label in (3, 99)],
        4: b"no TFRecord at all",
    }
    for version, warmup in warmups.items():
        staged = base_path / f".tmp-{version}"
        shutil.copytree(digits / "2", staged)
        saved_models.write_warmup(staged, warmup)
        os.rename(staged, base_path / str(version))
        eventually(lambda version=version: running.versions().get(version) in ("AVAILABLE", "END"))
    eventually(lambda: running.versions() == {4: "END", 3: "END", 2: "AVAILABLE", 1: "END"})
    unreadable, failing, *_ = (
        known["status"]
        for known in running.http.get("/v1/models/digits").json()["model_version_status"]
    )
    assert unreadable["error_code"] == "DATA_LOSS"
    assert failing["error_code"] == "INVALID_ARGUMENT"
    assert "label out of range" in failing["error_message"]


def test_a_label_set_in_a_workspace_reaches_the_running_server(start, digits, base_path):
    running = start(base_path, watch_labels=True)
    # The watcher looks once a second.
    push(digits, base_path, 2)
    eventually(lambda: running.versions().get(2) == "AVAILABLE")
    assert model_config.set_label(base_path, "digits", "stable", 1) == {"stable": 1}
    eventually(lambda: running.predict("digits/labels/stable", SEVEN).status_code == 200)
    assert answering_version(running, "digits/labels/stable") == 1
    assert answering_version(running) == 2
    (status,) = running.http.get("/v1/models/digits/labels/stable").json()["model_version_status"]
    assert status["version"] == "1"
    assert running.http.get("/v1/models/digits/labels/beta").status_code == 400
    model_config.set_label(base_path, "digits", "stable", 2)
    eventually(lambda: answering_version(running, "digits/labels/stable") == 2)
    assert model_config.set_label(base_path, "digits", "stable", None) == {}
    eventually(lambda: running.predict("digits/labels/stable", SEVEN).status_code == 400)


@pytest.mark.parametrize("text", ["", "model_config_list { }"])
def test_a_file_of_labels_without_a_model_is_told(digits, base_path, text):
    (base_path / model_config.FILE_NAME).write_text(text)
    for ask in (
        lambda: model_config.labels(base_path),
        lambda: model_config.set_label(base_path, "digits", "stable", 1),
    ):
        with pytest.raises(ServingError, match="does not list one model"):
            ask()


def test_a_changed_configuration_file_is_taken_over(start, digits, base_path, tmp_path):
    push(digits, base_path, 2)
    file = tmp_path / "models.config"

    def write(version: int) -> None:
        text = (
            f'model_config_list {{ config {{ name: "digits" base_path: "{base_path}" '
            'model_platform: "tensorflow" '
            f"model_version_policy {{ specific {{ versions: {version} }} }} }} }}"
        )
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", file)

    write(2)
    running = start(
        base_path, f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"
    )
    assert answering_version(running) == 2
    write(1)
    eventually(lambda: running.versions() == {2: "END", 1: "AVAILABLE"})
    file.write_text("model_config_list { nonsense")
    words = "Error parsing text-format tensorflow.serving.ModelServerConfig"
    with pytest.raises(ServingError, match=words):
        model_config.read(file)
    threading.Event().wait(1.5)
    assert answering_version(running) == 1, "a broken file changes nothing"


def test_a_reload_over_grpc_answers_when_the_new_model_does(start, digits, base_path):
    running = start(base_path)
    request = text_format.Parse(
        f'config {{ model_config_list {{ config {{ name: "fresh" base_path: "{digits}" '
        'model_platform: "tensorflow" } } }',
        model_management_pb2.ReloadConfigRequest(),
    )
    request.metric_names.append("/tensorflow/serving/request_count")
    response = running.models.HandleReloadConfigRequest(request, timeout=60)
    assert response.status.error_code == 0
    (metric,) = response.metric
    assert (metric.name, metric.int64_value_increase) == (request.metric_names[0], 0)
    assert answering_version(running, "fresh") == 3
    assert running.predict("digits", SEVEN).status_code == 404


def test_stopping_answers_what_runs_and_then_gives_the_ports_back(start, tmp_path):
    saved_models.write_slow(tmp_path / "slow" / "1")
    running = start(tmp_path / "slow")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    request.inputs["steps"].CopyFrom(tensors.to_proto(np.array([3000], np.int32)))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        http = pool.submit(running.predict, "digits", {"instances": [3000]})
        rpc = pool.submit(running.prediction.Predict, request, timeout=60)
        servables = running.server.core.manager._models["digits"].servables
        eventually(lambda: sum(s.in_flight for s in servables.values()) == 2)
        running.server.stop()
        assert http.result().status_code == 200
        assert rpc.result().outputs["sum"].float_val
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/v1/models/digits", trust_env=False)


def test_large_requests_and_batches_are_refused(limited):
    rows = [{"seed": 1, "label": 7}]
    too_many = limited.predict("digits", {**SEVEN, "instances": rows * 65})
    assert too_many.status_code == 400
    assert "65 rows" in too_many.json()["error"]
    columns = {"signature_name": "generate", "inputs": {"seed": [1] * 65, "label": [1] * 65}}
    assert "--max_batch_rows" in limited.predict("digits", columns).json()["error"]
    assert limited.predict("digits", {**SEVEN, "instances": rows * 64}).status_code == 200
    too_large = limited.predict("digits", {"instances": "x" * 300_000})
    assert too_large.status_code == 413
    assert "200000 bytes" in too_large.json()["error"]
    bomb = gzip.compress(b"0" * 10_000_000)
    assert len(bomb) < 200_000
    unpacked = limited.http.post(
        "/v1/models/digits:predict", content=bomb, headers={"Content-Encoding": "gzip"}
    )
    assert unpacked.status_code == 413
    request = saved_models.generate_request([1] * 300_000, [2] * 300_000, "digits")
    with pytest.raises(grpc.RpcError) as caught:
        limited.prediction.Predict(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    splat = saved_models.generate_request([1], [1], "digits")
    splat.inputs["seed"].tensor_shape.dim[0].size = 10**12
    with pytest.raises(grpc.RpcError) as caught:
        limited.prediction.Predict(splat)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert limited.predict("digits", SEVEN).status_code == 200


def test_a_gzipped_request_is_understood(limited):
    body = gzip.compress(json.dumps(SEVEN).encode())
    headers = {"Content-Encoding": "gzip"}
    good = limited.http.post("/v1/models/digits:predict", content=body, headers=headers)
    assert good.status_code == 200
    other_name = {"Content-Encoding": "x-gzip"}
    again = limited.http.post("/v1/models/digits:predict", content=body, headers=other_name)
    assert again.json() == good.json()
    assert limited.http.get("/v1/models/digits", headers=headers).status_code == 200
    bad = limited.http.post("/v1/models/digits:predict", content=body[:20], headers=headers)
    assert bad.status_code == 400
    assert "gzip" in bad.json()["error"]


def over_a_socket(running, sent: bytes) -> bytes:
    """What the server says until it closes the connection."""
    with socket.create_connection(("127.0.0.1", running.rest_port), 10) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"http://somewhere.else/v1/models/digits", b""),  # by way of a proxy
        (b"/v1/models/%64igits?x=1", b""),
        # To something that it does not speak.
        (b"/v1/models/digits", b"Upgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n"),
        (b"/v1/models/digits", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    ],
)
def test_an_odd_request_for_the_status_is_answered(limited, target, headers):
    connection = b"Connection: close" + b", Upgrade" * bool(headers)
    answer = over_a_socket(
        limited,
        b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + headers + connection + b"\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"AVAILABLE" in answer


def test_a_request_may_come_in_chunks_and_wait_for_leave_to_go_on(limited):
    body = json.dumps(SEVEN).encode()
    answer = over_a_socket(
        limited,
        b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        + b"0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"\r\n\r\nHTTP/1.1 200 " in answer
    assert b'"predictions"' in answer


def test_health_follows_the_models(start, base_path):
    running = start(base_path)
    health = health_pb2_grpc.HealthStub(running.channel)

    def state(service: str = "") -> int:
        return health.Check(health_pb2.HealthCheckRequest(service=service)).status

    assert state() == health_pb2.HealthCheckResponse.SERVING
    for service in ("PredictionService", "tensorflow.serving.ModelService"):
        assert state(service) == health_pb2.HealthCheckResponse.SERVING
    shutil.rmtree(base_path / "1")
    eventually(lambda: state() == health_pb2.HealthCheckResponse.NOT_SERVING)


def test_a_unix_socket_speaks_grpc_and_health_checks_can_be_turned_off(start, base_path, tmp_path):
    path = tmp_path / "s"
    start(base_path, f"--grpc_socket_path={path}", "--enable_grpc_healthcheck_service=false")
    with grpc.insecure_channel(f"unix:{path}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(saved_models.generate_request([1], [7], "digits"))
        assert response.model_spec.version.value == 1
        with pytest.raises(grpc.RpcError) as caught:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_metrics_name_the_lineage_of_what_is_served_and_strangers_leave_no_names(
    start, digits, base_path, tmp_path
):
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true, path: "/metrics" }')
    shutil.copytree(digits / "2", base_path / ".tmp-2")
    (base_path / ".tmp-2" / "assets.extra").mkdir()
    (base_path / ".tmp-2" / "assets.extra" / "mlmd_uuid").write_text("some-uuid\n")
    os.rename(base_path / ".tmp-2", base_path / "2")
    running = start(base_path, f"--monitoring_config_file={monitoring}")
    running.predict("digits", SEVEN)
    running.predict("stranger", SEVEN)
    page = running.http.get("/metrics").text
    assert (
        ':tensorflow:serving:mlmd_map{model_name="digits",version="2",mlmd_uuid="some-uuid"} 1'
        in page
    )
    assert ':request_count{model_name="digits",status="OK"} 1' in page
    assert ':request_count{model_name="",status="NOT_FOUND"} 1' in page
    assert "stranger" not in page
    assert 'request_latency_count{model_name="digits",API="predict",entrypoint="REST"} 1' in page
    assert 'request_latency_count{model_name=""' not in page, "failures have no latency"
    assert (
        'runtime_latency_bucket{model_name="digits",API="Predict",runtime="TF1",le="+Inf"} 1'
        in page
    )
    from prometheus_client import parser

    families = {family.name for family in parser.text_string_to_metric_families(page)}
    assert ":tensorflow:serving:request_latency" in families


def test_browsers_elsewhere_are_let_in_only_when_asked_for(start, limited, base_path):
    assert "access-control-allow-origin" not in limited.http.get("/v1/models/digits").headers
    open_to_all = start(base_path, "--rest_api_enable_cors_support=true")
    response = open_to_all.http.get("/v1/models/digits")
    assert response.headers["access-control-allow-origin"] == "*"
    assert open_to_all.http.options("/v1/models/digits:predict").status_code == 200
