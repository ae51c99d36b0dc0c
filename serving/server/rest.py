"""The REST API: TF Serving's paths, forms and error bodies on Starlette."""

import asyncio
import concurrent.futures
import inspect
import json
import logging
import re
import socket
import threading
import urllib.parse
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from google.protobuf import json_format, message
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from tensorflow_serving.apis import model_pb2

from serving.server import inference, json_tensors
from serving.server.core import Call, Core
from serving.server.engine import DEFAULT_SIGNATURE
from serving.server.errors import ServingError, invalid_argument

log = logging.getLogger(__name__)

# Seconds that a connection may rest between two requests: TF Serving's is 50. A server that closes
# before its clients do resets those that are about to ask again.
KEEP_ALIVE = 75
_DIGITS_OF_A_VERSION = 19
_PREDICTION = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE | re.ASCII,
)
# What protobuf's JSON writes of fields that hold their default; renamed in protobuf 26.
_ALL_FIELDS = {
    name: True
    for name in ("including_default_value_fields", "always_print_fields_with_no_presence")
    if name in inspect.signature(json_format.MessageToDict).parameters
}
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


def make_app(
    core: Core,
    *,
    threads: int,
    prometheus_path: str | None = None,
    extra_routes: Sequence[BaseRoute] = (),
) -> Callable:
    """The application, in ASGI.

    Args:
      threads: requests worked on at once.
      prometheus_path: where the metrics are, None for nowhere.
      extra_routes: more pages; none may begin with /v1/.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="rest")

    async def api(request: Request) -> Response:
        cors = _CORS if core.flags.rest_api_enable_cors_support else {}
        if request.method == "OPTIONS" and cors:
            return Response(headers=cors)
        try:
            body = await _read_body(request, core.flags.max_request_bytes)
            # The path as it was sent: a name may hold an escaped slash.
            path = request.scope["raw_path"].decode("latin-1").partition("?")[0]
            content = await asyncio.get_running_loop().run_in_executor(
                pool, handle, core, request.method, path, body
            )
            return Response(content, 200, cors, "application/json")
        except ServingError as error:
            return _error(error.http_status, error.message, cors)
        except HTTPException as error:
            return _error(error.status_code, error.detail, {**cors, "Connection": "close"})
        except ClientDisconnect:
            return _error(499, "the client went away", cors)

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(core.metrics.page())

    async def elsewhere(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, f"Not found: {request.method} {request.url.path}", {})

    routes = list(extra_routes)
    if prometheus_path is not None:
        routes.append(Route(prometheus_path, metrics, methods=["GET"]))
    handlers: Any = dict.fromkeys((404, 405), elsewhere)
    pages = Starlette(routes=routes, exception_handlers=handlers)

    async def answer(scope, receive, send) -> None:
        if not scope["path"].startswith("/"):
            # Through a proxy comes the whole URI.
            uri = urllib.parse.urlsplit(scope["raw_path"].decode("latin-1"))
            scope = {**scope, "raw_path": (uri.path or "/").encode("latin-1")}
            scope["path"] = urllib.parse.unquote(uri.path) or "/"
        # TF Serving's paths ignore case, which a route can't; and Starlette's layers cost time.
        if scope["path"].lower().startswith("/v1/"):
            await (await api(Request(scope, receive)))(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return answer


def handle(core: Core, method: str, path: str, body: bytes) -> bytes:
    """Answers one request to the API with JSON; runs in a thread of its own.

    Raises:
      ServingError: with the code and message of the error body.
    """
    call = Call()
    with core.measured(call, "REST"):
        match = _PREDICTION.fullmatch(path) if method == "POST" else None
        if match is None and method == "GET":
            match = _STATUS.fullmatch(path)
        if match is None:
            raise invalid_argument(f"Malformed request: {method} {path}")
        name, version, label, verb = match.groups()
        call.model = urllib.parse.unquote(name or "")
        spec = model_pb2.ModelSpec(name=call.model)
        if version is not None:
            # The length first: Python refuses to convert thousands of digits.
            digits = version.lstrip("0") or "0"
            if len(digits) > _DIGITS_OF_A_VERSION or int(digits) >= 2**63:
                raise invalid_argument(f"Failed to convert version: {version} to numeric.")
            spec.version.value = int(digits)
        if label is not None:
            spec.version_label = urllib.parse.unquote(label)
        if method == "GET":
            if not spec.name:
                raise invalid_argument("Missing model name in request.")
            if verb:
                return _metadata(core, spec)
            return json_tensors.dump(_document(core.status(spec)), indent=1)
        if verb != verb.lower():  # the pattern ignores case, the verbs do not
            raise invalid_argument(f"Malformed request: {method} {path}")
        call.api = verb
        timeout = core.flags.rest_api_timeout_in_ms / 1000 or None
        if verb == "predict":
            return _predict(core, spec, body, timeout)
        return _on_examples(core, verb, spec, body, timeout)


def _predict(core: Core, spec: model_pb2.ModelSpec, body: bytes, timeout: float | None) -> bytes:
    document = json_tensors.parse(body)
    signature_name = json_tensors.signature_name(document)
    with core.use(spec) as handle:
        name = signature_name or DEFAULT_SIGNATURE
        if name not in handle.loaded.signatures:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        infos = handle.loaded.signatures[name].inputs
        inputs, row_form = json_tensors.predict_inputs(document, infos)
        outputs = core.timed(
            handle,
            lambda: inference.predict(handle.loaded, name, inputs, timeout=timeout),
        )
    return json_tensors.predictions(outputs) if row_form else json_tensors.columns(outputs)


def _on_examples(
    core: Core, verb: str, spec: model_pb2.ModelSpec, body: bytes, timeout: float | None
) -> bytes:
    document = json_tensors.parse(body)
    try:
        spec.signature_name = json_tensors.signature_name(document)
    except UnicodeEncodeError:
        raise invalid_argument("'signature_name' is not UTF-8") from None
    examples = json_tensors.examples_input(document)
    method = f"tensorflow/serving/{verb}"
    return json_tensors.results(core.on_examples(method, spec, examples, timeout)[1])


def _metadata(core: Core, spec: model_pb2.ModelSpec) -> bytes:
    used, signatures = core.metadata(spec)
    metadata = {"signature_def": _document(signatures)}
    return json_tensors.dump({"model_spec": _document(used), "metadata": metadata}, indent=1)


def _document(of: message.Message) -> dict:
    return json_format.MessageToDict(of, preserving_proto_field_name=True, **_ALL_FIELDS)


async def _read_body(request: Request, limit: int) -> bytes:
    body = bytearray()
    if request.method == "POST":
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    if body and "gzip" in request.headers.get("content-encoding", "").lower():
        return _gunzip(bytes(body), limit)
    return bytes(body)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the request is larger than {limit} bytes (--max_request_bytes)")


def _gunzip(body: bytes, limit: int) -> bytes:
    # A few kilobytes can unpack to gigabytes.
    decompressor = zlib.decompressobj(wbits=31)
    try:
        text = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise invalid_argument(f"the body is not gzip: {error}") from None
    if len(text) > limit:
        raise _too_large(limit)
    if not decompressor.eof:
        raise invalid_argument("the body is not gzip: it ends too early")
    return text


def _error(status: int, message: str, headers: dict[str, str]) -> Response:
    # ASCII only, so that whatever a client sent can be quoted.
    content = json.dumps({"error": message}, indent=4)
    return Response(content, status, headers, "application/json")


class RestServer:
    """uvicorn in a thread."""

    def __init__(self, app: Callable, listener: socket.socket, grace_seconds: int):
        """Makes a server on a bound socket; `start` lets requests in."""
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                ws="none",
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=grace_seconds,
                timeout_keep_alive=KEEP_ALIVE,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="rest", daemon=True
        )

    def start(self) -> None:
        """Lets requests in; returns when they are."""
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.01)

    def stop(self) -> None:
        """Takes no further requests and waits for those that run."""
        self._server.should_exit = True
        self._thread.join()
