"""Malformed requests of three kinds: JSON, protobuf messages, bytes on a socket."""

import json
import random
import socket
import types
from collections.abc import Callable, Iterator

import grpc
import httpx
from google.protobuf import message as protobuf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server import flags, model_config, rest
from serving.server.core import Core
from serving.server.errors import ServingError
from serving.server.grpc_service import ModelService, PredictionService
from tests.serving.server import saved_models

GOOD_BODIES = [
    {"signature_name": "generate", "instances": [{"seed": 5, "label": 7}]},
    {"signature_name": "generate", "inputs": {"seed": [1, 2], "label": [3, -1]}},
    {"instances": [{"latent": [0.5, -1.0, 2.0, 0.0], "label": 3}]},
    {"signature_name": "generate_png", "instances": [{"seed": 9, "label": 0}]},
]
PATHS = [
    "/v1/models/digits:predict",
    "/v1/models/digits:classify",
    "/v1/models/digits:regress",
    "/v1/models/digits/versions/1:predict",
    "/v1/models/digits/metadata",
    "/v1/models/digits",
    f"/v1/models/digits/versions/{'9' * 5000}:predict",
]
ODD_VALUES = [
    None, True, "", "7", -1, 10, 2**31, 2**63, 2**64, -(2**70), 1e39, 1e308, 0.5, [], {}, [[]],
    {"b64": "!"}, {"b64": 5}, {"b64": "YQ=="}, "\ud800", "\x00", "a" * 1000, [1] * 300,
    float("nan"), float("inf"), [[[[[1]]]]], 10**400, -(10**309),
]  # fmt: skip
DEEP = 1
for _ in range(70):
    DEEP = [DEEP]
ODD_VALUES.append(DEEP)
PROBE = GOOD_BODIES[0]


class OverSockets:
    """Asks a server (`conftest.Running`)."""

    def __init__(self, running):
        self._running = running

    def ask_rest(self, method: str, path: str, body: bytes) -> tuple[int, bytes] | None:
        """Status and body of an answer; None where the request did not leave the client."""
        try:
            response = self._running.http.request(method, path, content=body)
        except httpx.InvalidURL:
            return None
        return response.status_code, response.content

    def ask_grpc(self, method: str, message: bytes) -> tuple[grpc.StatusCode, str]:
        """Code and details of an answer."""
        try:
            self._running.channel.unary_unary(method)(message, timeout=30)
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""


class InProcess:
    """Asks what the server's two entry points hand their requests to: ten times as cheap."""

    def __init__(self, base_path, *arguments: str):
        self._core = Core(flags.parse([f"--model_base_path={base_path}", *arguments]))
        manager = self._core.manager
        manager.wait_until_available(
            manager.apply(model_config.single_model("digits", base_path)), 60
        )
        self._handlers: list[grpc.GenericRpcHandler] = []
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self._core), self
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self._core), self)

    def add_generic_rpc_handlers(self, handlers) -> None:
        """As of gRPC's server."""
        self._handlers += handlers

    def close(self) -> None:
        self._core.stop(10)

    def ask_rest(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            return 200, rest.handle(self._core, method, path, body)
        except ServingError as error:
            return error.http_status, json.dumps({"error": error.message}).encode()

    def ask_grpc(self, method: str, message: bytes) -> tuple[grpc.StatusCode, str]:
        call = types.SimpleNamespace(method=method)
        [handler] = filter(None, (service.service(call) for service in self._handlers))
        try:
            request = handler.request_deserializer(message)
        except protobuf.DecodeError:
            return grpc.StatusCode.INTERNAL, "gRPC's own answer"
        try:
            handler.response_serializer(handler.unary_unary(request, self))
        except _AbortedError as error:
            return error.args
        return grpc.StatusCode.OK, ""

    def abort(self, code: grpc.StatusCode, details: str):
        """As of gRPC's context."""
        raise _AbortedError(code, details)

    def time_remaining(self) -> float:
        """As of gRPC's context."""
        return 30.0


class _AbortedError(Exception):
    pass


def mutate_rest(way, generator: random.Random, count: int) -> None:
    """Sends `count` mutations of good REST requests.

    Raises:
      AssertionError: an answer has another form than TF Serving's, or the server is not right.
    """
    for i in _asked(way, count):
        document = json.loads(json.dumps(generator.choice(GOOD_BODIES)))
        kind = generator.randrange(4)
        if kind < 2:
            _change_value(document, generator)
        body = json.dumps(document).encode()
        if kind == 2:
            body = _change_bytes(body, generator)
        elif kind == 3:
            body = body[: generator.randrange(len(body))]
        path = generator.choice(PATHS) if generator.random() < 0.3 else PATHS[0]
        if generator.random() < 0.1:
            path = "/v1/" + _change_bytes(path[4:].encode(), generator).decode("latin-1")
        method = generator.choice(["GET", "PUT", "DELETE"]) if i % 20 == 0 else "POST"
        if answer := way.ask_rest(method, path, body):
            _check_form(*answer, (method, path, body[:300], answer[1][:300]))


def mutate_grpc(way, generator: random.Random, count: int) -> None:
    """Sends `count` mutations of good gRPC messages to random methods."""
    good = saved_models.generate_request([1, 2], [3, 4], "digits").SerializeToString()
    service = "/tensorflow.serving.PredictionService/"
    methods = [
        *([service + "Predict"] * 6),
        *(service + n for n in ("Classify", "Regress", "MultiInference", "GetModelMetadata")),
        "/tensorflow.serving.ModelService/GetModelStatus",
    ]
    for _ in _asked(way, count):
        well_formed = generator.random() < 0.5
        message = _change_message(generator) if well_formed else _change_bytes(good, generator)
        method = methods[0] if well_formed else generator.choice(methods)
        code, details = way.ask_grpc(method, message)
        # INTERNAL is how gRPC itself answers a message that is none. What TensorFlow does
        # not know is no reason to go away.
        refused = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]
        if well_formed:
            refused += [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN]
        assert code not in refused, (details, message)
        assert "Traceback" not in details


