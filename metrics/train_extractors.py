"""Trains the pinned feature extractors on MNIST; writes their weights, digests and cards.

    python -m metrics.train_extractors [EXTRACTOR ...] --data-dir FOLDER_OF_THE_FOUR_FILES

makes the weights in `metrics/weights/` again.

The slices are the pipeline's: train is the first 50,000 in the order of TFDS, eval the rest of its
train split, test its test split. Test images are used once, after the weights are fixed.
"""

import argparse
import hashlib
import os
import pathlib
import platform
import tempfile
import time

import numpy as np

from common.files import atomic_path
from common.images import IMAGE_SHAPE, ImageShape
from metrics.features import EXTRACTORS, NetworkExtractor, Weights

DATASET = "mnist:3.0.1"
SEED = 1
FID_COUNT = 10_000


def load_splits(
    data_dir: str | None,
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str]]:
    """Reads MNIST through TFDS.

    Args:
      data_dir: folder of the original files; None: TFDS downloads them.

    Returns:
      split name -> (uint8 [N, 28, 28, 1], int64 [N]) for train, eval and test, and the names of
      the classes.
    """
    os.environ.setdefault("NO_GCE_CHECK", "true")
    import tensorflow_datasets as tfds

    with tempfile.TemporaryDirectory() as scratch:
        builder = tfds.builder(DATASET, data_dir=scratch)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=data_dir, try_download_gcs=False
            )
        )
        slices = {"train": "train[:50000]", "eval": "train[50000:]", "test": "test"}
        splits = {}
        for name, part in slices.items():
            rows = list(tfds.as_numpy(builder.as_dataset(split=part, shuffle_files=False)))
            splits[name] = (
                np.stack([row["image"] for row in rows]),
                np.array([row["label"] for row in rows], np.int64),
            )
        return splits, list(builder.info.features["label"].names)


