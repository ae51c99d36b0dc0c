"""A live page of the training in a workspace: what `mnist-gan watch` serves.

Reads what the pipeline writes anyway (ML Metadata, the Trainer's history and samples beside its
checkpoints) and keeps nothing: a page that is reloaded or opened late shows all of it, and a run
that was killed stays on it. Imports neither TensorFlow nor TFX.

  GET /                     the page
  GET /watch/state.json     what `state.describe` returns
  GET /watch/samples/N.png  the samples of step N
"""

import pathlib
import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from common.workspace import Workspace
from pipeline.watch import state

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

    def samples(request: Request) -> Response:
        training = state.newest_training(workspace)
        path = training and state.sample_path(training, request.path_params["step"])
        if not path or not path.is_file():
            return JSONResponse({"error": "there are no samples of this step"}, 404)
        return Response(path.read_bytes(), 200, _HEADERS, "image/png")

    return Starlette(
        routes=[
            Route("/", _sender(STATIC / "index.html")),
            Route("/watch/state.json", now),
            Route("/watch/samples/{step:int}.png", samples),
            *(Route(f"/watch/{path.name}", _sender(path)) for path in STATIC.iterdir()),
        ]
    )


def serve(workspace: Workspace, listener: socket.socket) -> None:
    """Serves the page on a bound socket until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        make_app(workspace),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn ends by either, and then raises it again.
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])


def _sender(path: pathlib.Path) -> Callable:
    async def send(request: Request) -> Response:
        return FileResponse(path, headers=_HEADERS)

    return send
