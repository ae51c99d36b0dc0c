"""What the pipeline asks of TFDS: find a builder by name, check its files, prepare it once.

Everything here ends in a `DataError` with one message for the user, whatever TFDS raised.
"""

import contextlib
import difflib
import fcntl
import functools
import inspect
import io
import json
import logging
import os
import pathlib
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

from common.files import file_digest, write_atomically
from common.text import parse_json

# TFDS and etils look for Google Cloud credentials when they touch a path; without this, that is
# seconds of waiting and a warning about bearer tokens on every machine outside that cloud.
os.environ.setdefault("NO_GCE_CHECK", "true")

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager, downloader
from tensorflow_datasets.core.utils import gcs_utils

from datasets import names, png

gcs_utils._is_gcs_disabled = True  # TFDS's only switch for it; off by itself in newer versions

# TFDS would try ten times for minutes without a word, and wait forever for a host that fell silent.
downloader.MAX_RETRIES = 2
_SILENCE_SECONDS = 30.0

_NETWORK_TIMEOUT_SECONDS = 5.0
_PAUSES_SECONDS = (1.0, 4.0, 16.0)  # before a download that broke off is tried again
PREPARED_FILE = "prepared_by_mnist_gan.json"  # sha256 of the records, beside them
TFDS_VARIABLE = "TFDS_DATA_DIR"
_LOG = logging.getLogger(__name__)
_PROGRESS = logging.getLogger("mnist_gan.progress")


class DataError(ValueError):
    """The data set cannot be loaded as asked for; the message says why and what to do."""


def _refuse_foreign_features() -> None:
    """Keeps TFDS from importing whatever module a folder's `features.json` names.

    It does so for every class of a feature that it does not know: a stranger's folder could run
    each module that can be imported.
    """
    connector = tfds.features.FeatureConnector
    find = connector.cls_from_name.__func__

    def cls_from_name(cls, name: str) -> type:
        if name not in cls._registered_features and not name.startswith("tensorflow_datasets."):
            raise DataError(f"its features.json names {name!r}, which is not part of TFDS")
        return find(cls, name)

    connector.cls_from_name = classmethod(cls_from_name)


_refuse_foreign_features()


def get_builder(name: str, tfds_dir: pathlib.Path) -> tfds.core.DatasetBuilder:
    """Finds the TFDS builder called `name` ("mnist", "emnist/letters", "mnist:3.0.1", "digits").

    Raises:
      DataError: no such data set, configuration or version; or it is not of 8-bit images.
    """
    from datasets import digits  # registers itself

    del digits
    full, _, version = name.partition(":")
    base, _, config = full.partition("/")
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        raise DataError(names.unknown(name, known))
    configs = list(tfds.builder_cls(base).builder_configs)
    if config and config not in configs:
        near = difflib.get_close_matches(config, configs, n=3) or configs
        hint = f"it has {_either(near)}" if configs else f"it has none: say {base!r}"
        raise DataError(f"the data set {base!r} has no configuration {config!r}: {hint}")
    try:
        builder = tfds.builder(full, data_dir=os.fspath(tfds_dir))
    except Exception as error:  # such as a module that this data set needs and is not there
        raise DataError(f"TFDS can't make the data set {name!r}: {_first_line(error)}") from error
    if version and version != str(builder.version):
        raise DataError(f"TFDS makes {full!r} in version {builder.version}, not {version}")
    feature_names(builder)
    return builder


