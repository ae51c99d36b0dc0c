"""TFX Trainer entry point: Examples and a transform graph in, a SavedModel out."""

import hashlib
import io
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from common.contract import GeneratorContract
from common.files import write_atomically
from common.images import IMAGE_SHAPE, PINNED_FOR, to_uint8
from common.workspace import Workspace
from datasets.examples import ordered
from datasets.info import DatasetInfo
from metrics import own_extractors
from metrics.features import NetworkExtractor, load_extractor
from trainer.evaluation import make_evaluation
from trainer.export import export_generator
from trainer.training import LOOPS, OtherNetworksError, train
from trainer.training_config import (
    NO_BASE_MODEL,
    NO_HYPERPARAMETERS,
    best_settings,
    make_config,
    resolve_precision,
)

logger = logging.getLogger(__name__)

# Weights of both networks, beside the SavedModel: serving needs the generator only.
WARM_START_FILE = "Training/weights.npz"
PARSE_BATCH = 500


def run_fn(fn_args: Any) -> None:
    """Trains, exports to `fn_args.serving_model_dir`, leaves records in `fn_args.model_run_dir`.

    `fn_args` are TFX's FnArgs. Their `custom_config` holds `training` (TrainingConfig as JSON),
    `seed`, `data` (a `DatasetInfo` as a dictionary), `checkpoint_root`, `tensorboard_root`,
    `source_hash`, `preset` and `versions`.
    """
    custom = fn_args.custom_config
    settings = json.loads(custom["training"])
    if settings.get("hyperparameters"):
        if not fn_args.hyperparameters:
            raise ValueError(NO_HYPERPARAMETERS)
        settings |= best_settings(fn_args.hyperparameters, settings["model"])
    config = make_config(**settings)
    architecture = LOOPS[config.model].architecture
    data, seed = DatasetInfo.from_dict(custom["data"]), int(custom["seed"])
    images, labels = read_checked("train", fn_args.train_files, fn_args.transform_output, data)
    logger.info("Read %d images to train on", len(images))
    if config.base_model and not fn_args.base_model:
        raise ValueError(NO_BASE_MODEL)
    initial_weights = load_warm_start(fn_args.base_model) if fn_args.base_model else None

    precision = resolve_precision(config.precision)
    identity = [
        config.model_dump_json(),
        precision,
        str(seed),
        custom["source_hash"],
        json.dumps(custom["versions"], sort_keys=True),
        digest_of({"images": images, "labels": labels}),
        digest_of(initial_weights or {}),
    ]
    fingerprint = hashlib.sha256("\n".join(identity).encode()).hexdigest()
    # What TensorBoard calls it; a training that is resumed goes on under the same name.
    name = f"{data.dataset} {config.model} {config.steps} steps seed {seed} {fingerprint[:8]}"
    name = name.replace("/", "-").replace(" ", "_")
    evaluate = None
    if config.eval_interval and data.image_shape != IMAGE_SHAPE:
        logger.info("No FID while training: the pinned network takes %s", IMAGE_SHAPE)
    elif config.eval_interval:
        held_out = read_checked("eval", fn_args.eval_files, fn_args.transform_output, data)
        evaluate = make_evaluation(
            *held_out,
            data.dataset,
            first_extractor(custom, data, (images, labels), held_out),
            config,
            architecture,
            seed,
        )
    try:
        result = train(
            images,
            labels,
            config,
            data.num_classes,
            seed,
            checkpoint_dir=custom["checkpoint_root"],
            output_dir=fn_args.model_run_dir,
            log_dir=pathlib.Path(custom["tensorboard_root"], name),
            fingerprint=fingerprint,
            initial_weights=initial_weights,
            evaluate=evaluate,
        )
    except OtherNetworksError as error:
        base = GeneratorContract.load(fn_args.base_model)
        raise OtherNetworksError(
            f"can't start from the generator in {fn_args.base_model}: {error}. It is a "
            f"{base.model} with latents of {base.latent_dim} and {base.num_classes} classes, this "
            f"run trains a {config.model} with {config.latent_dim} and {data.num_classes}; all "
            "settings of the networks must be the same."
        ) from error
    contract = GeneratorContract(
        model=config.model,
        latent_dim=config.latent_dim,
        latent_distribution=architecture.latent_distribution,
        image_shape=data.image_shape,
        value_range=(-1.0, 1.0),
        num_classes=data.num_classes,
        class_names=data.class_names,
        classes_present=tuple(int(label) for label in np.unique(labels)),
        conditional=architecture.conditional and data.num_classes > 1,
        training={
            "config": config.model_dump(),
            "precision": precision,
            "preset": custom["preset"],
            "seed": seed,
            "steps": result.steps,
            "data": data.to_dict(),
            "source_hash": custom["source_hash"],
            "versions": custom["versions"],
            "warm_start": fn_args.base_model or None,
        },
    )
    export_generator(result.generator, contract, fn_args.serving_model_dir, result.discriminator)
    save_warm_start(fn_args.serving_model_dir, result.weights)


