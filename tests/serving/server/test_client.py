"""The typed client, over REST and over gRPC, on the same server."""

import httpx
import numpy as np
import pytest

from serving.client import GeneratorClient, ServerError, _from_json, decode_png
from serving.server.errors import Code
from tests.serving.server import saved_models


@pytest.fixture(scope="module")
def running(start_once, digits):
    return start_once(digits)


@pytest.fixture(scope="module", params=["http", "grpc"])
def client(request, running):
    port = running.rest_port if request.param == "http" else running.grpc_port
    with GeneratorClient(f"{request.param}://127.0.0.1:{port}", model="digits") as client:
        yield client


def test_digits_come_as_floats_as_pixels_and_as_png(client):
    floats = client.generate([1, 2, 3], [7, 8, 9])
    assert floats.shape == (3, 28, 28, 1)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats[:, 0, 0, 0], [0.24, 0.27, 0.3], rtol=1e-6)
    pixels = client.images([1, 2, 3], [7, 8, 9])
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.rint((floats + 1) * 127.5).astype(np.uint8))
    pngs = client.generate_png(range(2), 4)
    assert [png[:4] for png in pngs] == [b"\x89PNG"] * 2


def test_one_label_serves_all_seeds_and_none_lets_the_seeds_choose(client):
    same = client.generate([1, 2], 5)
    assert same[0, 0, 0, 0] == same[1, 0, 0, 0]
    chosen = client.generate([1, 2])
    assert chosen[0, 0, 0, 0] != chosen[1, 0, 0, 0]


def test_the_client_tells_what_the_server_knows(client):
    assert [(v.version, v.state) for v in client.versions()] == [(3, "AVAILABLE")]
    generate = client.signatures()["generate"]
    assert generate.inputs["seed"].dtype == "DT_INT64"
    assert generate.outputs["image"].shape == (-1, 28, 28, 1)


def test_a_refusal_keeps_the_servers_code_and_words(client):
    with pytest.raises(ServerError, match="label out of range") as caught:
        client.generate([1], [10])
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_more_digits_than_grpc_takes_by_default_arrive(running):
    # 4 MB is 1,337 digits.
    with GeneratorClient(f"grpc://127.0.0.1:{running.grpc_port}", model="digits") as client:
        assert client.generate(range(1500), 1).shape == (1500, 28, 28, 1)


def test_the_model_tells_its_classes(client):
    assert client.contract() == saved_models.CONTRACT


def test_a_model_that_does_not_tell_its_classes_is_told(start, tmp_path):
    saved_models.write_half_plus_two(tmp_path / "m" / "1")
    running = start(tmp_path / "m")
    for url in (running.url, f"grpc://127.0.0.1:{running.grpc_port}"):
        with GeneratorClient(url, model="digits") as client:
            with pytest.raises(ServerError, match="does not describe its classes"):
                client.contract()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_any_signature_can_be_asked(start, tmp_path, scheme):
    saved_models.write_types(tmp_path / "m" / "1")
    running = start(tmp_path / "m")
    port = running.rest_port if scheme == "http" else running.grpc_port
    with GeneratorClient(f"{scheme}://127.0.0.1:{port}", model="digits") as client:
        for dtype in saved_models.DTYPES:
            array = np.array([[1, 0]], dtype) if dtype != "string" else np.array([b"a"], object)
            if scheme == "http" and dtype in ("float16", "complex64"):
                with pytest.raises(ServerError, match=r"Conversion of JSON|JSON has no form"):
                    client.predict({"x": array}, dtype)
                continue
            (back,) = client.predict({"x": array}, dtype).values()
            assert back.dtype == array.dtype
            assert back.tolist() == array.tolist()
        for values in ([], [[]], [[1.0, np.nan], [np.inf, -np.inf]], 2.0):
            array = np.array(values, np.float32)
            (back,) = client.predict({"x": array}, "float32").values()
            np.testing.assert_array_equal(back, array)
            assert back.dtype == np.float32


def test_types_of_signatures_have_numpy_types():
    assert _from_json([1.5, 2.5], "DT_HALF").dtype == np.float16
    assert _from_json([1, 2], "DT_UINT16").dtype == np.uint16
    assert _from_json([[1.5], [2.5]], "DT_BFLOAT16").dtype.name == "bfloat16"
    with pytest.raises(ServerError, match="no array of type DT_RESOURCE"):
        _from_json([1], "DT_RESOURCE")


def test_more_images_than_one_request_takes_come_in_parts(start_once, digits):
    running = start_once(digits, "--max_batch_rows=500")
    with GeneratorClient(running.url, model="digits") as client:
        images = client.images(range(1001), [*range(10)] * 100 + [9])
    assert images.shape == (1001, 28, 28, 1)
    assert images[1000, 0, 0, 0] == images[9, 0, 0, 0] != images[8, 0, 0, 0]


def test_bytes_that_are_no_png_are_told():
    with pytest.raises(ValueError, match="not a PNG image"):
        decode_png([b"GIF89a"])


@pytest.mark.parametrize(
    "url",
    ["localhost:8501", "ftp://x", "", "http://", "grpc://host", "http://[::1", "http://a:b"],
)
def test_another_kind_of_address_is_told(url):
    with pytest.raises(ValueError, match="is no address of a server"):
        GeneratorClient(url)


def test_a_version_and_a_label_together_are_told():
    with pytest.raises(ValueError, match="not both"):
        GeneratorClient(version=1, label="stable")


def test_what_is_unavailable_for_a_moment_is_asked_again():
    statuses = [503, 503, 200, 503]

    def answer(request) -> httpx.Response:
        status = statuses.pop(0)
        document = {"model_version_status": []} if status == 200 else {"error": "not yet"}
        return httpx.Response(status, json=document)

    with GeneratorClient(backoff=0.01) as client:
        client._transport._client = httpx.Client(transport=httpx.MockTransport(answer))
        assert client.versions() == []
        client._retries = 0
        with pytest.raises(ServerError, match="not yet"):
            client.versions()
    assert not statuses
