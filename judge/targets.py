"""What `mnist-gan evaluate` is given, opened: images, an `.npz` or a SavedModel.

Each kind gives the right pixels or one clear message. What the files themselves leave open (the
range of float pixels, ink in an alpha channel) is taken from the user, or said in `Target.assumed`.
"""

import dataclasses
import math
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common.contract import ContractError
from common.images import IMAGE_SHAPE, ImageShape, describe_shape
from datasets.image_files import (
    AS_THEY_ARE,
    Conversion,
    ImageError,
    Range,
    check_values,
    list_files,
    printable,
    read_image,
    to_levels,
)
from judge import local_generator, safe_model
from metrics import checks
from serving import versions

FEWEST_IMAGES = 100
MOST_IMAGES = 1_000_000  # 784 MB


class EvaluateError(ValueError):
    """The target can't be evaluated; the message says why."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is evaluated.

    Attributes:
      kind: "saved_model", "images" or "npz".
      path: where it lies.
      draw: (seeds, classes asked for) -> float images in [-1, 1], for a generator; None for given
        images.
      images: uint8 [N, *shape] as given; None for a generator.
      labels: int64 [N], the classes that the images are meant to be of; None where nobody says.
      conditional: whether the classes asked for (or given) mean something.
      unreadable: file name to why it could not be used.
      assumed: what was taken for granted, a sentence each; drawing may add to it.
    """

    kind: str
    path: str
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    conditional: bool = True
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    assumed: list[str] = dataclasses.field(default_factory=list)


def open_target(
    path: pathlib.Path,
    class_names: tuple[str, ...],
    value_range: Range | None = None,
    conversion: Conversion = AS_THEY_ARE,
    shape: ImageShape = IMAGE_SHAPE,
) -> Target:
    """Finds out what `path` is and opens it.

    Args:
      path: a SavedModel folder, a base path of versions (the newest is taken), a folder of images,
        or an `.npz`.
      class_names: of the data set; folders of images may be called after them or their numbers.
      value_range: what black and white are in float pixels; None where the target says it itself.
      conversion: what may be done to images of a folder that do not fit.
      shape: of the data set's images, which these have to have.

    Raises:
      EvaluateError: it is nothing that can be evaluated.
    """
    try:
        if path.suffix.lower() == ".npz" and path.is_file():
            return _told_ink(_open_npz(path, len(class_names), value_range, shape))
        if not path.is_dir():
            raise EvaluateError(
                f"{printable(path)} is neither a folder nor an .npz file: it takes a SavedModel, a "
                "folder of versions, a folder of images or an .npz"
            )
        for candidate in (path, path / "Format-Serving"):
            if (candidate / "saved_model.pb").is_file():
                return _open_saved_model(candidate, value_range, shape)
        newest = versions.latest(path)
        if newest is not None and (newest.path / "saved_model.pb").is_file():
            return _open_saved_model(newest.path, value_range, shape)
        return _told_ink(_open_images(path, class_names, value_range, conversion, shape))
    except OSError as error:
        name = printable(error.filename or path)
        raise EvaluateError(f"{name} can't be read: {error.strerror or error}") from None


def _told_ink(target: Target) -> Target:
    """Says that white is ink where black may have been meant."""
    if target.images is not None and np.median(target.images[:1000]) >= 128:
        target.assumed.append(
            "white is ink, although most pixels are bright: invert images with black ink"
        )
    return target


def _listed(names: list[str]) -> str:
    """The first few of some names, and how many more there are."""
    also = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + also


# ---------------------------------------------------------------------------------------------
# Images


def _open_images(
    path: pathlib.Path,
    class_names: tuple[str, ...],
    value_range: Range | None,
    conversion: Conversion,
    shape: ImageShape,
) -> Target:
    classes = {name: label for label, name in enumerate(class_names)}
    classes |= {str(label): label for label in range(len(class_names))}
    images, labels, names = [], [], []
    unreadable: dict[str, str] = {}
    assumed: dict[str, None] = {}
    files, left_out = list_files(path)
    others = [printable(file.relative_to(path)) for file in left_out]
    if not files:
        first = f"; the first of its files is {others[0]}" if others else ""
        raise EvaluateError(f"{printable(path)} holds neither a SavedModel nor images{first}")
    if others:
        assumed[f"no image by its name, left out: {_listed(others)}"] = None
    for file in files:
        name = printable(file.relative_to(path).as_posix())
        try:
            image, how = read_image(file, conversion, value_range, shape)
        except ImageError as error:
            unreadable[name] = str(error)
            continue
        if how:
            assumed[how] = None
        images.append(image)
        names.append(name)
        labels.append(classes.get(file.parent.name) if file.parent != path else None)
    labelled = any(label is not None for label in labels)
    if labelled:
        kept = []
        for row, (name, label) in enumerate(zip(names, labels, strict=True)):
            if label is None:
                unreadable[name] = "in no folder of a class, as others are"
            else:
                kept.append(row)
        images, labels = [images[row] for row in kept], [labels[row] for row in kept]
        assumed["the classes are the names of the folders"] = None
    elif any("/" in name for name in names):
        assumed["the images have no classes: no folder is called after one or its number"] = None
    _check_count(path, len(images), unreadable)
    return Target(
        "images",
        printable(path),
        images=np.stack(images),
        labels=np.array(labels, np.int64) if labelled else None,
        conditional=labelled,
        unreadable=unreadable,
        assumed=list(assumed),
    )


