"""A folder of image files as a data set: `--dataset folder:PATH`.

    PATH/train/seven/*.png, PATH/test/seven/*.png   splits as given; `eval` or `validation` too
    PATH/seven/*.png                                splits drawn by the content of each image
    PATH/*.png                                      no classes
    PATH/span-1/..., PATH/span-2/...                spans, each a folder as above

Where splits are drawn, an image stays in its split whatever is added to the folder, and what is
there twice lands in one split.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Mapping

from common.files import atomic_path, combined_digest, file_digest, write_atomically
from common.images import IMAGE_SIZES, ImageShape
from common.text import parse_json
from datasets import image_files, png, tfds_store
from datasets.data_config import FOLDER_PREFIX, DataConfig
from datasets.image_files import printable
from datasets.tfds_store import DataError

import tensorflow_datasets as tfds  # isort: skip  # after tfds_store, which sets it up

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("eval", "val", "valid", "validation"), "eval"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_TEST_UNTIL, _EVAL_UNTIL = 1 / 7, 2 / 7  # of all images, where no split is given
_EVAL_SHARE = 1 / 6  # of the train images, where train and test are given
_SPAN = re.compile(r"span[-_]?(\d{1,18})", re.IGNORECASE)  # ML Metadata holds an int64
_READER = "1"  # raise it when the same files give other pixels
_SHOWN = 6  # names in a message
_LOOKED_AT = 50  # images that tell which settings are needed
_PROGRESS = logging.getLogger("mnist_gan.progress")


@dataclasses.dataclass(frozen=True)
class _File:
    """An image file: its split ("" where it is to be drawn), label, and SHA-256."""

    path: pathlib.Path
    split: str
    label: int
    digest: str


@dataclasses.dataclass(frozen=True)
class _Example:
    """An image to write; TFDS orders a split by the keys, here those of the content."""

    key: str
    png: bytes
    label: int


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """What a folder holds.

    Attributes:
      root: the folder.
      files: its images.
      class_names: names of the folders that the images are in; one, of the folder itself, where
        there are none.
      checksums: {class folder: SHA-256 over the names and contents of its images}.
      notes: what a user should know of it, a sentence each.
      spans: numbers of the spans that its images are of, in order; () where it has none.
      before: number of the span before the newest of these; None where there is none.
    """

    root: pathlib.Path
    files: list[_File]
    class_names: tuple[str, ...]
    checksums: Mapping[str, str]
    notes: list[str]
    spans: tuple[int, ...] = ()
    before: int | None = None


def open_folder(dataset: str, span: int | None = None, spans: int = 1) -> ImageFolder:
    """Looks at the folder that "folder:PATH" names and at the bytes of all its images.

    Args:
      dataset: "folder:PATH".
      span, spans: of `DataConfig`: which of a folder of spans to look at.

    Raises:
      DataError: it can't be used as a data set.
    """
    name = dataset.removeprefix(FOLDER_PREFIX).strip()
    if not name:
        raise DataError("folder: names no folder: --dataset folder:PATH takes a folder of images")
    root = pathlib.Path(os.path.abspath(os.path.expanduser(name)))
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise DataError(f"{printable(root)} {what}: --dataset folder:PATH takes a folder of images")
    try:
        return _open(root, span, spans)
    except OSError as error:
        name = printable(error.filename or root)
        raise DataError(f"{name} can't be read: {error.strerror or error}") from None


def _open(root: pathlib.Path, span: int | None, count: int) -> ImageFolder:
    by_number = _span_folders(root)
    spans, before, notes = _chosen(root, list(by_number), span, count)
    parts: dict[pathlib.Path, str] = {}
    for top in [by_number[number] for number in spans] or [root]:
        parts |= {top / name: split for name, split in _given_splits(top).items()} or {top: ""}
    found: list[tuple[pathlib.Path, str, str | None]] = []  # file, split, class
    others: list[pathlib.Path] = []
    for part, split in parts.items():
        images, more = image_files.list_files(part)
        others += more
        if spans and not images:
            raise DataError(
                f"there are no images in {printable(part)}: put them there, or learn from another "
                "span (--set span=N)"
            )
        names = [path.relative_to(part).parts for path in images]
        labelled = any(len(name) > 1 for name in names)
        loose = [path for path, name in zip(images, names, strict=True) if len(name) == 1]
        if labelled and loose:
            raise DataError(
                f"{printable(part)} holds folders of classes and, beside them, "
                f"{_listed(loose, root)}: each image has to be in the folder of its class"
            )
        deep = [path for path, name in zip(images, names, strict=True) if len(name) > 2]
        if deep:
            raise DataError(
                f"{_listed(deep, root)} of {printable(root)} lie deeper than in a folder of a "
                f"class: name the folder that holds the classes, such as folder:"
                f"{printable(deep[0].parent.parent)}, or move them up"
            )
        if labelled or not loose:
            used = {name[0] for name in names}
            empty = [part / name for name in _folders(part) if name not in used]
            if empty:
                there = [path for path in more if part / path.relative_to(part).parts[0] in empty]
                raise DataError(
                    f"there are no images in {_listed(empty, root)} of {printable(root)}"
                    f"{_instead(there, root)}: remove each folder of a class that has none"
                )
        found += [
            (path, split, name[0] if labelled else None)
            for path, name in zip(images, names, strict=True)
        ]
    if not found:
        raise DataError(f"{printable(root)} holds no images{_instead(others, root)}")
    classes = {name for _, _, name in found}
    if None in classes and len(classes) > 1:
        what = "spans or splits" if len(spans) > 1 else "splits"
        raise DataError(f"in {printable(root)} some {what} have folders of classes, others not")
    class_names = _class_names(root, {name for name in classes if name is not None})
    _check_trained(root, found)
    numbers = {name: label for label, name in enumerate(class_names)}
    files = [
        _File(path, split, 0 if name is None else numbers[name], _digest(path))
        for path, split, name in found
    ]
    if others:
        notes.append(
            f"{len(others):,} files are no images by their names and are left out: "
            f"{_listed(others, root)}"
        )
    real = os.path.realpath(root) + os.sep
    outside = [file.path for file in files if not os.path.realpath(file.path).startswith(real)]
    if outside:
        notes.append(
            f"{len(outside):,} images are links to files outside of the folder: "
            f"{_listed(outside, root)}"
        )
    checksums = _checksums(root, files, class_names, bool(spans))
    return ImageFolder(root, files, class_names, checksums, notes, spans, before)


def _span_folders(root: pathlib.Path) -> dict[int, pathlib.Path]:
    """{number: folder} of the spans in a folder, in order; {} where it has none."""
    folders = _folders(root)
    numbers = {name: int(match[1]) for name in folders if (match := _SPAN.fullmatch(name))}
    others = [name for name in folders if name not in numbers] + _loose(root)
    if numbers and others:
        raise DataError(
            f"{printable(root)} holds spans and, beside them, "
            f"{_listed([root / name for name in others], root)}: a span is a folder called "
            "span- and a whole number, with the images or the folders of classes in it"
        )
    found = {number: root / name for name, number in numbers.items()}
    if len(found) < len(numbers):
        raise DataError(f"{printable(root)} holds a span twice: {', '.join(sorted(numbers))}")
    return dict(sorted(found.items()))


def _chosen(
    root: pathlib.Path, numbers: list[int], span: int | None, count: int
) -> tuple[tuple[int, ...], int | None, list[str]]:
    """Spans to learn from, the one before the newest of them, and what a user should know."""
    if not numbers and (span is not None or count != 1):
        raise DataError(
            f"{printable(root)} holds no spans (folders called span-1, span-2 ...): leave span and "
            "spans out"
        )
    if span is not None and span not in numbers:
        raise DataError(
            f"{printable(root)} holds no span {span}, only {', '.join(map(str, numbers[-_SHOWN:]))}"
        )
    until = [number for number in numbers if span is None or number <= span]
    chosen = until[-count:]  # all of them where it is 0
    notes = []
    if numbers and len(chosen) < count:
        notes.append(f"{count} spans were asked for, and {len(chosen)} are there")
    before = until[-2] if len(until) > 1 else None
    if before is not None and before < until[-1] - 1:
        notes.append(f"the span before span {until[-1]} is span {before}: there is none between")
    return tuple(chosen), before, notes


def _digest(path: pathlib.Path) -> str:
    """Of a file; "" where it can't be read: why will be said when it is opened as an image."""
    try:
        return file_digest(path) if path.is_file() else ""  # a FIFO would be waited for
    except OSError:
        return ""


