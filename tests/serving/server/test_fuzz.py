"""Whatever is sent, the answer is an error in TF Serving's form, and the server stays right."""

import copy
import functools
import json
import socket

import grpc
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.server import saved_models

# protobuf's, about messages that are none
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

PATHS = [
    *("/v1/models/digits:predict", "/v1/models/digits:classify", "/v1/models/digits:regress"),
    *("/v1/models/digits/versions/3:predict", "/v1/models/digits/metadata", "/v1/models/digits"),
    f"/v1/models/digits/versions/{'9' * 5000}:predict",
]
PROBE = {"signature_name": "generate", "instances": [{"seed": 5, "label": 7}]}
GOOD_BODIES = [
    PROBE,
    {"signature_name": "generate", "inputs": {"seed": [1, 2], "label": [3, -1]}},
    {"instances": [{"latent": [0.5, -1.0, 2.0, 0.0], "label": 3}]},
    {"signature_name": "generate_png", "instances": [{"seed": 9, "label": 0}]},
]
DEEP = functools.reduce(lambda inner, _: [inner], range(70), 1)
KEYS = st.sampled_from(["x", "", "b64", "seed", "label", "inputs", "instances", "signature_name"])
ODD_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9)
    | st.sampled_from([DEEP, 10**400, -(10**309), "\ud800", "a" * 1000, [1] * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@st.composite
def documents(draw) -> dict:
    """A good request with an odd value at one place."""
    node = document = copy.deepcopy(draw(st.sampled_from(GOOD_BODIES)))
    while True:
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or draw(st.booleans()):
            node[key] = draw(ODD_VALUES)
            return document
        node = node[key]


def spliced(good: bytes) -> st.SearchStrategy[bytes]:
    """`good` with a piece of it replaced by other bytes, or by none."""
    ends = st.tuples(st.integers(0, len(good)), st.integers(0, 8), st.binary(max_size=8))
    return ends.map(lambda cut: good[: cut[0]] + cut[2] + good[cut[0] + cut[1] :])


BODIES = documents().map(lambda document: json.dumps(document).encode())
BODIES |= st.sampled_from(GOOD_BODIES).map(lambda body: json.dumps(body).encode()).flatmap(spliced)


@pytest.fixture
def server(limited):
    """A server whose answer to a good request is afterwards what it was before."""
    before = limited.predict("digits", PROBE)
    assert before.status_code == 200
    yield limited
    assert limited.predict("digits", PROBE).json() == before.json()


def ask(server, method: str, path: str, body: bytes) -> None:
    try:
        response = server.http.request(method, path, content=body)
    except httpx.InvalidURL:
        return  # it did not leave the client
    document = response.json()
    if response.status_code != 200:
        assert 400 <= response.status_code < 500 or response.status_code in (501, 504)
        assert list(document) == ["error"]
        assert "Traceback" not in document["error"]


def test_broken_json_gets_errors_and_the_server_stays_right(server):
    paths = st.sampled_from(PATHS)
    paths |= spliced(PATHS[0][4:].encode()).map(lambda path: "/v1/" + path.decode("latin-1"))
    methods = st.sampled_from(["POST"] * 9 + ["GET", "PUT", "DELETE"])

    @settings(max_examples=300, deadline=None)
    @given(methods, st.just(PATHS[0]) | paths, BODIES)
    def sends(method, path, body):
        ask(server, method, path, body)

    sends()


@st.composite
def messages(draw) -> bytes:
    """A PredictRequest with something odd in it."""
    request = saved_models.generate_request([1, 2], [3, 4], "digits")
    tensor = request.inputs[draw(st.sampled_from(["seed", "label", "x"]))]
    tensor.dtype = draw(st.just(tensor.dtype) | st.integers(0, 131))
    tensor.version_number = draw(st.sampled_from([0, 5]))
    for size in draw(st.lists(st.sampled_from([-2, -1, 0, 1, 7, 2**31, 2**62]), max_size=3)):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = draw(st.binary(max_size=40))
    tensor.int64_val.extend(draw(st.lists(st.sampled_from([0, -1, 99, 2**62]), max_size=2)))
    tensor.string_val.extend(draw(st.lists(st.binary(max_size=2), max_size=1)))
    names = ["generate", "", "x", "__saved_model_init_op", "generate_png"]
    request.model_spec.signature_name = draw(st.sampled_from(names))
    request.output_filter.extend(draw(st.lists(st.sampled_from(["image", "", "x"]), max_size=1)))
    return request.SerializeToString()


def test_broken_messages_get_errors_and_the_server_stays_right(server):
    service = "/tensorflow.serving.PredictionService/"
    methods = [
        *(service + n for n in ("Predict", "Classify", "Regress", "MultiInference")),
        service + "GetModelMetadata",
        "/tensorflow.serving.ModelService/GetModelStatus",
    ]
    good = saved_models.generate_request([1, 2], [3, 4], "digits").SerializeToString()

    def ask(method: str, message: bytes) -> tuple[grpc.StatusCode, str]:
        try:
            server.channel.unary_unary(method)(message, timeout=30)
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""

    @settings(max_examples=200, deadline=None)
    @given(messages())
    def well_formed(message):
        code, details = ask(methods[0], message)
        assert code not in (
            *(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED),
            *(grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN),
        ), details
        assert "Traceback" not in details

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from(methods), spliced(good))
    def broken(method, message):
        # INTERNAL is how gRPC itself answers a message that is none.
        code, details = ask(method, message)
        assert code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert "Traceback" not in details

    well_formed()
    broken()


def test_broken_http_gets_errors_and_the_server_stays_right(server):
    body = json.dumps(PROBE)
    good = (
        f"POST {PATHS[0]} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
    pieces = st.integers(0, len(good)).map(lambda end: good[:end]) | st.binary(max_size=500)

    @settings(max_examples=60, deadline=None)
    @given(spliced(good) | pieces)
    def sends(data):
        with socket.create_connection(("127.0.0.1", server.rest_port), 10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            try:
                answer = connection.recv(65536)
            except ConnectionResetError:
                answer = b""
        assert not answer or answer.startswith(b"HTTP/1.1 ")

    sends()
