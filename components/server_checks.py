"""What a running server must answer before a generator may be pushed.

Plain functions on a running server. Each check asks over REST and over gRPC, as users do, and
yields one sentence per fault; a check without faults is passed. Needs no TFX.
"""

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import httpx
import numpy as np

from common.contract import ANY_LABEL, GeneratorContract
from common.images import to_floats, to_levels
from judge import local_generator
from serving import process
from serving.client import GeneratorClient, ServerError, TensorSpec, decode_png
from serving.server.errors import Code

MODEL = "generator"
SIGNATURES = ("serving_default", "generate", "generate_png")

# Pixels are on [-1, 1], a grey level is 1/127.5 of it. Other kernels for other batch sizes, and
# another loader of the same graph, differ by less than this; another digit by hundreds of times it.
TOLERANCE = 1e-3
_OUT_OF_RANGE = 1e-5
_REQUEST_SECONDS = 60.0
_MOST_FAULTS = 4
# A good server's word for a bad request; anything else means that it got into trouble.
_REFUSALS = {
    Code.INVALID_ARGUMENT,
    Code.FAILED_PRECONDITION,
    Code.NOT_FOUND,
    Code.OUT_OF_RANGE,
    Code.UNIMPLEMENTED,
}
_SILENCE = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}
_SEEDS = np.array([0, 1, 2, 7919, 2**62], np.int64)


class Check(NamedTuple):
    """The outcome of one check.

    Attributes:
      name: of the check.
      passed: whether there was no fault.
      detail: what was asked; where something was wrong, what.
    """

    name: str
    passed: bool
    detail: str


