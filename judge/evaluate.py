"""The judge's figures for anything that gives images: `mnist-gan evaluate`.

A SavedModel of this project or another, a folder of versions, a folder of images, or an `.npz`.
The figures, the document and the pictures are those of the Evaluator; what is missing is a
baseline, and nothing is blessed by it.
"""

import dataclasses
import json
import logging
import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from common.contract import ContractError
from common.files import atomic_path
from common.images import IMAGE_SHAPE
from datasets.examples import read_prepared
from datasets.source import DataSource
from judge import assess, generation, local_generator, measure, pictures, reference, registry
from judge.judge_config import JudgeConfig
from metrics import checks
from serving import versions

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FEWEST_IMAGES = 100

_progress = logging.getLogger("mnist_gan.progress")


class EvaluateError(ValueError):
    """The target can't be evaluated; the message says why."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is evaluated.

    Attributes:
      kind: "saved_model", "images" or "npz".
      path: where it lies.
      draw: (seeds, classes asked for) -> images, for a generator; None for given images.
      images: uint8 [N, 28, 28, 1] as given; None for a generator.
      labels: int64 [N], the classes that the images are meant to be of; None where nobody says.
      conditional: whether the classes asked for (or given) mean something.
      unreadable: file name to why it could not be used.
    """

    kind: str
    path: str
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    conditional: bool = True
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)


