"""Trains a feature extractor on a data set's train split and writes its weights, digest and card.

    python -m metrics.train_classifier --data-dir FOLDER_OF_THE_FOUR_FILES

makes `metrics/weights/mnist_classifier.npz` anew. Another data set of TFDS gets an extractor of
its own (`--dataset fashion_mnist --out FILE.npz`), which `load_extractor(FILE.npz)` takes.

The slices are the pipeline's: train is the first 50,000 in the order of TFDS, eval the rest of its
train split, test its test split. Test pictures are looked at once, after the weights are fixed.
"""

import argparse
import hashlib
import os
import pathlib
import platform
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from common.files import atomic_path
from common.images import check_images
from metrics.features import PINNED, ClassifierExtractor, ClassifierWeights

EVAL_COUNT = 10_000
FLOOR_COUNT = 10_000


def load_splits(
    dataset: str, data_dir: str | None, tfds_dir: str | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], str, list[str]]:
    """Reads a data set of 28x28x1 pictures through TFDS.

    Args:
      dataset: its name in TFDS, with or without a version.
      data_dir: folder of the original files; None: TFDS downloads them.
      tfds_dir: where TFDS prepares the data set; None: a temporary folder.

    Returns:
      split name -> (uint8 [N, 28, 28, 1], int64 [N]) for train, eval and test, the data set's
      name with its version, and the names of its classes.
    """
    os.environ.setdefault("NO_GCE_CHECK", "true")
    import tensorflow_datasets as tfds

    with tempfile.TemporaryDirectory() as scratch:
        builder = tfds.builder(dataset, data_dir=tfds_dir or scratch)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=data_dir, try_download_gcs=False
            )
        )
        cut = builder.info.splits["train"].num_examples - EVAL_COUNT
        splits = {}
        for name, slices in {
            "train": f"train[:{cut}]",
            "eval": f"train[{cut}:]",
            "test": "test",
        }.items():
            rows = list(tfds.as_numpy(builder.as_dataset(split=slices, shuffle_files=False)))
            splits[name] = (
                check_images("images", np.stack([row["image"] for row in rows])),
                np.array([row["label"] for row in rows], np.int64),
            )
        version = f"{builder.name}:{builder.version}"
        return splits, version, list(builder.info.features["label"].names)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m metrics.train_classifier", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--dataset", default="mnist:3.0.1", help="name in TFDS")
    parser.add_argument(
        "--data-dir", help="folder of the original files, so that no network is used"
    )
    parser.add_argument("--tfds-dir", help="where TFDS prepares the data (default: temporary)")
    parser.add_argument("--out", type=pathlib.Path, default=PINNED, help="the .npz to write")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    splits, dataset, class_names = load_splits(options.dataset, options.data_dir, options.tfds_dir)
    import keras
    import tensorflow as tf

    from metrics import classifier

    started = time.monotonic()
    facts = {
        "name": f"{dataset.split(':')[0]}_classifier_penultimate",
        "dataset": dataset.split(":")[0],
        "dataset_version": dataset,
        "class_names": class_names,
        "train_examples": len(splits["train"][0]),
        "epochs": options.epochs,
        "seed": options.seed,
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    }
    weights = classifier.train(
        *splits["train"],
        num_classes=len(class_names),
        epochs=options.epochs,
        seed=options.seed,
        facts=facts,
        on_step=_progress(),
    )
    minutes = (time.monotonic() - started) / 60

    content = weights.to_bytes()
    digest = hashlib.sha256(content).hexdigest()
    # Measured on what is stored, float16 and all.
    extractor = ClassifierExtractor(ClassifierWeights.from_bytes(content), digest)
    accuracy = {name: extractor.accuracy(*splits[name]) for name in ("train", "eval", "test")}
    floor = _floor(extractor, splits)
    card = _card(options.out.name, weights, content, digest, accuracy, floor, minutes)
    for path, text in (
        (options.out, content),
        (options.out.with_name(options.out.name + ".sha256"), f"{digest}  {options.out.name}\n"),
        (options.out.with_suffix(".md"), card),
    ):
        with atomic_path(path) as temporary:
            temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
    print(card)


def _progress() -> Callable[[int, int, float], None]:
    """Shows steps, loss and time: a bar on a terminal, a line every tenth of the way elsewhere."""
    if not sys.stderr.isatty():

        def line(done: int, total: int, loss: float) -> None:
            if done % max(1, total // 10) == 0 or done == total:
                print(f"step {done}/{total}  loss {loss:.4f}", file=sys.stderr, flush=True)

        return line

    import rich.console
    import rich.progress

    bar = rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        rich.progress.TextColumn("loss {task.fields[loss]:.4f}"),
        console=rich.console.Console(stderr=True),
    )
    task = bar.add_task("training", total=None, loss=0.0)
    bar.start()

    def update(done: int, total: int, loss: float) -> None:
        bar.update(task, completed=done, total=total, loss=loss)
        if done == total:
            bar.stop()

    return update


def _floor(extractor: ClassifierExtractor, splits: dict) -> float:
    """FID of real train pictures against the test split at the same n: what a perfect generator
    would score."""
    from metrics.frechet import frechet_distance_from_features

    order = np.random.default_rng(0).permutation(len(splits["train"][0]))[:FLOOR_COUNT]
    return frechet_distance_from_features(
        extractor.features(splits["train"][0][np.sort(order)]),
        extractor.features(splits["test"][0][:FLOOR_COUNT]),
    )


def _card(
    name: str,
    weights: ClassifierWeights,
    content: bytes,
    digest: str,
    accuracy: dict[str, float],
    floor: float,
    minutes: float,
) -> str:
    facts = weights.facts
    parameters = sum(array.size for array in weights.kernels + weights.biases)
    layers = "\n".join(
        f"| {index} | {layer['kind']} | {' x '.join(map(str, kernel.shape))} | "
        + (f"stride {layer['stride']}, {layer['padding']} |" if "stride" in layer else "|")
        for index, (layer, kernel) in enumerate(zip(weights.layers, weights.kernels, strict=True))
    )
    rows = {
        "features": f"{weights.kernels[-2].shape[-1]}, the layer before the logits, after its ReLU",
        "input": "uint8 28x28x1, divided by 255",
        "trained on": f"`{facts['dataset_version']}`, the first {facts['train_examples']:,} of "
        "the train split in the order of TFDS, and nothing else",
        "accuracy": f"train {accuracy['train']:.2%}, eval {accuracy['eval']:.2%}, "
        f"test {accuracy['test']:.2%} (measured once, on the stored weights)",
        "floor": f"`fid_{FLOOR_COUNT // 1000}k_test` of {FLOOR_COUNT:,} train pictures: "
        f"{floor:.4f}",
        "size": f"{parameters:,} parameters as float16, {len(content):,} bytes",
        "sha256": f"`{digest}`",
        "made by": f"`python -m metrics.train_classifier --dataset {facts['dataset_version']} "
        f"--epochs {facts['epochs']} --seed {facts['seed']}`, {minutes:.1f} minutes on two cores",
        "with": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# `{name}`: {facts["name"]}

The feature extractor on which generators of `{facts["dataset"]}` are judged.

| | |
| --- | --- |
{table}

Batch normalisation is folded into the kernels; each layer but the last ends in a ReLU.

| layer | kind | kernel | |
| --- | --- | --- | --- |
{layers}

Trained with AdamW, a learning rate falling to zero along a cosine, dropout around the feature
layer, and pictures moved by up to 2 pixels, turned by up to 10 degrees, scaled and sheared a
little. Numbers made with other weights (another digest) are on another scale.
"""


if __name__ == "__main__":
    main()