def _check_count(path: pathlib.Path, count: int, unreadable: Mapping[str, str]) -> None:
    if count < FEWEST_IMAGES:
        also = ""
        if unreadable:
            name, why = next(iter(unreadable.items()))
            also = f"; {len(unreadable)} could not be used, the first is {name}: {why}"
        raise EvaluateError(
            f"{printable(path)} holds {count} usable images, too few to measure: at least "
            f"{FEWEST_IMAGES}" + also
        )


# ---------------------------------------------------------------------------------------------
# .npz


def _open_npz(
    path: pathlib.Path, num_classes: int, value_range: Range | None, shape: ImageShape
) -> Target:
    name = printable(path)
    taken = (shape, shape[:2]) if shape[2] == 1 else (shape,)
    try:
        headers = _npz_headers(path)
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for a broken file
        raise EvaluateError(f"{name} can't be read as an .npz of images: {error}") from error
    if not headers:
        raise EvaluateError(f"{name} holds no array")
    of_images = [k for k, (found, _) in headers.items() if found[1:] in taken]
    usual = [k for k in ("images", "x", "samples", "arr_0") if k in headers]
    if not usual and len(of_images) > 1:
        raise EvaluateError(
            f"{name} holds several arrays of images: {_listed(of_images)}; it takes one, or one "
            "called 'images'"
        )
    key = (usual or of_images or list(headers))[0]
    label_key = next((k for k in ("labels", "label", "y", "arr_1") if k in headers), None)
    given, dtype = headers[key]
    if given[1:] not in taken:
        wanted = " or ".join(f"[N, {', '.join(map(str, one))}]" for one in reversed(taken))
        raise EvaluateError(f"{name}: the array {key!r} has shape {list(given)}; it takes {wanted}")
    if dtype != np.uint8 and (value_range is None or dtype.kind not in "fiu"):
        raise EvaluateError(
            f"{name}: the array {key!r} holds {dtype}; it takes uint8 pixels, 0..255, or "
            "--value-range, because others do not say what range they mean"
        )
    _check_count(path, given[0], {})
    if given[0] > MOST_IMAGES:
        raise EvaluateError(f"{name} holds {given[0]:,} images; at most {MOST_IMAGES:,} are taken")
    if label_key == key or (label_key and headers[label_key][0] != (given[0],)):
        found = list(headers[label_key][0])
        if label_key != key:
            raise EvaluateError(
                f"{name}: the array {label_key!r} has shape {found}; it takes [{given[0]}]"
            )
        label_key = None
    try:
        with np.load(path, allow_pickle=False) as archive:
            images = archive[key]
            labels = archive[label_key] if label_key else None
    except Exception as error:
        raise EvaluateError(f"{name} can't be read as an .npz of images: {error}") from error
    try:
        if value_range is not None:
            images = to_levels(images, value_range)
        if labels is not None:
            labels = checks.labels(
                str(label_key), labels, count=len(images), num_classes=num_classes
            )
    except ValueError as error:
        raise EvaluateError(f"{name}: {error}") from None
    others = [k for k in headers if k not in (key, label_key)]
    return Target(
        "npz",
        name,
        images=images.reshape(-1, *shape),
        labels=labels,
        conditional=labels is not None,
        assumed=[f"arrays that are left out: {_listed(others)}"] if others else [],
    )