def feature_names(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    """Names of the image and the label feature of `builder`; "" where there are no labels.

    Raises:
      DataError: they are not what this project learns from.
    """
    features = builder.info.features
    features = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    keys = (builder.info.supervised_keys or ("image", "label"))[:2]
    image, label = (features.get(key) if isinstance(key, str) else None for key in keys)
    problem = ""
    if not isinstance(image, tfds.features.Image):
        kind = f"its {keys[0]!r} is a {type(image).__name__}" if image else "it has none"
        problem = f"it needs a feature of images, {kind}"
    elif np.dtype(image.np_dtype) != np.uint8 or image.shape[-1] not in (1, 3):
        found = f"{np.dtype(image.np_dtype)} {image.shape}"
        problem = f"it needs 8-bit images, grey or RGB, these are {found}"
    elif not (label is None or isinstance(label, tfds.features.ClassLabel)):
        problem = f"it needs one class label each, its {keys[1]!r} is a {type(label).__name__}"
    if problem:
        raise DataError(f"the data set {full_name(builder)!r} can't be used: {problem}")
    return keys[0], keys[1] if label is not None else ""


def image_shape(builder: tfds.core.DatasetBuilder) -> tuple[int | None, int | None, int]:
    """Height and width, None where they differ from image to image, and channels."""
    return tuple(builder.info.features[feature_names(builder)[0]].shape)


def full_name(builder: tfds.core.DatasetBuilder) -> str:
    """ "mnist", "emnist/letters": the name with its configuration, without the version."""
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def registered_files(builder: tfds.core.DatasetBuilder) -> dict[str, str]:
    """The original files that TFDS knows for `builder`: {file name: sha256}."""
    infos = (builder.url_infos or {}).items()
    return {
        info.filename or urllib.parse.urlparse(url).path.rpartition("/")[-1]: info.checksum
        for url, info in infos
    }


def check_files(builder: tfds.core.DatasetBuilder, data_dir: pathlib.Path) -> None:
    """Compares the files in `data_dir` with the checksums that TFDS registers for `builder`.

    Raises:
      DataError: the folder or one of the files is missing, or the bytes differ.
    """
    name, files = full_name(builder), registered_files(builder)
    if not data_dir.is_dir():
        raise DataError(f"the data folder {data_dir} does not exist")
    missing = [file for file in files if not (data_dir / file).is_file()]
    if missing:
        what = "any" if len(missing) == len(files) else "all"
        raise DataError(
            f"the data folder {data_dir} does not hold {what} of the {len(files)} files of {name}; "
            f"missing: {_listed(missing)}. Copy the originals there, or name no data folder and "
            "they are downloaded"
        )
    for file, expected in files.items():
        if damage := _damage(builder, data_dir / file, expected):
            raise DataError(
                f"{data_dir / file} is not the original file of {name}, it is {damage}\n"
                "Replace it with an undamaged copy, or name no data folder and it is downloaded"
            )


def _damage(builder: tfds.core.DatasetBuilder, path: pathlib.Path, expected: str) -> str | None:
    """What is wrong with a file whose sha256 should be `expected`: "truncated: ...", or None."""
    found = file_digest(path)
    if found == expected:
        return None
    sizes = {info.checksum: int(info.size) for info in (builder.url_infos or {}).values()}
    size = path.stat().st_size
    return (
        f"{'truncated' if size < sizes[expected] else 'altered'}:\n"
        f"  expected sha256 {expected} ({sizes[expected]:,} bytes)\n"
        f"  found    sha256 {found} ({size:,} bytes)"
    )


def is_folder_of(name: str, data_dir: pathlib.Path) -> bool:
    """Whether `data_dir` holds the original files of the data set `name`, all of them intact.

    Fashion-MNIST and KMNIST call their files what MNIST calls its own.
    """
    files = registered_files(tfds.builder(name, data_dir=os.fspath(data_dir)))
    return bool(files) and all(
        (data_dir / file).is_file() and file_digest(data_dir / file) == checksum
        for file, checksum in files.items()
    )


def unreachable_host(builder: tfds.core.DatasetBuilder) -> str | None:
    """The first host that `builder` downloads from and that does not answer; None if all do.

    TFDS itself tries for minutes before it gives up.
    """
    addresses = {urllib.parse.urlparse(url)[:2] for url in builder.url_infos or {}}
    for scheme, host in sorted(addresses):
        request = urllib.request.Request(f"{scheme}://{host}/", method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_NETWORK_TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError:
            continue  # it answers, be it only that it has no such page
        except (OSError, ValueError) as error:
            _LOG.info("%s does not answer: %s", host, error)
            return host
    return None


def prepare(builder: tfds.core.DatasetBuilder, manual_dir: pathlib.Path | None) -> None:
    """Has `builder` write its records into its folder, unless they are there already.

    A kill leaves at most a folder that TFDS takes for unfinished; the next call removes it. Two
    processes that prepare in one folder wait for each other.

    Args:
      builder: of `get_builder`.
      manual_dir: folder with the original files, checked by `check_files`; None: download.

    Raises:
      DataError: a download failed, the disk is full, a file can't be read, ...
    """
    if builder.is_prepared():
        return
    name, root = full_name(builder), pathlib.Path(builder.data_dir_root)
    if manual_dir is None and (host := unreachable_host(builder)):
        raise DataError(
            f"{name} is not in {root} and can't be downloaded: {host} does not answer. Put its "
            f"original files ({_listed(list(registered_files(builder)))}) into a folder and name "
            "it with --data-dir, or take --dataset digits, which needs no network"
        )
    try:
        with _lock(root):
            if builder.is_prepared():  # by the process that held the lock
                return
            _prepare_locked(builder, manual_dir, root / "downloads")
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"TFDS could not prepare {name} in {root}: {_first_line(error)}") from error


def _prepare_locked(
    builder: tfds.core.DatasetBuilder, manual_dir: pathlib.Path | None, download_dir: pathlib.Path
) -> None:
    target = pathlib.Path(builder.data_dir)
    for unfinished in target.parent.glob(f"incomplete.*_{target.name}"):
        shutil.rmtree(unfinished)
    _encode_images_here(builder)
    config = tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else os.fspath(manual_dir), try_download_gcs=False
    )
    tfds.disable_progress_bar()
    pauses = list(_PAUSES_SECONDS)
    while True:
        for left_over in list(download_dir.rglob("*.tmp.*")):
            shutil.rmtree(left_over, ignore_errors=True)  # a thread of it may still move its file
        said = io.StringIO()  # TFDS prints to stdout, where `--json` has its document
        try:
            with contextlib.redirect_stdout(said), _watched(builder, download_dir, manual_dir):
                builder.download_and_prepare(
                    download_dir=os.fspath(download_dir),
                    download_config=config,
                    file_format="tfrecord",
                )
            break
        except Exception as error:
            why = _broken_off(builder, download_dir, error)
            if why is None:
                raise
            if not pauses:
                raise DataError(
                    f"the download of {full_name(builder)} broke off {len(_PAUSES_SECONDS) + 1} "
                    f"times ({why}). Try again later: what has arrived is kept"
                ) from error
            _PROGRESS.warning("the download broke off (%s); trying again", why)
            time.sleep(pauses.pop(0))
        finally:
            _LOG.info("%s", said.getvalue().strip())
    shutil.rmtree(download_dir / "extracted", ignore_errors=True)  # of no further use, 55 MB
    record = json.dumps({"files": shard_checksums(builder)}, indent=2, sort_keys=True) + "\n"
    write_atomically(target / PREPARED_FILE, record)