def mutate_http(running, generator: random.Random, count: int) -> None:
    """Sends `count` broken pieces of HTTP, each on a connection of its own."""
    body = json.dumps(PROBE)
    good = (
        f"POST {PATHS[0]} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
    for _ in _asked(OverSockets(running), count):
        data = good
        kind = generator.randrange(4)
        if kind == 0:
            data = data[: generator.randrange(len(data))]
        elif kind == 1:
            data = _change_bytes(data, generator)
        elif kind == 2:
            data = data.replace(b"Content-Length: ", b"Content-Length: 9", 1)
        else:
            data = generator.randbytes(generator.randrange(1, 500))
        with socket.create_connection(("127.0.0.1", running.rest_port), 10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            try:
                answer = connection.recv(65536)
            except ConnectionResetError:
                answer = b""
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:100]


def _asked(way, count: int) -> Iterator[int]:
    """0 to `count`; a good request now and then has the answer that it had at first."""
    expected = _probe(way)
    for i in range(count):
        yield i
        if i % 50 == 0 or i == count - 1:
            assert _probe(way) == expected


def _probe(way) -> dict:
    status, content = way.ask_rest("POST", PATHS[0], json.dumps(PROBE).encode())
    assert status == 200, content
    return json.loads(content)


def _check_form(status: int, content: bytes, sent: tuple) -> None:
    document = json.loads(content)
    if status == 200:
        assert isinstance(document, dict), sent
        return
    assert 400 <= status < 500 or status in (501, 504), sent
    assert list(document) == ["error"], sent
    assert isinstance(document["error"], str), sent
    assert "Traceback" not in document["error"], sent


def _change_value(document: dict, generator: random.Random) -> None:
    places: list[tuple[Callable, object]] = []

    def walk(node) -> None:
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in list(keys):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(document)
    node, key = generator.choice(places)
    action = generator.randrange(4)
    if action == 0 and isinstance(node, dict):
        del node[key]
    elif action == 1 and isinstance(node, dict):
        node[generator.choice(["x", "", "b64", "instances", "label"])] = node[key]
    elif action == 2 and isinstance(node, list):
        node.append(generator.choice(ODD_VALUES))
    else:
        node[key] = generator.choice(ODD_VALUES)


def _change_bytes(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        place = generator.randrange(len(changed))
        action = generator.randrange(3)
        if action == 0:
            changed[place] = generator.randrange(256)
        elif action == 1:
            changed[place:place] = generator.randbytes(generator.randint(1, 4))
        elif len(changed) > 1:
            del changed[place]
    return bytes(changed)


def _change_message(generator: random.Random) -> bytes:
    request = saved_models.generate_request([1, 2], [3, 4], "digits")
    tensor = request.inputs[generator.choice(["seed", "label", "x"])]
    action = generator.randrange(8)
    if action == 0:
        tensor.dtype = generator.randrange(132)
    elif action == 7:
        tensor.string_val.append(b"a")
        tensor.dtype = generator.choice([7, 20, 21])
        tensor.version_number = generator.choice([0, 5])
    elif action == 1:
        tensor.tensor_shape.dim.add(size=generator.choice([-2, -1, 0, 1, 7, 2**31, 2**62]))
    elif action == 2:
        del tensor.tensor_shape.dim[:]
    elif action == 3:
        tensor.tensor_content = generator.randbytes(generator.randrange(40))
    elif action == 4:
        tensor.int64_val.append(generator.choice([0, -1, 99, 2**62]))
    elif action == 5:
        request.model_spec.signature_name = generator.choice(
            ["", "x", "__saved_model_init_op", "generate_png"]
        )
    else:
        request.output_filter.append(generator.choice(["image", "", "x"]))
    return request.SerializeToString()
