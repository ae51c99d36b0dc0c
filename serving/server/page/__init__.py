"""The playground: what `mnist-gan serve` shows at `/`.

The page itself (`static/`) draws by TF Serving's REST API alone. What this API does not tell comes
from routes of our own, which TF Serving does not have: which models and labels there are, the
details that a version was pushed with, and what its quiz needs.

  GET /                  the page
  GET /page/<file>       its style sheet and scripts
  GET /page/models.json  {"models": [{"name", "labels": {label: version}, "versions":
                         [{"version", "contract", "metadata", "real"}]}]}, newest version first
  GET /page/real.png     ?model=NAME&version=N: the real images that a version was pushed with
  POST /page/quiz        {"model", "version", "right": 0..10} -> {"games", "average"} of all who
                         played since the server started; nothing else is kept of them

`contract` is a version's `assets.extra/generator.json` and `metadata` its
`assets.extra/metadata.json`, each null where the version has none; `real` says whether it has
`assets.extra/real.png`. Versions are strings, as in TF Serving's status: JavaScript rounds large
numbers.
"""

import collections
import pathlib
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from common.contract import GENERATOR_FILE, METADATA_FILE, REAL_FILE
from common.text import parse_json
from serving.server.errors import ServingError
from serving.server.versions_manager import State, VersionsManager

QUIZ_IMAGES = 10
STATIC = pathlib.Path(__file__).with_name("static")
# The browser asks each time: a page and scripts of different releases would not fit together.
_FRESH = {"Cache-Control": "no-cache"}
_MAX_SCORE_BYTES = 1000
# Nothing is loaded from elsewhere, and nothing that a model's details say can become a script.
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

    def real(request: Request) -> Response:
        path = _folder(manager, request.query_params)
        if path is None or not (path / REAL_FILE).is_file():
            return _refusal(404, "this version was pushed without real images")
        return Response((path / REAL_FILE).read_bytes(), 200, _FRESH, "image/png")

    scores: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0])

    async def quiz(request: Request) -> Response:
        # A page of another site can't send this type unasked (CORS).
        if request.headers.get("content-type") != "application/json":
            return _refusal(415, "send JSON")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_SCORE_BYTES:
                return _refusal(413, "a score is shorter")
        try:
            score = parse_json(bytes(body))
            right = score["right"]
        except (ValueError, TypeError, KeyError):
            return _refusal(400, 'send {"model", "version", "right"}')
        if type(right) is not int or not 0 <= right <= QUIZ_IMAGES:
            return _refusal(400, f"right must be a whole number from 0 to {QUIZ_IMAGES}")
        if _folder(manager, score) is None:
            return _refusal(404, "there is no such version")
        total = scores[score["model"], score["version"]]
        total[:] = total[0] + 1, total[1] + right
        return JSONResponse({"games": total[0], "average": total[1] / total[0]}, headers=_FRESH)

    return [
        Route("/", _sender(STATIC / "index.html", {"Content-Security-Policy": _POLICY})),
        Route("/page/models.json", models),
        Route("/page/real.png", real),
        Route("/page/quiz", quiz, methods=["POST"]),
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
    try:
        known = manager.status(name)
    except ServingError:  # no version was ever seen
        return []
    details = {"contract": GENERATOR_FILE, "metadata": METADATA_FILE}
    return [
        {
            "version": str(servable.version),
            **{key: _read(pathlib.Path(servable.path, file)) for key, file in details.items()},
            "real": pathlib.Path(servable.path, REAL_FILE).is_file(),
        }
        for servable in known
        if servable.state is State.AVAILABLE
    ]


def _folder(manager: VersionsManager, named: Mapping) -> pathlib.Path | None:
    """Where the version lies that `model` and `version` name; None where none is served."""
    model, version = named.get("model"), named.get("version")
    if not isinstance(model, str) or not isinstance(version, str):
        return None
    if not (version.isascii() and version.isdecimal() and len(version) < 20):
        return None
    try:
        # As the page has it from `models.json`: "007" is none.
        if model not in manager.names() or str(int(version)) != version:
            return None
        with manager.acquire(model, int(version)) as servable:
            return pathlib.Path(servable.path)
    except ServingError:
        return None


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _read(path: pathlib.Path) -> dict | None:
    try:
        # Python writes NaN into JSON (an FID that could not be measured); a browser can't read it.
        document = parse_json(path.read_text(), parse_constant=lambda _: None)
    except (OSError, ValueError):  # any SavedModel is served, with details or without
        return None
    return document if isinstance(document, dict) else None