class Request(NamedTuple):
    """One request: a signature's name and its inputs by alias, rows first."""

    signature: str
    inputs: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What all checks work on."""

    apis: Mapping[str, GeneratorClient]  # "REST" and "gRPC"
    server: process.Server
    contract: GeneratorContract
    requests: Sequence[Request]
    model_dir: pathlib.Path

    @property
    def known_labels(self) -> np.ndarray:
        """The labels that it was trained with; ANY_LABEL alone where it is unconditional."""
        present = self.contract.classes_present if self.contract.conditional else [ANY_LABEL]
        return np.asarray(present, np.int64)

    @property
    def labels(self) -> np.ndarray:
        """One of them for each of _SEEDS."""
        return np.resize(self.known_labels, len(_SEEDS))


def ask(
    server: process.Server,
    contract: GeneratorContract,
    requests: Sequence[Request],
    model_dir: pathlib.Path,
) -> list[Check]:
    """Puts a generator that is being served to all checks.

    Args:
      server: serves the generator under the name MODEL.
      contract: what the generator promises.
      requests: its warm-up requests.
      model_dir: the SavedModel that is being served.

    Returns:
      One Check each, in the order of CHECKS; after one during which the server ended or fell
      silent there are no more.
    """
    options: dict[str, Any] = {"model": MODEL, "timeout": _REQUEST_SECONDS, "retries": 0}
    found: list[Check] = []
    with (
        GeneratorClient(server.rest_url, **options) as rest,
        GeneratorClient(server.grpc_url, **options) as grpc,
    ):
        asked = _Asked({"REST": rest, "gRPC": grpc}, server, contract, requests, model_dir)
        for name, (check, description) in CHECKS.items():
            if check is _another_process and not all(one.passed for one in found):
                break  # a model that misbehaves is not loaded here
            faults, silence = _faults_of(check, asked)
            # One that crashed takes a moment to be gone.
            if ended := server.ended(patience=5.0 if silence is Code.UNAVAILABLE else 0.0):
                faults.append(ended)
            found.append(Check(name, not faults, "; ".join(faults) or description))
            if ended or silence:
                break
    return found


def _faults_of(
    check: Callable[[_Asked], Iterator[str]], asked: _Asked
) -> tuple[list[str], Code | None]:
    """The first faults, and why no answer came, where none came."""
    faults: list[str] = []
    try:
        faults += itertools.islice(check(asked), _MOST_FAULTS)
    except ServerError as error:
        silence = error.code if error.code in _SILENCE else None
        return [*faults, f"a good request got {_brief(error)}"], silence
    except (LookupError, TypeError, ValueError) as error:
        # An output of another name, rows that are missing: nothing that a client could use.
        faults.append(f"an answer has another form than promised ({error!r})")
    return faults, None


def _signatures(asked: _Asked) -> Iterator[str]:
    contract = asked.contract
    label, seed = {"label": TensorSpec("DT_INT64", (-1,))}, {"seed": TensorSpec("DT_INT64", (-1,))}
    latent = {"latent": TensorSpec("DT_FLOAT", (-1, contract.latent_dim))}
    image = {"image": TensorSpec("DT_FLOAT", (-1, *contract.image_shape))}
    png = {"image_bytes": TensorSpec("DT_STRING", (-1,))}
    promised = {
        "serving_default": (latent | label, image),
        "generate": (seed | label, image),
        "generate_png": (seed | label, png),
    }
    for api, client in asked.apis.items():
        there = client.signatures()
        for name, (inputs, outputs) in promised.items():
            if name not in there:
                yield f"there is no signature {name} ({api})"
                continue
            for kind, specs, found in (
                ("input", inputs, there[name].inputs),
                ("output", outputs, there[name].outputs),
            ):
                if found != specs:
                    yield f"{name} over {api} has the {kind}s {_spell(found)}, not {_spell(specs)}"


def _warm_up(asked: _Asked) -> Iterator[str]:
    missing = set(SIGNATURES) - {request.signature for request in asked.requests}
    if missing:
        yield f"no warm-up request for {', '.join(sorted(missing))}"
    for signature, inputs in asked.requests:
        rows = len(next(iter(inputs.values())))
        answers: list[np.ndarray] = []
        for api, client in asked.apis.items():
            where = f"{signature} over {api}, {rows} rows"
            faults, images = _look_at(client.predict(inputs, signature), rows, asked.contract)
            yield from (f"{where}: {fault}" for fault in faults)
            answers += [] if images is None else [images]
        if len(answers) == 2 and (gap := _gap(*answers)) > TOLERANCE:
            yield f"{signature}, {rows} rows: REST and gRPC differ by {gap:.3g}"


def _seeds(asked: _Asked) -> Iterator[str]:
    rest, grpc = asked.apis["REST"], asked.apis["gRPC"]
    labels = asked.labels
    together = grpc.generate(_SEEDS, labels)
    if (gap := _gap(together, rest.generate(_SEEDS, labels))) > TOLERANCE:
        yield f"the same seeds and labels asked again give other digits (by up to {gap:.3g})"
    for i, client in zip(range(len(_SEEDS)), itertools.cycle((rest, grpc))):
        gap = _gap(client.generate(_SEEDS[i : i + 1], labels[i : i + 1])[0], together[i])
        if gap > TOLERANCE:
            yield (
                f"seed {_SEEDS[i]} with label {labels[i]} gives another digit alone than in a "
                f"batch (by up to {gap:.3g})"
            )
    # In another order, among others.
    order = np.resize(np.arange(len(_SEEDS))[::-1], 2 * len(_SEEDS) + 1)
    if (gap := _gap(grpc.generate(_SEEDS[order], labels[order]), together[order])) > TOLERANCE:
        yield f"seeds in another order give other digits (by up to {gap:.3g})"


def _png(asked: _Asked) -> Iterator[str]:
    for api, client in asked.apis.items():
        floats = client.generate(_SEEDS, asked.labels)
        try:
            pixels = decode_png(client.generate_png(_SEEDS, asked.labels))
        except ValueError as error:
            yield f"generate_png over {api}: {error}"
            continue
        if pixels.shape != floats.shape:
            yield f"the PNGs of {api} have the shape {list(pixels.shape)}"
            continue
        # A pixel is its float rounded to a grey level: half a level away, and no more.
        levels = np.clip(to_levels(floats.astype(np.float64)), 0, 255)
        if (gap := _gap(pixels, levels)) > 0.5 + 127.5 * TOLERANCE:
            yield f"generate_png over {api} differs from generate by {gap:.1f} grey levels"


def _any_label(asked: _Asked) -> Iterator[str]:
    seeds, classes = _SEEDS[:4], asked.known_labels
    for api, client in asked.apis.items():
        chosen = client.generate(seeds, ANY_LABEL)
        each = client.generate(np.repeat(seeds, len(classes)), np.tile(classes, len(seeds)))
        for i, options in enumerate(np.split(each, len(seeds))):
            if min(_gap(chosen[i], option) for option in options) > TOLERANCE:
                yield f"label {ANY_LABEL} with seed {seeds[i]} gives none of the classes ({api})"


def _bad_requests(asked: _Asked) -> Iterator[str]:
    good = asked.apis["gRPC"].generate(_SEEDS, asked.labels)
    for api, client in asked.apis.items():
        for what, request in _bad(asked):
            try:
                client.predict(request.inputs, request.signature)
                yield f"{what} got an answer over {api} instead of an error"
            except ServerError as error:
                if error.code not in _REFUSALS:
                    yield f"{what} got {_brief(error)} over {api}"
                if error.code in _SILENCE:
                    raise
    yield from _malformed_json(asked.server)
    for api, client in asked.apis.items():
        if (gap := _gap(client.generate(_SEEDS, asked.labels), good)) > TOLERANCE:
            yield f"after bad requests {api} gives other digits (by up to {gap:.3g})"


def _bad(asked: _Asked) -> Iterator[tuple[str, Request]]:
    contract = asked.contract
    one = np.array([1], np.int64)
    known = asked.known_labels[:1]
    latent = np.zeros([1, contract.latent_dim], np.float32)
    lowest, highest = (0, contract.num_classes - 1) if contract.conditional else (ANY_LABEL,) * 2
    for label in (highest + 1, ANY_LABEL - 1):
        yield f"label {label}", Request("generate_png", {"seed": one, "label": one * label})
    for label in (highest + 1, lowest - 1):
        yield (
            f"label {label} beside a latent",
            Request("serving_default", {"latent": latent, "label": one * label}),
        )
    yield (
        "a latent that is too long",
        Request("serving_default", {"latent": np.pad(latent, [[0, 0], [0, 1]]), "label": known}),
    )
    yield "a seed without a label", Request("generate", {"seed": one})
    yield "words for seeds", Request("generate", {"seed": np.array([b"seven"]), "label": known})
    if contract.conditional:  # else nothing in the graph sets them side by side
        yield (
            "two seeds with three labels",
            Request("generate", {"seed": np.resize(one, 2), "label": np.resize(known, 3)}),
        )
    yield "an unknown signature", Request("no_such_signature", {"seed": one, "label": known})


def _malformed_json(server: process.Server) -> Iterator[str]:
    url = f"{server.rest_url}/v1/models/{MODEL}:predict"
    try:
        body = b'{"instances": [{"seed": 1, '
        response = httpx.post(url, content=body, timeout=_REQUEST_SECONDS, trust_env=False)
        if response.status_code != 400 or "error" not in response.json():
            yield f"broken JSON got {response.status_code}: {response.text[:100]}"
    except (httpx.HTTPError, ValueError) as error:
        yield f"broken JSON got no answer in TF Serving's form: {error}"


def _another_process(asked: _Asked) -> Iterator[str]:
    """Another process and another loader: what the judge sees, and any server after a restart."""
    served = asked.apis["gRPC"].generate(_SEEDS, asked.labels)
    try:
        drawn = local_generator.Generator(asked.model_dir).draw(_SEEDS, asked.labels)
    except local_generator.GeneratorError as error:
        yield str(error)
        return
    if (gap := _gap(served, drawn)) > TOLERANCE:
        yield f"another process draws other digits from the same seeds (by up to {gap:.3g})"


CHECKS: dict[str, tuple[Callable[[_Asked], Iterator[str]], str]] = {
    "signatures": (_signatures, "names, types and shapes as the contract has them"),
    "warm-up": (_warm_up, "each warm-up request, finite and in range, alike over REST and gRPC"),
    "seeds": (_seeds, "the same digit alone, in batches, in any order, and asked again"),
    "png": (_png, "PNGs are the rounded floats"),
    "any label": (_any_label, "label -1 gives one of the classes"),
    "bad requests": (_bad_requests, "each gets an error, and the next good one the right answer"),
    "another process": (_another_process, "the same digits from the same seeds"),
}


def _look_at(
    answer: Mapping[str, np.ndarray], rows: int, contract: GeneratorContract
) -> tuple[list[str], np.ndarray | None]:
    """Faults of an answer by itself, and its images on the contract's range where it has any."""
    shape = (rows, *contract.image_shape)
    if "image_bytes" in answer:
        try:
            pixels = decode_png(answer["image_bytes"].tolist())
        except ValueError as error:
            return [str(error)], None
        if pixels.shape != shape:
            return [f"PNGs of shape {list(pixels.shape)}, not {list(shape)}"], None
        return [], to_floats(pixels)
    if "image" not in answer:
        return [f"no image among the outputs {', '.join(answer)}"], None
    images = answer["image"]
    if images.shape != shape:
        return [f"shape {list(images.shape)}, not {list(shape)}"], None
    if strange := int((~np.isfinite(images)).sum()):
        return [f"{strange:,} of {images.size:,} values are not finite"], None
    low, high = contract.value_range
    if images.min() < low - _OUT_OF_RANGE or images.max() > high + _OUT_OF_RANGE:
        return [
            f"values from {images.min():.4g} to {images.max():.4g}, outside [{low:g}, {high:g}]"
        ], None
    return [], images


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference; infinite for other shapes and for NaN."""
    if np.shape(one) != np.shape(other):
        return math.inf
    gap = float(np.max(np.abs(np.asarray(one, np.float64) - other), initial=0.0))
    return math.inf if math.isnan(gap) else gap


def _brief(error: ServerError) -> str:
    """Its first line: TensorFlow adds the places in the graph."""
    return str(error).partition("\n")[0]


def _spell(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(
        f"{alias} {spec.dtype} {list(spec.shape) if spec.shape is not None else 'of any shape'}"
        for alias, spec in sorted(specs.items())
    )
