"""From "the data that was asked for" to facts: which records, where, with what checksums."""

import dataclasses
import json
import logging
import math
import pathlib
from collections.abc import Mapping

from common.images import ImageShape, describe_shape, is_known
from datasets import digits, image_files, image_folder, tfds_store
from datasets.data_config import DataConfig
from datasets.info import ORIGINALS, RECORDS, DatasetInfo
from datasets.tfds_store import DataError

HELD_OUT_EXAMPLES = 10_000  # of `eval` and of `test`, where the data set is as large as MNIST
MAX_TRAIN_VALUES = 2_000_000_000
"""Largest train split in numbers, pixels times channels, unless `train_examples` asks for more.

Memory does not limit it, time and disk do: 2.5 million images of 28x28 grey (quickdraw_bitmap has
50 million) take about an hour without the training, and the trainer a temporary file of 8 GB. They
are 651,000 of 32x32 and 163,000 of 64x64 in colour.
"""
# A small data set gives this share of its train split to `eval` (MNIST: 10,000 of 60,000), and
# where it has no test split another such share of what it has to `test`.
_EVAL_DIVISOR, _TEST_DIVISOR = 6, 7
MIN_TEST_EXAMPLES = 50  # fewer tell nothing: the judge looks at neighbours and at classes
MIN_COMPARED_EXAMPLES = 100  # of a span: `metrics.two_sample` takes no fewer
_PROGRESS = logging.getLogger("mnist_gan.progress")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSource(DatasetInfo):
    """A data set that lies prepared on disk.

    Attributes:
      requested: what the user asked for, such as "auto".
      tfds_dir: folder in which TFDS keeps it.
      data_dir: folder with the original files that it was prepared from, if one was named.
      note: what to know of it: why it is not what was asked for, what of it was left out.
      spans: numbers of the spans of the folder that it was made from, if it has any.
      compared: the newest of these alone, and the span before it, where there is one.
    """

    requested: str
    tfds_dir: str
    data_dir: str | None = None
    note: str = ""
    spans: tuple[int, ...] = ()
    compared: tuple["DataSource", ...] = ()

    @property
    def prepared_dir(self) -> pathlib.Path:
        """The folder with the prepared records."""
        return pathlib.Path(self.tfds_dir, self.dataset, self.dataset_version)

    def to_json(self) -> str:
        """All fields as one line of JSON, splits in their order."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "DataSource":
        """The inverse of `to_json`."""
        fields = json.loads(text)
        tuples = {name: tuple(fields[name]) for name in ("class_names", "image_shape", "spans")}
        compared = tuple(cls.from_json(json.dumps(one)) for one in fields["compared"])
        return cls(**{**fields, **tuples, "compared": compared})


def resolve(config: DataConfig, tfds_dir: pathlib.Path) -> DataSource:
    """Finds, checks and where needed prepares the data set that `config` asks for.

    A second call finds it prepared and only checks the original files, if a folder is named.

    Args:
      config: the settings.
      tfds_dir: folder in which TFDS keeps its prepared sets; made if needed.

    Raises:
      DataError: with one message for the user.
    """
    tfds_dir = pathlib.Path(tfds_dir).absolute()
    if config.is_folder:
        return _resolve_folder(config, tfds_dir)
    for name in ("background", "skip_unreadable", "span", "spans"):
        if getattr(config, name) != DataConfig.model_fields[name].default:
            raise DataError(
                f"the setting {name!r} is for folders of images (--dataset folder:PATH), and the "
                f"data set is {config.dataset!r}"
            )
    if config.dataset != "auto":
        return _resolve_named(config.dataset, config, tfds_dir)
    mnist = tfds_store.get_builder("mnist", tfds_dir)
    at_hand = config.data_dir or mnist.is_prepared() or tfds_store.named_root(mnist)
    if at_hand:
        return _resolve_named("mnist", config, tfds_dir)
    if host := tfds_store.unreachable_host(mnist):
        reason = (
            "MNIST is not at hand: no data folder was named, nothing is prepared in the "
            f"workspace, and {host} does not answer. The embedded digits stand in for it"
        )
    else:
        try:
            return _resolve_named("mnist", config, tfds_dir)
        except DataError as error:  # a host that answers, but not with MNIST
            reason = f"MNIST cannot be loaded: {error}. The embedded digits stand in for it"
    _PROGRESS.warning("%s", reason)
    return _resolve_named("digits", config, tfds_dir, note=reason)


def _resolve_folder(config: DataConfig, tfds_dir: pathlib.Path) -> DataSource:
    if config.data_dir is not None:
        raise DataError(
            f"--dataset {config.dataset} names its folder itself: leave --data-dir "
            f"{config.data_dir} out"
        )
    folder = image_folder.open_folder(config.dataset, config.span, config.spans)
    found, notes = _prepare_folder(folder, config, tfds_dir)
    if folder.before is not None:
        try:
            compared = [
                found
                if folder.spans == (number,)
                else _prepare_folder(
                    image_folder.open_folder(config.dataset, number), config, tfds_dir
                )[0]
                for number in (folder.spans[-1], folder.before)
            ]
            fewest = min(one.split_counts["train"] for one in compared)
            if fewest < MIN_COMPARED_EXAMPLES:
                raise DataError(f"{fewest} train images are too few to tell")
            found = dataclasses.replace(found, compared=tuple(compared))
        except DataError as error:
            notes.append(f"span {folder.spans[-1]} was not compared with the one before: {error}")
    for note in notes:
        _PROGRESS.warning("%s: %s", image_files.printable(folder.root), note)
    return dataclasses.replace(found, note=". ".join(filter(None, (*notes, found.note))))


def _prepare_folder(
    folder: image_folder.ImageFolder, config: DataConfig, tfds_dir: pathlib.Path
) -> tuple[DataSource, list[str]]:
    """The folder as a data set, and what a user should know of it."""
    builder, notes = image_folder.prepare(folder, config, tfds_dir)
    tfds_store.prepared_here(builder)
    found = _found(builder, config, folder.checksums, str(folder.root))
    return dataclasses.replace(found, spans=folder.spans), notes


def _resolve_named(
    name: str, config: DataConfig, tfds_dir: pathlib.Path, note: str = ""
) -> DataSource:
    builder = tfds_store.get_builder(name, tfds_dir)
    _shape(builder, config)  # refused before anything is downloaded
    data_dir = root = None
    if config.data_dir is not None and builder.name != "digits":  # which is embedded
        data_dir = config.data_dir.absolute()
        root = tfds_store.prepared_root(builder, data_dir)
        # The environment may name MNIST's folder for every run, of other data sets too.
        if root is None and builder.name != "mnist" and tfds_store.is_folder_of("mnist", data_dir):
            _PROGRESS.warning("%s holds MNIST, not %s: not used", data_dir, name)
            data_dir = None
        elif root is None:
            tfds_store.check_files(builder, data_dir)
    if root is None and not builder.is_prepared():
        root = tfds_store.named_root(builder)
    if root is not None:
        builder = tfds_store.get_builder(name, root)
    tfds_store.prepare(builder, data_dir)
    checksums = _checksums(builder)
    return _found(
        builder,
        config,
        checksums,
        None if data_dir is None else str(data_dir),
        note,
    )


def _found(
    builder,
    config: DataConfig,
    checksums: Mapping[str, str],
    data_dir: str | None,
    reason: str = "",
) -> DataSource:
    """The facts about a set that `builder` has prepared."""
    shape = _shape(builder, config)
    slices, counts, taken = _splits(builder, config, shape)
    label_name = tfds_store.feature_names(builder)[1]
    names = tuple(builder.info.features[label_name].names) if label_name else (builder.name,)
    found = DataSource(
        requested=config.dataset,
        dataset=tfds_store.full_name(builder),
        dataset_version=str(builder.version),
        split_slices=slices,
        split_counts=counts,
        num_classes=len(names),
        class_names=names,
        image_shape=shape,
        checksums=checksums or tfds_store.shard_checksums(builder),
        checksums_of=ORIGINALS if checksums else RECORDS,
        tfds_dir=str(builder.data_dir_root),
        data_dir=data_dir,
        note=". ".join(filter(None, (reason, taken))),
    )
    return dataclasses.replace(found, fingerprint=found.content_digest())


def _checksums(builder) -> dict[str, str]:
    """Of the original files that the records were made from; {} where nobody knows them."""
    if not tfds_store.prepared_here(builder):
        _PROGRESS.warning(
            "the records in %s were prepared by someone else: the checksums of their original "
            "files are unknown, those of the records are noted instead",
            builder.data_dir,
        )
        return {}
    return (
        digits.source_checksums()
        if builder.name == "digits"
        else tfds_store.registered_files(builder)
    )


def _shape(builder, config: DataConfig) -> ImageShape:
    """What the images have, or are made to have on purpose.

    Raises:
      DataError: the networks draw no such images.
    """
    height, width, own_channels = tfds_store.image_shape(builder)
    size, channels = config.image_size, config.channels or own_channels
    shape = (size or height or 0, size or width or 0, channels)
    if not is_known(shape):
        own = describe_shape((height, width, own_channels)) if height and width else "of many sizes"
        nearest = image_files.nearest_size(min(height or 64, width or 64))
        raise DataError(
            f"the images of {tfds_store.full_name(builder)!r} are {own}; 28x28, 32x32 and 64x64 "
            f"are taken as they are (--set image_size={nearest} scales and crops others)"
        )
    return shape


def _splits(
    builder, config: DataConfig, shape: ImageShape
) -> tuple[dict[str, str], dict[str, int], str]:
    """Which records of TFDS's splits make up `train`, `eval` and `test`, and what is left out."""
    sizes = {name: info.num_examples for name, info in builder.info.splits.items()}
    end = sizes.get("train", 0)
    if "test" in sizes:
        test_from, test_start = "test", 0
        test = min(HELD_OUT_EXAMPLES, sizes["test"])
    else:
        test = min(HELD_OUT_EXAMPLES, end // _TEST_DIVISOR)
        test_from, test_start = "train", end - test
        end -= test
    if eval_from := next((name for name in ("eval", "validation") if name in sizes), ""):
        held_out, train, eval_start = min(HELD_OUT_EXAMPLES, sizes[eval_from]), end, 0
    else:
        held_out = min(HELD_OUT_EXAMPLES, end // _EVAL_DIVISOR)
        train = end - held_out
        eval_from, eval_start = "train", train
    if min(train, held_out, test) < 1:
        raise DataError(
            f"the data set {tfds_store.full_name(builder)!r} can't be used: splits for training, "
            f"evaluation and test can't be made of {sizes}"
        )
    most, taken = MAX_TRAIN_VALUES // math.prod(shape), ""
    if config.train_examples is None and train > most:
        taken = (
            f"The first {most:,} of {train:,} training images are taken; --set train_examples=N "
            "takes more"
        )
        _PROGRESS.warning("%s", taken)
    parts = {  # split: (TFDS split, first record, records, cap)
        "train": ("train", 0, train, config.train_examples or most),
        "eval": (eval_from, eval_start, held_out, config.eval_examples),
        "test": (test_from, test_start, test, config.test_examples),
    }
    counts = {name: min(size, cap or size) for name, (_, _, size, cap) in parts.items()}
    if counts["test"] < MIN_TEST_EXAMPLES:
        raise DataError(
            f"{counts['test']} test images are too few to judge a generator by: at least "
            f"{MIN_TEST_EXAMPLES} are needed"
            + (" (--set test_examples=N)" if config.test_examples else "")
        )
    slices = {
        name: f"{part}[{start}:{start + counts[name]}]"
        for name, (part, start, _, _) in parts.items()
    }
    return slices, counts, taken