def _broken_off(
    builder: tfds.core.DatasetBuilder, download_dir: pathlib.Path, error: Exception
) -> str | None:
    """Why a download ended early, where another attempt may help; None where it can't.

    Raises:
      DataError: a file arrived whole, but is not the one that TFDS has the checksum of.
    """
    if isinstance(error, requests.RequestException):
        return _first_line(error)
    if not isinstance(error, download_manager.NonMatchingChecksumError):
        return None
    known, truncated = registered_files(builder), None
    for path in download_dir.glob("**/*.tmp.*/*"):
        damage = _damage(builder, path, known[path.name]) if path.name in known else None
        if damage and damage.startswith("truncated"):  # or another file that is on its way
            truncated = f"{path.name} is truncated"
        elif damage:
            raise DataError(
                f"the {path.name} that was downloaded is not the original file of "
                f"{full_name(builder)}, it is {damage}"
            )
    return truncated


@contextlib.contextmanager
def _watched(
    builder: tfds.core.DatasetBuilder, download_dir: pathlib.Path, manual_dir: pathlib.Path | None
) -> Iterator[None]:
    """Reports how much of a download has arrived, and has one fail whose host falls silent."""
    total = sum(int(info.size) for info in (builder.url_infos or {}).values())
    if manual_dir is not None or not total:
        yield
        return
    done = threading.Event()

    def report() -> None:
        while not done.wait(0.5):
            with contextlib.suppress(OSError):  # a file may be renamed while this looks at it
                files = [f for f in download_dir.rglob("*") if f.is_file() and f.suffix != ".INFO"]
                arrived = sum(f.stat().st_size for f in files if "extracted" not in f.parts)
                facts = {"step": arrived // 10**6, "total": total // 10**6, "of": "MB downloaded"}
                _PROGRESS.info("downloading", extra={"progress": facts})

    open_url = downloader._open_url
    downloader._open_url = functools.partial(open_url, timeout=_SILENCE_SECONDS)
    watcher = threading.Thread(target=report, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        downloader._open_url = open_url


def _encode_images_here(builder: tfds.core.DatasetBuilder) -> None:
    """Makes `builder` yield PNG files instead of arrays, which TFDS stores as they are.

    TFDS would encode each array by a TensorFlow operation of its own, the larger half of the time
    that it takes to prepare MNIST. The pixels are the same.
    """
    generate = builder._generate_examples
    if not inspect.isgeneratorfunction(inspect.unwrap(generate)):
        return  # a Beam pipeline: runs elsewhere
    image_name, _ = feature_names(builder)
    shape = image_shape(builder)
    if builder.info.features[image_name].encoding_format == "jpeg":
        return

    def generate_encoded(*args, **kwargs) -> Iterator[tuple]:
        for key, example in generate(*args, **kwargs):
            image = example[image_name]
            if getattr(image, "shape", None) == shape:  # not a path or a file
                example = {**example, image_name: png.encode_png(image)}
            yield key, example

    builder._generate_examples = generate_encoded


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[None]:
    """Holds `folder` for this process alone; the system lets go of it when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepared_root(builder: tfds.core.DatasetBuilder, folder: pathlib.Path) -> pathlib.Path | None:
    """The TFDS folder that holds `builder`'s set prepared, where `folder` is it or is in it.

    Args:
      builder: of `get_builder`.
      folder: a TFDS folder (`~/tensorflow_datasets`), or the set's folder or its version's in it.
    """
    name = pathlib.PurePath(full_name(builder))
    for root in (folder, *folder.parents[: len(name.parts) + 1]):
        version = root / name / str(builder.version)
        within = folder in (version, *version.parents)
        if within and (version / "dataset_info.json").is_file():
            return root
    return None


def named_root(builder: tfds.core.DatasetBuilder) -> pathlib.Path | None:
    """The folder in `TFDS_DATA_DIR`, TFDS's own variable, if the set is prepared there."""
    folder = os.environ.get(TFDS_VARIABLE, "").strip()
    return prepared_root(builder, pathlib.Path(folder).expanduser().absolute()) if folder else None


def prepared_here(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether this project prepared the records that are used, which are then compared.

    By their digests, which takes 0.1 s for MNIST.

    Raises:
      DataError: a record file is not as it was prepared.
    """
    folder = pathlib.Path(builder.data_dir)
    try:
        recorded = parse_json((folder / PREPARED_FILE).read_text())["files"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        recorded = {}
    paths = {path.name: path for path in _shards(builder)}
    for name in sorted(recorded.keys() | paths.keys()):
        if name not in recorded or not (folder / name).is_file():
            problem = "is missing" if name in recorded else "was not there when it was prepared"
        elif file_digest(folder / name) != recorded[name]:
            problem = "was altered after it was prepared"
        else:
            continue
        raise DataError(
            f"{folder / name} {problem}. Delete the folder {folder} and run again: it is then "
            "prepared again"
        )
    return True


def _shards(builder: tfds.core.DatasetBuilder) -> list[pathlib.Path]:
    return sorted(
        pathlib.Path(path) for split in builder.info.splits.values() for path in split.filepaths
    )


def shard_checksums(builder: tfds.core.DatasetBuilder) -> dict[str, str]:
    """sha256 of the prepared record files: {file name: sha256}.

    Raises:
      DataError: one is missing.
    """
    try:
        return {path.name: file_digest(path) for path in _shards(builder)}
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} is missing. Delete the folder {builder.data_dir} and run again: it "
            "is then prepared again"
        ) from None


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _either(names: list[str]) -> str:
    return " or ".join(repr(name) for name in names[:12])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
