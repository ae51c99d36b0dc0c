"""A small typed client for a generator that is being served, over REST or gRPC.

    with GeneratorClient("http://127.0.0.1:8501") as client:
        sevens = client.images(seeds=range(16), labels=7)     # uint8 [16, 28, 28, 1]

It speaks TF Serving's API, so it works with TF Serving and with `mnist-gan serve` alike. Over REST
it needs no TensorFlow; the gRPC stubs import it.
"""

import base64
import contextlib
import io
import itertools
import json
import random
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import orjson

from common.contract import ANY_LABEL, GeneratorContract
from serving.server.errors import HTTP_STATUS, Code

DEFAULT_URL = "http://127.0.0.1:8501"
DEFAULT_MODEL = "mnist_gan"
# Worth another try: the same request may well succeed a moment later.
_PASSING = {Code.UNAVAILABLE, Code.ABORTED}
_LONGEST_PAUSE = 5.0
_ROWS = 500  # of one request for images
# TensorFlow's names for types where NumPy's are others.
_NUMPY_NAMES = {"float": "float32", "double": "float64", "half": "float16", "string": "object"}


class ServerError(RuntimeError):
    """The server refused a request, or could not be reached.

    Attributes:
      code: the canonical status code; UNAVAILABLE where there was no answer.
      message: what the server says.
    """

    def __init__(self, code: Code, message: str):
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


class ServedVersion(NamedTuple):
    """A version that the server knows: its number, its state, its error where it has one."""

    version: int
    state: str
    error: str


class TensorSpec(NamedTuple):
    """An input or output of a signature; -1 in the shape is any size, None any shape."""

    dtype: str
    shape: tuple[int, ...] | None


