"""The playground: what `mnist-gan serve` shows at `/`.

The page itself (`static/`) draws by TF Serving's REST API alone. Two things that this API does not
tell come from a route of our own, which TF Serving does not have: which models and labels there
are, and the papers that a version was pushed with.

  GET /                  the page
  GET /page/<file>       its style sheet and scripts
  GET /page/models.json  {"models": [{"name", "labels": {label: version}, "versions":
                         [{"version", "contract", "metadata"}]}]}, newest version first

`contract` is a version's `assets.extra/generator.json` and `metadata` its
`assets.extra/metadata.json`, each null where the version has none. Versions are strings, as in TF
Serving's status: JavaScript rounds large numbers.
"""

import json
import pathlib
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from common.contract import GENERATOR_FILE, METADATA_FILE
from serving.server.errors import ServingError
from serving.server.versions_manager import State, VersionsManager

STATIC = pathlib.Path(__file__).with_name("static")
# The browser asks each time: a page and scripts of different releases would not fit together.
_FRESH = {"Cache-Control": "no-cache"}
# Nothing is loaded from elsewhere, and nothing that a model's papers say can become a script.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(manager: VersionsManager) -> list[BaseRoute]:
    """The page's routes, for `make_app(extra_routes=...)`.

    Args:
      manager: knows the models, and where their versions lie.
    """

    # A plain function: it reads files, so Starlette runs it in a thread.
    def models(request: Request) -> Response:
        return JSONResponse({"models": describe(manager)}, headers=_FRESH)

    return [
        Route("/", _sender(STATIC / "index.html", {"Content-Security-Policy": _POLICY})),
        Route("/page/models.json", models),
        *(Route(f"/page/{path.name}", _sender(path)) for path in STATIC.iterdir()),
    ]


def describe(manager: VersionsManager) -> list[dict]:
    """The models with their labels and available versions, as `/page/models.json` tells them."""
    return [
        {
            "name": name,
            "labels": {label: str(v) for label, v in manager.labels(name).items()},
            "versions": _versions(manager, name),
        }
        for name in sorted(manager.names())
    ]


def _sender(path: pathlib.Path, headers: Mapping[str, str] = _FRESH) -> Callable:
    async def send(request: Request) -> Response:
        return FileResponse(path, headers={**_FRESH, **headers})

    return send


def _versions(manager: VersionsManager, name: str) -> list[dict]:
    found = []
    try:
        statuses = manager.status(name)
    except ServingError:  # no version was ever seen
        return found
    for status in statuses:
        if status.state is not State.AVAILABLE:
            continue
        try:
            with manager.acquire(name, status.version) as servable:
                path = pathlib.Path(servable.path)
                papers = {"contract": GENERATOR_FILE, "metadata": METADATA_FILE}
                read = {key: _read(path / file) for key, file in papers.items()}
        except ServingError:  # it was unloaded a moment ago
            continue
        found.append({"version": str(status.version), **read})
    return found


def _read(path: pathlib.Path) -> dict | None:
    try:
        # Python writes NaN into JSON (an FID that could not be had); a browser can't read it.
        document = json.loads(path.read_text(), parse_constant=lambda _: None)
    except (OSError, ValueError):  # any SavedModel is served, with papers or without
        return None
    return document if isinstance(document, dict) else None