def first_extractor(
    custom: Mapping, data: DatasetInfo, train: tuple, held_out: tuple
) -> NetworkExtractor:
    """The first of the judge's extractors; the node FeatureExtractor left the data's own here."""
    if data.dataset in PINNED_FOR:
        return load_extractor()
    splits = {"train": train, "eval": held_out}
    folder = own_extractors.made(
        Workspace(pathlib.Path(custom["checkpoint_root"]).parent).cache,
        data.dataset,
        data.fingerprint,
        data.num_classes,
        lambda split: (to_uint8(splits[split][0]), splits[split][1]),
    )
    return next(iter(own_extractors.load(folder).values()))


def read_split(patterns: Sequence[str], transform_output: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads Examples through the transform graph.

    Args:
      patterns: file patterns of gzipped TFRecords of raw tf.train.Examples.
      transform_output: the TransformGraph artifact's folder.

    Returns:
      Images float32 [N, H, W, C] in [-1, 1] and labels int64 [N], ordered by the feature `id`, so
      that the same seed gives the same weights. Many images lie in a temporary file
      (`common/mapped.py`).
    """
    graph = tft.TFTransformOutput(transform_output)
    # Called batch by batch: inside a tf.function the layer takes six seconds to trace.
    transform = graph.transform_features_layer()
    feature_spec = graph.raw_feature_spec()
    files = tf.io.matching_files(list(patterns))

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for records in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(PARSE_BATCH):
            raw = tf.io.parse_example(records, feature_spec)
            yield transform(raw)["image"].numpy(), _column(raw["label"]), _column(raw["id"])

    return ordered(batches(), ", ".join(patterns)).arrays


def read_checked(
    split: str, patterns: Sequence[str], transform_output: str, data: DatasetInfo
) -> tuple[np.ndarray, np.ndarray]:
    """As `read_split`; refuses to train on a part of the data.

    Raises:
      ValueError: there are not as many as `data` promises of the split.
    """
    images, labels = read_split(patterns, transform_output)
    expected = data.split_counts.get(split, len(images))
    if len(images) != expected:
        raise ValueError(
            f"{', '.join(patterns)} hold {len(images):,} examples of the {expected:,} of {split}: "
            "nothing was trained. `mnist-gan run --from MnistExampleGen` writes them again"
        )
    return images, labels


def _column(feature: tf.Tensor | tf.SparseTensor) -> np.ndarray:
    """One value per example, whichever way the schema made the parser return it."""
    values = feature.values if isinstance(feature, tf.SparseTensor) else feature
    return values.numpy().ravel()


def save_warm_start(serving_model_dir: str, weights: dict[str, np.ndarray]) -> None:
    """Writes both networks' weights beside the SavedModel, for a later run to start from."""
    path = pathlib.Path(serving_model_dir).parent / WARM_START_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(weights)  # `savez` has keywords of its own for a type checker
    np.savez(buffer, **named)
    write_atomically(path, buffer.getvalue())


def load_warm_start(base_model: str) -> dict[str, np.ndarray]:
    """Weights to start from, of the model whose SavedModel is `base_model`.

    Raises:
      ValueError: there are none.
    """
    path = pathlib.Path(base_model).parent / WARM_START_FILE
    if not path.exists():
        raise ValueError(f"can't start from {base_model}: {path} is missing")
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def digest_of(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of named arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