def _npz_headers(path: pathlib.Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of each array, without decoding any."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(file)
            found[member.removesuffix(".npy")] = (shape, dtype)
    return found


# ---------------------------------------------------------------------------------------------
# SavedModels


def _open_saved_model(path: pathlib.Path, value_range: Range | None, shape: ImageShape) -> Target:
    try:
        generator = local_generator.Generator(path)
    except ContractError:
        return _open_foreign_model(path, value_range, shape)
    except local_generator.GeneratorError as error:
        raise EvaluateError(str(error)) from error
    contract = generator.contract
    if contract.image_shape != tuple(shape):
        raise EvaluateError(
            f"{printable(path)} draws {describe_shape(contract.image_shape)} images, the data set "
            f"has {describe_shape(shape)} ones"
        )
    if value_range is not None and value_range != tuple(contract.value_range):
        raise EvaluateError(
            f"{printable(path)} says itself that its values run from "
            f"{contract.value_range[0]:g} to {contract.value_range[1]:g}: leave --value-range out"
        )
    return Target(
        "saved_model",
        printable(path),
        draw=lambda seeds, classes: generator.draw(seeds, contract.effective_labels(classes)),
        conditional=contract.conditional,
    )


def _open_foreign_model(path: pathlib.Path, value_range: Range | None, shape: ImageShape) -> Target:
    """A SavedModel without our contract, by what its signatures say.

    Taken are `generate` (seed, label) as ours, and `serving_default` with one float input
    [None, Z], standard normal latents, and maybe one integer input [None] or [None, 1], labels. A
    bool input called `training` is given False.
    """
    safe_model.check(path)
    try:
        module = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises nearly anything here
        raise EvaluateError(f"TensorFlow can't load {printable(path)}: {error}") from error
    for name in ("generate", "serving_default"):
        if name not in module.signatures:
            continue
        function = module.signatures[name]
        inputs = function.structured_input_signature[1]
        flags = {k: v for k, v in inputs.items() if v.dtype == tf.bool}
        floats = {k: v for k, v in inputs.items() if v.dtype.is_floating}
        integers = {k: v for k, v in inputs.items() if v.dtype.is_integer}
        seeds = {k: v for k, v in integers.items() if k == "seed"}
        labels = {k: v for k, v in integers.items() if k != "seed"}
        known = len(flags) + len(floats) + len(integers) == len(inputs)
        known &= flags.keys() <= {"training", "is_training"}
        latent_dim = next(iter(floats.values())).shape[-1] if len(floats) == 1 else None
        if known and len(labels) <= 1 and ((seeds and not floats) or (latent_dim and not seeds)):
            assumed = [f"the signature is {name!r}"]
            if floats:
                assumed.append(f"latents of {latent_dim} numbers are standard normal")
            assumed += [f"{flag} is False" for flag in flags]
            draw = _Drawer(
                module, function, (floats, seeds, labels, flags), value_range, assumed, shape
            )
            return Target(
                "saved_model",
                printable(path),
                draw=draw,
                conditional=bool(labels),
                assumed=assumed,
            )
    raise EvaluateError(
        f"{printable(path)} has no signature that is known: it takes `generate` (seed, label) or "
        "`serving_default` (a float latent [None, Z], maybe an integer label, a bool `training`)"
    )


class _Drawer:
    """(seeds, classes) -> float images in [-1, 1], through a signature of a foreign model."""

    def __init__(
        self,
        module: Any,
        function: Any,
        inputs: Any,
        value_range: Range | None,
        assumed: list[str],
        shape: ImageShape,
    ):
        self._module = module  # it holds the variables
        self._function = function
        self._floats, self._seeds, self._labels, self._flags = inputs
        self._range = value_range
        self._assumed = assumed
        self._shape = shape

    def __call__(self, numbers: np.ndarray, classes: np.ndarray) -> np.ndarray:
        arguments = {}
        for key, spec in self._floats.items():
            latents = [np.random.default_rng(n).standard_normal(spec.shape[-1]) for n in numbers]
            arguments[key] = tf.cast(np.stack(latents), spec.dtype)
        for key, spec in self._seeds.items():
            arguments[key] = tf.cast(numbers, spec.dtype)
        for key, spec in self._labels.items():
            shape = [-1] if spec.shape.rank == 1 else [-1, 1]
            arguments[key] = tf.reshape(tf.cast(classes, spec.dtype), shape)
        for key, spec in self._flags.items():
            arguments[key] = tf.zeros([len(numbers)] * (spec.shape.rank or 0), tf.bool)
        try:
            images = self._images(self._function(**arguments), len(numbers))
        except (tf.errors.OpError, ValueError, TypeError) as error:
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise local_generator.GeneratorError(
                f"the generator did not answer: {first_line}"
            ) from error
        finite = images[np.isfinite(images)]
        if not finite.size:
            return images  # the judge counts them
        if self._range is None:
            self._range = _range_of(finite)
            self._assumed.append(f"values run from {self._range[0]:g} to {self._range[1]:g}")
        try:
            check_values(finite, self._range)
        except ValueError as error:
            raise local_generator.GeneratorError(
                f"the generator's answer can't be used: {error}; say by --value-range what black "
                "and white are"
            ) from None
        low, high = self._range
        return np.clip((images - low) / (high - low) * 2.0 - 1.0, -1.0, 1.0)

    def _images(self, outputs: Mapping, count: int) -> np.ndarray:
        size = math.prod(self._shape)
        found = {
            key: value
            for key, value in outputs.items()
            if (value.dtype.is_floating or value.dtype == tf.uint8)
            and int(tf.size(value)) == count * size
        }
        if len(found) != 1:
            shapes = {key: value.shape.as_list() for key, value in outputs.items()}
            raise ValueError(
                f"one output of {describe_shape(self._shape)} images is needed, it gives {shapes}"
            )
        (images,) = found.values()
        if images.dtype == tf.uint8 and self._range is None:
            self._range = (0.0, 255.0)
        return images.numpy().reshape(count, *self._shape).astype(np.float32)


def _range_of(values: np.ndarray) -> Range:
    """[-1, 1] where the values can be of no other usual range.

    Raises:
      local_generator.GeneratorError: they can.
    """
    low, high = float(values.min()), float(values.max())
    if -1.004 <= low < -0.01 and high <= 1.004:
        return -1.0, 1.0
    raise local_generator.GeneratorError(
        f"the generator's values run from {low:.4g} to {high:.4g} and it does not say what black "
        "and white are: give --value-range -1,1, 0,1 or 0,255"
    )