def _shown(folder: pathlib.Path) -> list[os.DirEntry]:
    """What is in `folder` and not hidden, by name."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    return [entry for entry in entries if not image_files.is_hidden(entry.name)]


def _folders(folder: pathlib.Path) -> list[str]:
    return [entry.name for entry in _shown(folder) if entry.is_dir()]


def _loose(folder: pathlib.Path) -> list[str]:
    """Names of images in `folder` itself."""
    names = [entry.name for entry in _shown(folder)]
    return [name for name in names if name.lower().endswith(image_files.SUFFIXES)]


def _given_splits(root: pathlib.Path) -> dict[str, str]:
    """{name of a folder: its split}; {} where the folders are classes or there are none."""
    folders = _folders(root)
    splits = {name: _SPLITS[name.lower()] for name in folders if name.lower() in _SPLITS}
    others = [name for name in folders if name not in splits]
    if {"train", "test"} <= set(splits.values()):
        if others := others + _loose(root):
            raise DataError(
                f"{printable(root)} holds the folders train and test, and beside them "
                f"{_listed([root / name for name in others], root)}: splits and classes "
                "can't be told apart"
            )
        return splits
    if splits and not others:
        raise DataError(
            f"{printable(root)} holds {' and '.join(splits)}, where both train and test are "
            f"needed; folder:{printable(root / next(iter(splits)))} draws splits from it"
        )
    return {}


def _class_names(root: pathlib.Path, names: set[str]) -> tuple[str, ...]:
    """In the order of labels: numbers by their value, else by name."""
    for name in names:
        if printable(name) != name or not name.isprintable():
            raise DataError(
                f"the folder {printable(root / name)!r} can't name a class: its name is not plain "
                "UTF-8; rename it"
            )
    if not names:
        return (_slug(root),)
    by_sight = collections.Counter(unicodedata.normalize("NFC", name) for name in names)
    if twice := [name for name, count in by_sight.items() if count > 1]:
        raise DataError(
            f"in {printable(root)} two folders look alike and are written with other Unicode "
            f"characters: {', '.join(twice)}; move the images into one"
        )
    numeric = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numeric else 0, name)))


def _check_trained(root: pathlib.Path, found: list) -> None:
    """Raises DataError where a held-out split has a class that train has not."""
    trained = {name for _, split, name in found if split in ("", "train")}
    unseen = sorted({name for _, _, name in found} - trained, key=str)
    if unseen:
        raise DataError(
            f"there are no train images of {', '.join(map(printable, unseen[:_SHOWN]))} in "
            f"{printable(root)}, which other splits have"
        )


def _checksums(
    root: pathlib.Path, files: list[_File], class_names: tuple[str, ...], by_span: bool
) -> dict[str, str]:
    folders: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for file in files:
        name = printable(file.path.relative_to(root))
        split = f"{file.split}/" if file.split else ""
        if by_span:
            split = f"{file.path.relative_to(root).parts[0]}/{split}"
        folders[split + class_names[file.label]][name] = file.digest
    return {name: combined_digest(digests) for name, digests in sorted(folders.items())}


def _slug(root: pathlib.Path) -> str:
    """The folder's name as TFDS and a model's name take it."""
    return re.sub(r"[^a-z0-9]+", "_", root.name.lower()).strip("_") or "images"


def prepare(
    folder: ImageFolder, config: DataConfig, tfds_dir: pathlib.Path
) -> tuple[tfds.core.DatasetBuilder, list[str]]:
    """The folder's images as records of TFDS, made where they are not there yet.

    Args:
      folder: of `open_folder`.
      config: what may be done to images that do not fit.
      tfds_dir: where TFDS keeps its sets. Other content is another version of the set.

    Returns:
      the builder, prepared, and what a user should know of the data, a sentence each.

    Raises:
      DataError: images can't be used, or a split would be empty.
    """
    decides = [
        *(_READER, folder.checksums, folder.class_names),
        *(dataclasses.astuple(config.conversion), config.skip_unreadable),
    ]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    version = f"1.0.{int(digest[:8], 16)}"
    facts_file = pathlib.Path(tfds_dir, "folder", f"{_slug(folder.root)}-{version}.json")
    facts: dict | None = None
    with contextlib.suppress(OSError, ValueError):  # there is none, or none that can be read
        found = parse_json(facts_file.read_text())
        if isinstance(found, dict) and found.keys() == {"shape", "notes"}:
            facts = found
    images: dict[str, list[_Example]] = {}
    if facts is None or not _builder(folder, version, facts["shape"], tfds_dir).is_prepared():
        images, shape, notes = _read(folder, config)
        facts = {"shape": shape, "notes": notes}
        if config.conversion != image_files.AS_THEY_ARE:
            paths = [file.path for file in folder.files]
            sheet = image_files.before_and_after(paths, config.conversion, shape)
            with atomic_path(conversions_file(facts_file)) as path:
                sheet.save(path, format="PNG")
        write_atomically(facts_file, json.dumps(facts, indent=2) + "\n")
    builder = _builder(folder, version, facts["shape"], tfds_dir)
    builder.images = images
    tfds_store.prepare(builder, None)
    builder.images = {}
    return builder, folder.notes + facts["notes"]


def conversions_file(prepared: pathlib.Path) -> pathlib.Path:
    """Where it is shown what conversions made of images; there only where there were any.

    Args:
      prepared: `DataSource.prepared_dir`, or the file of facts beside it.
    """
    if prepared.suffix != ".json":
        prepared = prepared.parent.with_name(f"{prepared.parent.name}-{prepared.name}.json")
    return prepared.with_suffix(".png")


def _builder(
    folder: ImageFolder, version: str, shape: ImageShape, tfds_dir: pathlib.Path
) -> tfds.core.DatasetBuilder:
    class Folder(  # type: ignore[call-arg]  # TFDS is not typed
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        """Images of a folder."""

        VERSION = tfds.core.Version(version)
        images: Mapping[str, list[_Example]] = {}

        def _info(self) -> tfds.core.DatasetInfo:
            features = {
                "image": tfds.features.Image(shape=tuple(shape)),
                "label": tfds.features.ClassLabel(names=list(folder.class_names)),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager: object) -> dict[str, Iterator]:
            del dl_manager  # nothing to download
            return {split: self._generate_examples(split) for split in self.images}

        def _generate_examples(self, split: str) -> Iterator[tuple[str, dict]]:
            for example in self.images[split]:
                yield example.key, {"image": example.png, "label": example.label}

    return Folder(
        data_dir=os.fspath(tfds_dir),
        config=tfds.core.BuilderConfig(name=_slug(folder.root), version=version),
    )


def _own_size(files: list[_File]) -> int | None:
    """The commonest of IMAGE_SIZES among the files; None where none has one of them."""
    sizes = collections.Counter(image_files.size_of(file.path) for file in files)
    known = {size: sizes[size, size] for size in IMAGE_SIZES if sizes[size, size]}
    return max(known, key=lambda size: known[size], default=None)


def _read(
    folder: ImageFolder, config: DataConfig
) -> tuple[dict[str, list[_Example]], ImageShape, list[str]]:
    """The examples by split, the shape that they have, and what a user should know.

    They are in colour if any is, unless a setting says otherwise. PNG files of grey ones stay
    grey: whoever reads them as colour gets three equal channels.
    """
    size = config.image_size or _own_size(folder.files)
    shape = None if size is None else (size, size, config.channels or 3)
    splits: dict[str, list[_Example]] = {"train": [], "eval": [], "test": []}
    has_eval = any(file.split == "eval" for file in folder.files)
    seen: dict[str, tuple[str, int]] = {}
    unreadable: dict[str, str] = {}
    assumed: dict[str, None] = {}
    repeated = crossing = contradicting = coloured = 0
    for number, file in enumerate(folder.files, 1):
        try:
            image, how = image_files.read_image(file.path, config.conversion, shape=shape)
        except image_files.ImageError as error:
            unreadable[printable(file.path.relative_to(folder.root))] = str(error)
            continue
        if how:
            assumed[how] = None
        if (image == image[..., :1]).all():
            image = image[..., :1]
        coloured += image.shape[-1] == 3
        content = hashlib.sha256(image.tobytes()).hexdigest()
        share = int(content[:8], 16) / 16**8
        split = file.split or _drawn(share)
        if split == "train" and file.split and not has_eval and share < _EVAL_SHARE:
            split = "eval"
        if content in seen:
            other_split, other_label = seen[content]
            repeated += 1
            crossing += other_split != split
            contradicting += other_label != file.label
        # What is there twice is written twice.
        key = f"{content} {number}" if content in seen else content
        seen.setdefault(content, (split, file.label))
        splits[split].append(_Example(key, png.encode_png(image), file.label))
        if number % 1000 == 0:
            facts = {"step": number, "total": len(folder.files), "of": "images read"}
            _PROGRESS.info("reading images", extra={"progress": facts})
    name = printable(folder.root)
    notes = list(assumed)
    used = sum(map(len, splits.values()))
    if 0 < coloured < used and config.channels is None:
        notes.append(
            f"{coloured:,} of {used:,} images are in colour: all are taken as such "
            "(--set channels=1 makes them grey)"
        )
    if unreadable:
        listed = _by_reason(unreadable)
        count = f"{len(unreadable):,} of {len(folder.files):,} images"
        if not config.skip_unreadable:
            raise DataError(
                f"{count} in {name} can't be used: {listed}. Mend or remove them, or leave them "
                "out with --set skip_unreadable=true"
            )
        notes.append(f"{count} can't be used and are left out: {listed}")
    if repeated:
        makes = " (which makes FID too good)" if crossing else ""
        notes.append(
            f"{repeated:,} images repeat another, pixel for pixel: {crossing:,} of them in another "
            f"split{makes}, {contradicting:,} in another class"
        )
    if not all(splits.values()):
        sizes = ", ".join(f"{len(images):,} {split}" for split, images in splits.items())
        raise DataError(
            f"{name} holds too few images: {sizes} (of seven images one is for test where splits "
            "are drawn, and about 100 are needed there)"
        )
    channels = config.channels or (3 if coloured else 1)
    assert size is not None  # else no image could be used
    return splits, (size, size, channels), notes


def _by_reason(unreadable: Mapping[str, str]) -> str:
    """Files that can't be used and why, each reason once."""
    files: dict[str, list[str]] = collections.defaultdict(list)
    for file, why in unreadable.items():
        files[why].append(file)
    listed = "; ".join(f"{_first(names)}: {why}" for why, names in list(files.items())[:_SHOWN])
    left = sum(map(len, list(files.values())[_SHOWN:]))
    return listed + (f"; and {left:,} more for other reasons" if left else "")