def evaluate(
    target: str | os.PathLike,
    data: DataSource,
    config: JudgeConfig,
    *,
    seed: int = 0,
    output_dir: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> dict:
    """Measures `target` against the test split of `data`.

    Args:
      target: a SavedModel folder, a base path of versions (the newest is taken), a folder of
        images (their classes are the names of the folders they are in, where those are class
        names or numbers), or an `.npz` with `images` and maybe `labels`.
      data: the data set, prepared.
      config: `num_fakes` and `cas_fakes` say how many a generator draws; given images are all
        taken, at most as many as the train split holds. Its bars become `checks`.
      seed: of the latents; 0 as the seed that the Evaluator of a run with seed 0 has.
      output_dir: where `evaluation.json` and the pictures go; None for nowhere.
      cache_dir: where reference statistics are kept; None for nowhere.

    Returns:
      the document of `assess.judge` without its decision, with `target`: kind, path, count
      (measured), given (more than count where there were more than train images), `unreadable`
      (name to why) and `conditional`.

    Raises:
      EvaluateError: nothing in `target` can be evaluated.
      ValueError: the data or the extractor can't be read.
    """
    found = open_target(pathlib.Path(target), data.class_names)
    given = len(found.images) if found.images is not None else config.num_fakes
    seen_by = reference.eyes(config.extractor)
    real = reference.load(
        reference.Dataset(
            data.name, data.version, data.fingerprint, data.num_classes, tuple(data.class_names)
        ),
        lambda split: read_prepared(data, split),
        seen_by,
        given,
        os.fspath(cache_dir) if cache_dir else None,
    )
    if found.images is None:
        counts = reference.apportion(real.class_counts(), real.num_fakes)
        labels = generation.ordered_labels(counts, seed)
        seeds = generation.first_seed(seed) + np.arange(real.num_fakes)
    else:
        # In mixed order, because some metrics take the first ones; at most as many as there are
        # real train images to set beside them.
        order = np.random.default_rng(seed).permutation(given)[: real.num_fakes]
        found = dataclasses.replace(
            found,
            images=found.images[order],
            labels=None if found.labels is None else found.labels[order],
        )
        labels = np.zeros(len(order), np.int64) if found.labels is None else found.labels
        seeds = np.arange(len(order))
    fakes = _draw(found, seeds, labels)
    cas = None
    if config.cas_fakes and found.draw is not None and found.conditional:
        cas = measure.classification_score(found.draw, real, config.cas_fakes, seed)
    document, measured = assess.judge(
        real, fakes, config, seen_by, conditional=found.conditional, cas=cas
    )
    for key in (
        *("blessed", "forced", "force_reason", "replaced", "replace_reason", "reason"),
        "baseline",
    ):
        del document[key]
    document["seed"] = seed
    document["target"] = {
        "kind": found.kind,
        "path": found.path,
        "count": fakes.drawn,
        "given": given,
        "conditional": found.conditional,
        "unreadable": found.unreadable,
    }
    if output_dir is not None:
        folder = pathlib.Path(output_dir)
        pictures.draw(folder, real, fakes, measured)
        with atomic_path(folder / "evaluation.json") as path:
            path.write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")
    return document


def open_target(path: pathlib.Path, class_names: tuple[str, ...]) -> Target:
    """Finds out what `path` is and opens it.

    Raises:
      EvaluateError: it is nothing that can be evaluated.
    """
    if path.suffix == ".npz" and path.is_file():
        return _open_npz(path, len(class_names))
    if not path.is_dir():
        raise EvaluateError(
            f"{path} is neither a folder nor an .npz file: it takes a SavedModel, a folder of "
            "versions, a folder of images or an .npz"
        )
    for candidate in (path, path / "Format-Serving"):
        if (candidate / "saved_model.pb").is_file():
            return _open_saved_model(candidate)
    newest = versions.latest(path)
    if newest is not None and (newest.path / "saved_model.pb").is_file():
        return _open_saved_model(newest.path)
    return _open_images(path, class_names)


def table(document: dict) -> list[tuple[str, str, str]]:
    """The metrics for people: (title, value, its interval and what real images score, or "")."""
    return [(row.metric.title, row.text, row.beside) for row in registry.rows(document)]


def _draw(target: Target, seeds: np.ndarray, labels: np.ndarray) -> generation.Fakes:
    parts = []
    for start in range(0, len(seeds), generation.BLOCK):
        rows = slice(start, start + generation.BLOCK)
        if target.images is not None:
            images = target.images[rows]
        else:
            try:
                images = target.draw(seeds[rows], labels[rows])
            except local_generator.GeneratorError as error:
                raise EvaluateError(str(error)) from error
        parts.append(generation.Fakes.of(seeds[rows], labels[rows], images))
        done = min(start + generation.BLOCK, len(seeds))
        _progress.info(
            "evaluate: %d of %d",
            done,
            len(seeds),
            extra={
                "progress": {
                    "stage": "evaluate",
                    "step": done,
                    "total": len(seeds),
                    "rate": None,
                    "unit": "images",
                    "metrics": {},
                }
            },
        )
    return generation.Fakes.joined(parts)


def _open_saved_model(path: pathlib.Path) -> Target:
    try:
        generator = local_generator.Generator(path)
    except ContractError:
        return _open_foreign_model(path)
    except local_generator.GeneratorError as error:
        raise EvaluateError(str(error)) from error
    contract = generator.contract
    return Target(
        "saved_model",
        str(path),
        draw=lambda seeds, classes: generator.draw(seeds, contract.askable(classes)),
        conditional=contract.conditional,
    )


def _open_foreign_model(path: pathlib.Path) -> Target:
    """A SavedModel without our contract, by what its signatures say.

    Taken are `generate` (seed, label) as ours, and `serving_default` with one float input
    [None, Z], standard normal latents, and maybe one integer input [None] or [None, 1], labels.
    """
    try:
        module = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises nearly anything here
        raise EvaluateError(f"TensorFlow can't load {path}: {error}") from error
    for name in ("generate", "serving_default"):
        if name not in module.signatures:
            continue
        function = module.signatures[name]
        inputs = function.structured_input_signature[1]
        floats = {k: v for k, v in inputs.items() if v.dtype.is_floating}
        integers = {k: v for k, v in inputs.items() if v.dtype.is_integer}
        seeds = {k: v for k, v in integers.items() if k == "seed"}
        labels = {k: v for k, v in integers.items() if k != "seed"}
        latent_dim = next(iter(floats.values())).shape[-1] if len(floats) == 1 else None
        if len(labels) <= 1 and ((seeds and not floats) or (latent_dim and not seeds)):
            draw = _drawer(module, function, floats, seeds, labels)
            return Target("saved_model", str(path), draw=draw, conditional=bool(labels))
    raise EvaluateError(
        f"{path} has no signature that is known: it takes `generate` (seed, label) or "
        "`serving_default` (a float latent [None, Z], maybe an integer label)"
    )


def _drawer(module, function, floats: dict, seeds: dict, labels: dict):
    """(seeds, classes) -> uint8 images, through a signature of a foreign model."""
    scale: list[tuple[float, float]] = []

    def draw(numbers: np.ndarray, classes: np.ndarray) -> np.ndarray:
        arguments = {}
        for key, spec in floats.items():
            latents = [np.random.default_rng(n).standard_normal(spec.shape[-1]) for n in numbers]
            arguments[key] = tf.cast(np.stack(latents), spec.dtype)
        for key, spec in seeds.items():
            arguments[key] = tf.cast(numbers, spec.dtype)
        for key, spec in labels.items():
            shape = [-1] if spec.shape.rank == 1 else [-1, 1]
            arguments[key] = tf.reshape(tf.cast(classes, spec.dtype), shape)
        try:
            outputs = function(**arguments)
            images = next(v for v in outputs.values() if v.dtype.is_floating).numpy()
            images = images.reshape(len(numbers), *IMAGE_SHAPE).astype(np.float32)
        except (tf.errors.OpError, ValueError, StopIteration) as error:
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise local_generator.GeneratorError(
                f"the generator did not answer: {first_line}"
            ) from error
        if not scale:
            scale.append(_value_range(images))
        low, high = scale[0]
        return (images - low) / (high - low) * 2.0 - 1.0

    draw.module = module  # it holds the variables
    return draw


def _value_range(images: np.ndarray) -> tuple[float, float]:
    """Which of the usual ranges the first pixels are in: [-1, 1], [0, 1] or [0, 255]."""
    low, high = float(np.nanmin(images)), float(np.nanmax(images))
    if high > 2.0:
        return 0.0, 255.0
    return (-1.0, 1.0) if low < -0.01 else (0.0, 1.0)


def _open_npz(path: pathlib.Path, num_classes: int) -> Target:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            key = next((k for k in ("images", "x", "samples", "arr_0") if k in names), names[0])
            images = archive[key]
            label_key = next((k for k in ("labels", "label", "y", "arr_1") if k in names), None)
            labels = archive[label_key] if label_key and label_key != key else None
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for a broken file
        raise EvaluateError(f"{path} can't be read as an .npz of images: {error}") from error
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[1:] != IMAGE_SHAPE:
        raise EvaluateError(
            f"{path}: the array {key!r} has shape {list(images.shape)}; "
            "it takes [N, 28, 28] or [N, 28, 28, 1]"
        )
    if images.dtype != np.uint8:
        raise EvaluateError(
            f"{path}: the array {key!r} holds {images.dtype}; it takes uint8 pixels, 0..255, "
            "because floats do not say what range they mean"
        )
    _check_count(path, len(images), {})
    if labels is not None:
        try:
            labels = checks.labels(
                str(label_key), labels, count=len(images), num_classes=num_classes
            )
        except ValueError as error:
            raise EvaluateError(f"{path}: {error}") from None
    return Target("npz", str(path), images=images, labels=labels, conditional=labels is not None)


def _open_images(path: pathlib.Path, class_names: tuple[str, ...]) -> Target:
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    classes = {name: label for label, name in enumerate(class_names)}
    classes |= {str(label): label for label in range(len(class_names))}
    images, labels, unreadable = [], [], {}
    for file in files:
        try:
            with Image.open(file) as picture:
                picture.load()
                if picture.size != (28, 28):
                    width, height = picture.size
                    raise ValueError(f"{width}x{height} pixels, not 28x28")
                images.append(np.asarray(picture.convert("L"), np.uint8)[..., None])
        except UnidentifiedImageError:
            unreadable[file.relative_to(path).as_posix()] = "no image that can be read"
            continue
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            unreadable[file.relative_to(path).as_posix()] = str(error)
            continue
        labels.append(classes.get(file.parent.name if file.parent != path else ""))
    if not files:
        raise EvaluateError(f"{path} holds neither a SavedModel nor images")
    _check_count(path, len(images), unreadable)
    labelled = all(label is not None for label in labels)
    return Target(
        "images",
        str(path),
        images=np.stack(images),
        labels=np.array(labels, np.int64) if labelled else None,
        conditional=labelled,
        unreadable=unreadable,
    )


def _check_count(path: pathlib.Path, count: int, unreadable: dict[str, str]) -> None:
    if count < FEWEST_IMAGES:
        also = ""
        if unreadable:
            name, why = next(iter(unreadable.items()))
            also = f"; {len(unreadable)} could not be used, the first is {name}: {why}"
        raise EvaluateError(
            f"{path} holds {count} usable images, too few to measure: at least {FEWEST_IMAGES}"
            + also
        )
