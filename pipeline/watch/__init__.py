"""A live page of the training in a workspace: what `mnist-gan watch` serves.

Reads what the pipeline writes anyway (ML Metadata, the Trainer's history and samples beside its
checkpoints) and keeps nothing: a page that is reloaded or opened late shows all of it, and a run
that was killed stays on it. Imports neither TensorFlow nor TFX.

  GET /                     the page
  GET /watch/state.json     what `state.describe` returns
  GET /watch/samples/N.png  the samples of step N
  GET /watch/opinions/N.png, N.json  what the discriminator thought then (trainer/opinions.py)
  POST /watch/hold?step=N   lets the training go to step N and wait there; without N it goes on.
                            Takes trainings alone that were begun with `teaching`
"""

import pathlib
import signal
import socket
import sys
import threading
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from common.workspace import Workspace
from pipeline.watch import state
from trainer.hold import Hold

STATIC = pathlib.Path(__file__).with_name("static")
_HEADERS = {
    "Cache-Control": "no-cache",
    # Nothing is loaded from elsewhere, and nothing that is shown can become a script.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def make_app(workspace: Workspace) -> Starlette:
    """The application, in ASGI."""
    nodes = state.Nodes(workspace)

    # Plain functions: they read files, so Starlette runs them in threads.
    def now(request: Request) -> Response:
        return JSONResponse(state.describe(workspace, nodes), headers=_HEADERS)

    def record(request: Request) -> Response:
        kind, ending = request.path_params["kind"], request.path_params["ending"]
        media, training = state.RECORDS.get(kind, {}).get(ending), state.newest_training(workspace)
        path = training and state.record_path(training, kind, request.path_params["step"], ending)
        if not media or not path or not path.is_file():
            return _refusal(404, "there is no such record of this step")
        return Response(path.read_bytes(), 200, _HEADERS, media)

    def hold(request: Request) -> Response:
        # A page of another site can't send this type unasked (CORS).
        if request.headers.get("content-type") != "application/json":
            return _refusal(415, "send JSON")
        step, training = request.query_params.get("step"), state.newest_training(workspace)
        if step is not None and not (step.isascii() and step.isdecimal() and len(step) < 10):
            return _refusal(400, "step is a whole number")
        if training is None or not nodes.read()["training"].get("teaching"):
            return _refusal(409, "this training was begun without `--set teaching=true`")
        try:
            Hold(training).set(None if step is None else int(step))
        except OSError as error:
            return _refusal(409, f"{training} can't be written: {error.strerror}")
        return JSONResponse({}, headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", _sender(STATIC / "index.html")),
            Route("/watch/state.json", now),
            Route("/watch/{kind}/{step:int}.{ending}", record),
            Route("/watch/hold", hold, methods=["POST"]),
            *(Route(f"/watch/{path.name}", _sender(path)) for path in STATIC.iterdir()),
        ]
    )


def serve(workspace: Workspace, listener: socket.socket, *, with_parent: bool = False) -> None:
    """Serves the page on a bound socket until SIGTERM or Ctrl-C.

    Args:
      workspace: what is shown.
      listener: the socket.
      with_parent: ends when stdin does: with the run that began it, however that ends. (Not in a
        thread of the run: SQLite's locks hold between processes alone, where there are two SQLites,
        ML Metadata's and Python's.)
    """
    config = uvicorn.Config(
        make_app(workspace),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn ends by either, and then raises it again.
        signal.signal(number, lambda *_: None)

    def follow() -> None:
        sys.stdin.read()
        server.should_exit = True

    if with_parent:
        threading.Thread(target=follow, daemon=True).start()
    server.run(sockets=[listener])


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _sender(path: pathlib.Path) -> Callable:
    async def send(request: Request) -> Response:
        return FileResponse(path, headers=_HEADERS)

    return send
