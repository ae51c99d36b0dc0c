"""Malformed requests of three kinds: JSON, protobuf messages, bytes on a socket."""

import json
import random
import socket
from collections.abc import Callable

import grpc
import httpx

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


def mutate_rest(running, generator: random.Random, count: int) -> None:
    """Sends `count` mutations of good REST requests.

    Raises:
      AssertionError: an answer has another form than TF Serving's, or the server is not right.
    """
    expected = _probe(running)
    for i in range(count):
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
        try:
            response = running.http.request(method, path, content=body)
        except httpx.InvalidURL:
            continue  # it did not leave the client
        _check_form(response, method, path, body)
        if i % 50 == 0:
            assert _probe(running) == expected
    assert _probe(running) == expected


def mutate_grpc(running, generator: random.Random, count: int) -> None:
    """Sends `count` mutations of good gRPC messages to random methods."""
    expected = _probe(running)
    good = saved_models.generate_request([1, 2], [3, 4], "digits").SerializeToString()
    service = "/tensorflow.serving.PredictionService/"
    methods = [
        *([service + "Predict"] * 6),
        *(service + n for n in ("Classify", "Regress", "MultiInference", "GetModelMetadata")),
        "/tensorflow.serving.ModelService/GetModelStatus",
    ]
    for i in range(count):
        well_formed = generator.random() < 0.5
        message = _change_message(generator) if well_formed else _change_bytes(good, generator)
        method = methods[0] if well_formed else generator.choice(methods)
        call = running.channel.unary_unary(method)
        try:
            call(message, timeout=30)
        except grpc.RpcError as error:
            # INTERNAL is how gRPC itself answers a message that is none. What TensorFlow does
            # not know is no reason to go away.
            refused = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]
            if well_formed:
                refused += [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN]
            assert error.code() not in refused, (error.details(), message)
            assert "Traceback" not in error.details()
        if i % 50 == 0:
            assert _probe(running) == expected
    assert _probe(running) == expected


def mutate_http(running, generator: random.Random, count: int) -> None:
    """Sends `count` broken pieces of HTTP, each on a connection of its own."""
    expected = _probe(running)
    body = json.dumps(PROBE)
    good = (
        f"POST {PATHS[0]} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
    for i in range(count):
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
        if i % 50 == 0:
            assert _probe(running) == expected
    assert _probe(running) == expected


def _probe(running) -> dict:
    response = running.http.post(PATHS[0], json=PROBE)
    assert response.status_code == 200, response.text
    return response.json()


def _check_form(response: httpx.Response, method: str, path: str, body: bytes) -> None:
    sent = (method, path, body[:300], response.text[:300])
    if response.status_code == 200:
        assert isinstance(response.json(), dict), sent
        return
    assert 400 <= response.status_code < 500 or response.status_code in (501, 504), sent
    document = response.json()
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