class Signature(NamedTuple):
    """What a signature takes and gives, by alias."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class GeneratorClient:
    """Asks one model of one server. Safe to use from several threads.

    Every call raises ServerError where the server refuses or can't be reached.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        model: str = DEFAULT_MODEL,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        backoff: float = 0.2,
    ):
        """Makes a client; nothing is sent yet.

        Args:
          url: `http://host:port` or `https://...` for REST; `grpc://host:port` or `unix:/path`
            for gRPC.
          model: the served model's name.
          version, label: ask this version, or the one that this label points at; else the newest.
          timeout: seconds for one try.
          retries: further tries where the server can't be reached or says UNAVAILABLE.
          backoff: seconds before the first of them; doubled for each, with some chance in it.

        Raises:
          ValueError: another kind of URL, or a version and a label.
        """
        if version is not None and label is not None:
            raise ValueError("give a version or a label, not both")
        kind = _Rest if _scheme(url) in ("http", "https") else _Grpc
        self._transport: _Rest | _Grpc = kind(url, model, version, label, timeout)
        self.url = url
        self._retries = retries
        self._backoff = backoff

    def __enter__(self) -> "GeneratorClient":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def generate(self, seeds: Iterable[int], labels: Iterable[int] | int = ANY_LABEL) -> np.ndarray:
        """Draws digits as the network gives them.

        Args:
          seeds: N whole numbers; the same seed and label give the same digit everywhere.
          labels: N classes, or one for all; ANY_LABEL lets the seed choose.

        Returns:
          float32 [N, height, width, channels] in the contract's value range, [-1, 1].
        """
        return self.predict(_seeds_and_labels(seeds, labels), "generate")["image"]

    def generate_png(
        self, seeds: Iterable[int], labels: Iterable[int] | int = ANY_LABEL
    ) -> list[bytes]:
        """Draws digits as PNG files, N of them: a twentieth of the traffic of `generate`."""
        answer = self.predict(_seeds_and_labels(seeds, labels), "generate_png")
        return answer["image_bytes"].tolist()

    def images(self, seeds: Iterable[int], labels: Iterable[int] | int = ANY_LABEL) -> np.ndarray:
        """Draws digits as pixels: uint8 [N, height, width, channels], sent as PNG.

        Any number of them: what is too much for one request is asked for in parts.
        """
        inputs = _seeds_and_labels(seeds, labels)
        pngs: list[bytes] = []
        for start in range(0, len(inputs["seed"]), _ROWS):
            part = slice(start, start + _ROWS)
            pngs += self.generate_png(inputs["seed"][part], inputs["label"][part])
        return decode_png(pngs)

    def predict(
        self, inputs: Mapping[str, np.ndarray], signature_name: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Runs any signature of any model on arrays by alias, of the signature's types.

        Returns:
          Arrays by alias, of the signature's types; strings as object arrays of bytes.
        """
        arrays = {alias: np.asarray(array) for alias, array in inputs.items()}
        return self._try(lambda: self._transport.predict(arrays, signature_name))

    def contract(self) -> GeneratorContract:
        """What the served generator promises: its classes, its latents, its image shape.

        Raises:
          ServerError: UNIMPLEMENTED, the model has no signature `describe`.
        """
        try:
            answer = self.predict({"seed": np.zeros(1, np.int64)}, "describe")
        except ServerError as error:
            if '"describe" not found' not in error.message:
                raise
            raise ServerError(
                Code.UNIMPLEMENTED,
                "the served model does not describe its classes (it was exported before 0.2.0): "
                "name the class to draw",
            ) from None
        return GeneratorContract.from_json(answer["contract"][0].decode())

    def signatures(self) -> dict[str, Signature]:
        """The model's signatures by name."""
        return _signatures(self._try(self._transport.metadata))

    def versions(self) -> list[ServedVersion]:
        """The model's versions and their states, newest first."""
        return [
            ServedVersion(
                int(known.get("version", 0)),  # protobuf leaves zeros out
                known.get("state", "UNKNOWN"),
                known.get("status", {}).get("error_message", ""),
            )
            for known in self._try(self._transport.status).get("model_version_status", [])
        ]

    def _try(self, call: Callable):
        for attempt in range(self._retries + 1):
            try:
                return call()
            except ServerError as error:
                if error.code not in _PASSING or attempt == self._retries:
                    raise
            # Clients that failed together must not come back together.
            pause = min(_LONGEST_PAUSE, self._backoff * 2**attempt)
            time.sleep(pause * random.uniform(0.5, 1))
        raise AssertionError("unreachable")


def _scheme(url: str) -> str:
    """ "http", "https", "grpc" or "unix"; ValueError where it is no such address."""
    with contextlib.suppress(ValueError):  # a port that is no number
        parts = urllib.parse.urlsplit(url)
        needed = {
            "http": parts.hostname,
            "https": parts.hostname,
            "grpc": parts.hostname and parts.port,
            "unix": parts.path,
        }
        if needed.get(parts.scheme):
            return parts.scheme
    raise ValueError(
        f"{url!r} is no address of a server: http://HOST:PORT, grpc://HOST:PORT or unix:/PATH"
    )


def _signatures(document: dict) -> dict[str, Signature]:
    """Signatures from protobuf's JSON of a SignatureDefMap, with default values or without."""

    def specs(infos: dict) -> dict[str, TensorSpec]:
        found = {}
        for alias, info in infos.items():
            # Left out where nothing is known of it, as for a composite tensor.
            shape = info.get("tensor_shape", {"unknown_rank": True})
            kind = info.get("dtype", "DT_INVALID")
            sizes = tuple(int(dim.get("size", 0)) for dim in shape.get("dim", []))
            found[alias] = TensorSpec(kind, None if shape.get("unknown_rank") else sizes)
        return found

    return {
        name: Signature(specs(signature.get("inputs", {})), specs(signature.get("outputs", {})))
        for name, signature in document["signature_def"].items()
    }


class _Rest:
    def __init__(
        self, url: str, model: str, version: int | None, label: str | None, timeout: float
    ):
        import httpx

        self._httpx = httpx
        self._client = httpx.Client(timeout=timeout, trust_env=False)
        quote = urllib.parse.quote
        self._path = f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}"
        if version is not None:
            self._path += f"/versions/{version}"
        elif label is not None:
            self._path += f"/labels/{quote(label, safe='')}"
        self._signatures: dict[str, Signature] = {}

    def close(self) -> None:
        self._client.close()

    def predict(self, inputs: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
        body = json.dumps({"signature_name": name, "inputs": dict(inputs)}, default=_to_json)
        answer = self._call("POST", ":predict", body)["outputs"]
        # JSON has no types, the signature has. A new version of a model keeps its signatures.
        if name not in self._signatures:
            self._signatures = _signatures(self.metadata())
        outputs = self._signatures[name].outputs
        # A single output comes without its name.
        values = answer if len(outputs) > 1 else {next(iter(outputs)): answer}
        return {alias: _from_json(value, outputs[alias].dtype) for alias, value in values.items()}

    def metadata(self) -> dict:
        return self._call("GET", "/metadata")["metadata"]["signature_def"]

    def status(self) -> dict:
        return self._call("GET", "")

    def _call(self, method: str, suffix: str, body: str | None = None) -> dict:
        try:
            response = self._client.request(method, self._path + suffix, content=body)
        except self._httpx.TimeoutException:
            message = f"no answer from {self._path} in time"
            raise ServerError(Code.DEADLINE_EXCEEDED, message) from None
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            raise ServerError(Code.UNAVAILABLE, f"{self._path}: {error}") from None
        document: object = None
        with contextlib.suppress(ValueError):
            try:
                document = orjson.loads(response.content)
            except ValueError:
                document = json.loads(response.content)  # NaN and infinities
        if not isinstance(document, dict):
            document = {}
        elif response.is_success:
            return document
        codes = {status: code for code, status in reversed(HTTP_STATUS.items())}
        code = codes.get(response.status_code, Code.UNKNOWN)
        message = document.get("error") or f"{self._path} answered {response.status_code}"
        raise ServerError(code, message)


class _Grpc:
    def __init__(
        self, url: str, model: str, version: int | None, label: str | None, timeout: float
    ):
        import grpc
        from tensorflow_serving import apis
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from serving.server import tensors

        self._error, self._apis, self._tensors = grpc.RpcError, apis, tensors
        self._timeout = timeout
        self._spec = apis.model_pb2.ModelSpec(name=model, version_label=label)
        if version is not None:
            self._spec.version.value = version
        # gRPC's limit of 4 MB on what a client receives is 1,300 digits.
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        address = url if url.startswith("unix:") else urllib.parse.urlsplit(url).netloc
        self._channel = grpc.insecure_channel(address, options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def predict(self, inputs: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
        request = self._apis.predict_pb2.PredictRequest(model_spec=self._spec)
        request.model_spec.signature_name = name
        for alias, array in inputs.items():
            self._tensors.to_proto(array, request.inputs[alias])
        response = self._call(self._prediction.Predict, request)
        return {a: self._tensors.to_array(proto) for a, proto in response.outputs.items()}

    def metadata(self) -> dict:
        messages = self._apis.get_model_metadata_pb2
        request = messages.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        response = self._call(self._prediction.GetModelMetadata, request)
        answer = messages.SignatureDefMap()
        response.metadata["signature_def"].Unpack(answer)
        return _document(answer)

    def status(self) -> dict:
        request = self._apis.get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec)
        return _document(self._call(self._models.GetModelStatus, request))

    def _call(self, method: Callable, request: object):
        try:
            return method(request, timeout=self._timeout)
        except self._error as error:
            raise ServerError(Code(error.code().value[0]), error.details()) from None


def _document(message) -> dict:
    from google.protobuf import json_format

    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def decode_png(pngs: Sequence[bytes]) -> np.ndarray:
    """PNG files of one size as uint8 [N, height, width, channels].

    Raises:
      ValueError: one is no PNG, they differ in size, or there are none.
    """
    from PIL import Image

    try:
        images = np.stack(
            [np.asarray(Image.open(io.BytesIO(png), formats=["PNG"])) for png in pngs]
        )
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a PNG image: {error}") from None
    return images[..., np.newaxis] if images.ndim == 3 else images


def _seeds_and_labels(seeds: Iterable[int], labels: Iterable[int] | int) -> dict[str, np.ndarray]:
    numbers = np.asarray(list(seeds), np.int64)
    return {"seed": numbers, "label": np.broadcast_to(np.asarray(labels, np.int64), numbers.shape)}


def _to_json(value: np.ndarray | bytes) -> object:
    """What `json` can write instead of an array or of bytes in it."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if value.dtype.kind not in "biufOSU":
        raise ServerError(Code.UNIMPLEMENTED, f"JSON has no form of {value.dtype}: ask over gRPC")
    return value.tolist()


def _decode_strings(value: object) -> object:
    if isinstance(value, list):
        return [_decode_strings(item) for item in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else str(value).encode()


def _from_json(value: object, dtype: str) -> np.ndarray:
    if dtype == "DT_STRING":
        return np.array(_decode_strings(value), object)
    # Flat first: NumPy takes three times as long for nested lists.
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value or not isinstance(value[0], list):
            break
        value = list(itertools.chain.from_iterable(value))
    # The lengths so far are those of all lists of a level together.
    sizes = [n // max(1, before) for before, n in zip([1, *shape], shape, strict=False)]
    return np.array(value, _numpy_type(dtype)).reshape(sizes)


def _numpy_type(dtype: str) -> np.dtype:
    """The NumPy type of a signature's type, for instance of DT_HALF."""
    name = dtype.removeprefix("DT_").lower()
    if name == "bfloat16" or name.startswith("float8"):
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    try:
        return np.dtype(_NUMPY_NAMES.get(name, name))
    except TypeError:
        raise ServerError(Code.UNIMPLEMENTED, f"there is no array of type {dtype}") from None