def what_is_needed(folder: ImageFolder) -> dict[str, int | bool]:
    """The fewest settings with which most of the images can be used.

    Raises:
      DataError: none of them can be used.
    """
    sample = folder.files[:: -(-len(folder.files) // _LOOKED_AT)]
    found = filter(None, (image_files.size_of(file.path) for file in sample))
    sides = sorted(min(size) for size in found)
    nearest = image_files.nearest_size(sides[len(sides) // 2] if sides else 0)
    choices: list[dict[str, int]] = [
        {**scaled, **ground}
        for ground in ({}, {"background": 255})
        for scaled in ({}, {"image_size": nearest})
    ]
    choices.sort(key=len)
    own_size = _own_size(folder.files)
    best: dict[str, int] = {}
    fewest = _unusable(sample, image_files.AS_THEY_ARE, own_size)
    for choice in choices[1:]:
        failed = _unusable(sample, image_files.Conversion(**choice), own_size) if fewest else []
        if len(failed) < len(fewest):
            best, fewest = choice, failed
    if len(fewest) == len(sample):
        raise DataError(f"none of the images can be used, such as {fewest[0]}")
    left = _unusable(folder.files, image_files.Conversion(**best), own_size)
    return {**best, "skip_unreadable": True} if left else {**best}


def _unusable(
    files: list[_File], conversion: image_files.Conversion, own_size: int | None
) -> list[str]:
    """Name and reason of each file that can't be read so."""
    size = conversion.image_size or own_size
    found = []
    for file in files:
        try:
            image_files.read_image(
                file.path, conversion, shape=None if size is None else (size, size, 3)
            )
        except image_files.ImageError as error:
            found.append(f"{printable(file.path.name)}: {error}")
    return found


def _drawn(share: float) -> str:
    return "test" if share < _TEST_UNTIL else "eval" if share < _EVAL_UNTIL else "train"


def _instead(others: list[pathlib.Path], root: pathlib.Path) -> str:
    """Of a folder without images: what counts as one, and what there is in their place."""
    known = f" ({', '.join(image_files.SUFFIXES[:4])} ...)"
    return known + (f", only {_listed(others, root)}" if others else "")


def _listed(paths: list[pathlib.Path], root: pathlib.Path) -> str:
    return _first([printable(path.relative_to(root)) for path in paths])


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