EPOCHS = {"classifier": 18, "pooled": 6, "autoencoder": 6, "random": 0}
BOTTLENECK = 32
HOW = {
    "classifier": "AdamW, a learning rate falling to zero along a cosine, dropout around the "
    "feature layer, and images moved by up to 2 pixels, turned by up to 10 degrees, scaled and "
    "sheared a little.",
    "pooled": "As the classifier with a flat feature layer, but with global average pooling, "
    "fewer epochs and no augmentation: it is sensitive to texture.",
    "autoencoder": "Encoder of an autoencoder, trained for mean squared error without labels: it "
    "is sensitive to whatever costs squared error, whether it matters to a class or not.",
    "random": "Not trained: 5x5 and 3x3 filters drawn from a normal distribution, without their "
    "mean in half of the first layer; the mean of each map over the image. It knows nothing of "
    "digits and is sensitive to grey levels and texture.",
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m metrics.train_extractors", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "extractors", nargs="*", metavar="EXTRACTOR", help=f"of {', '.join(EXTRACTORS)} (all)"
    )
    parser.add_argument(
        "--data-dir", help="folder of the original files, so that no network is used"
    )
    options = parser.parse_args(arguments)
    names = options.extractors or list(EXTRACTORS)
    if unknown := set(names) - set(EXTRACTORS):
        parser.error(f"there is no extractor {', '.join(sorted(unknown))}")

    splits, class_names = load_splits(options.data_dir)
    import keras
    import tensorflow as tf

    for kind in names:
        started = time.monotonic()
        facts = {
            "name": f"mnist_{kind}" + ("_penultimate" if kind == "classifier" else ""),
            "eye": kind,
            "dataset": "mnist",
            "dataset_version": DATASET,
            "class_names": class_names if kind in ("classifier", "pooled") else [],
            "train_examples": len(splits["train"][0]),
            "epochs": EPOCHS[kind],
            "seed": SEED,
            "versions": {
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
        }
        if kind == "random":
            facts |= {"name": "random", "dataset": "", "train_examples": 0}
        weights = _make(kind, splits["train"], len(class_names), facts)
        _write(EXTRACTORS[kind], weights, splits, (time.monotonic() - started) / 60)


def _make(kind: str, train: tuple, num_classes: int, facts: dict) -> Weights:
    from metrics import classifier

    if kind == "random":
        return random_network(SEED, facts)
    if kind == "autoencoder":
        return autoencoder(train[0], EPOCHS[kind], SEED, facts, verbose=True)
    pooled = kind == "pooled"
    return classifier.train(
        train[0],
        train[1],
        num_classes,
        epochs=EPOCHS[kind],
        seed=SEED,
        architecture=classifier.POOLED if pooled else classifier.FLAT,
        augment=not pooled,
        dropout=0.0 if pooled else 0.25,
        facts=facts,
        verbose=True,
    )


def random_network(seed: int, facts: dict, image_shape: ImageShape = IMAGE_SHAPE) -> Weights:
    """An untrained network: 32 filters of 5x5, then 64 of 3x3, and the mean of each of their maps.

    Half of the first filters have mean zero and answer to edges alone; a small negative bias
    makes them silent on what is even.
    """
    random = np.random.default_rng(seed)
    channels = image_shape[2]
    first = random.normal(0, (2 / (25 * channels)) ** 0.5, (5, 5, channels, 32))
    first[..., 16:] -= first[..., 16:].mean(axis=(0, 1))
    second = random.normal(0, (2 / (9 * 32)) ** 0.5, (3, 3, 32, 64))
    return Weights(
        layers=(
            {"kind": "convolution", "stride": 2, "padding": "SAME"},
            {"kind": "convolution", "stride": 2, "padding": "SAME", "pool": True, "relu": True},
        ),
        kernels=(first.astype(np.float32), second.astype(np.float32)),
        biases=(np.full(32, -0.01, np.float32), np.zeros(64, np.float32)),
        facts={**facts, "image_shape": image_shape},
    )


def autoencoder(
    images: np.ndarray,
    epochs: int,
    seed: int,
    facts: dict,
    *,
    batch_size: int = 250,
    verbose: bool = False,
) -> Weights:
    """The encoder of a small autoencoder of uint8 [N, H, W, C], H and W multiples of 4."""
    import keras
    import tensorflow as tf

    from metrics import classifier

    encoder = []
    height, width, channels = images.shape[1:]

    def build() -> keras.Model:
        value = inputs = keras.Input(images.shape[1:])
        for filters in (16, 32):
            value = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(
                value
            )
        value = keras.layers.Dense(BOTTLENECK)(keras.layers.Flatten()(value))
        encoder.append(keras.Model(inputs, value))
        value = keras.layers.Dense(height * width, activation="relu")(value)
        value = keras.layers.Reshape((height // 4, width // 4, 16))(value)
        for filters, activation in ((16, "relu"), (channels, None)):
            value = keras.layers.Conv2DTranspose(
                filters, 4, strides=2, padding="same", activation=activation
            )(value)
        return keras.Model(inputs, value)

    def prepare(index: tf.Tensor, batch: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(batch[0], tf.float32) / 255.0
        return pixels, pixels

    classifier.fit(
        build,
        (images,),
        prepare,
        keras.losses.MeanSquaredError(),
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        learning_rate=4e-3,
        verbose=verbose,
    )
    return classifier.fold(encoder[0], {**facts, "image_shape": images.shape[1:]})


def _write(path: pathlib.Path, weights: Weights, splits: dict, minutes: float) -> None:
    content = weights.to_bytes()
    digest = hashlib.sha256(content).hexdigest()
    # Measured on what is stored, float16 and all.
    extractor = NetworkExtractor(Weights.from_bytes(content), digest)
    card = _card(path.name, extractor, content, splits, minutes)
    for target, text in (
        (path, content),
        (path.with_name(path.name + ".sha256"), f"{digest}  {path.name}\n"),
        (path.with_suffix(".md"), card),
    ):
        with atomic_path(target) as temporary:
            temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
    print(card)


def fid_of_real(extractor: NetworkExtractor, splits: dict) -> tuple[float, float]:
    """FID of disjoint folds of the train split, and of train images against the test split.

    All at the same number of images: at most FID_COUNT, at most half of the train split.
    """
    from metrics.frechet import frechet_distance_from_features

    images = splits["train"][0]
    count = min(FID_COUNT, len(images) // 2, len(splits["test"][0]))
    order = np.random.default_rng(0).permutation(len(images))
    first, second = (
        extractor.features(images[np.sort(order[start : start + count])]) for start in (0, count)
    )
    test = extractor.features(splits["test"][0][:count])
    return (
        frechet_distance_from_features(first, second),
        frechet_distance_from_features(first, test),
    )


def _card(
    name: str, extractor: NetworkExtractor, content: bytes, splits: dict, minutes: float
) -> str:
    weights, facts = extractor.weights, extractor.weights.facts
    kind = facts["eye"]
    parameters = sum(array.size for array in weights.kernels + weights.biases)
    layers = "\n".join(
        f"| {index} | {layer['kind']} | {' x '.join(map(str, kernel.shape))} | "
        + (f"stride {layer['stride']}, {layer['padding']}" if "stride" in layer else "")
        + (", mean over places |" if layer.get("pool") else " |")
        for index, (layer, kernel) in enumerate(zip(weights.layers, weights.kernels, strict=True))
    )
    train, test = fid_of_real(extractor, splits)
    rows = {
        "features": f"{extractor.dim}",
        "input": "uint8 28x28x1, divided by 255",
        "trained on": f"`{facts['dataset_version']}`, the first {facts['train_examples']:,} of "
        "the train split in the order of TFDS, and nothing else"
        if facts["train_examples"]
        else "nothing",
        "FID of real images": f"train folds {train:.4f}, train against test {test:.4f}, at "
        f"{min(FID_COUNT, len(splits['test'][0])):,} images",
        "size": f"{parameters:,} parameters as float16, {len(content):,} bytes",
        "sha256": f"`{extractor.digest}`",
        "made by": f"`python -m metrics.train_extractors {kind}` ({facts['epochs']} epochs, seed "
        f"{facts['seed']}), {minutes:.1f} minutes on two cores",
        "with": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    }
    if extractor.num_classes:
        rows["accuracy"] = ", ".join(
            f"{split} {extractor.accuracy(*splits[split]):.2%}"
            for split in ("train", "eval", "test")
        )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# `{name}`: {facts["name"]}

One of the networks by whose features generators are judged.

| | |
| --- | --- |
{table}

Batch normalisation is folded into the kernels; each layer but the last ends in a ReLU.

| layer | kind | kernel | |
| --- | --- | --- | --- |
{layers}

{HOW[kind]} Numbers made with other weights (another digest) are on another scale.
"""


if __name__ == "__main__":
    main()
