"""Feature extractors of data that none are pinned for: trained on its train split, in a minute.

Images with classes get two classifiers of different architectures; images without get an
autoencoder and a network that tells by how many quarter turns an image was turned (Gidaris et al.
2018). To both comes the untrained network. The weights lie in a folder, a digest beside each, and
are made once for the same data: the same images give the same weights on one machine.
"""

import hashlib
import json
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable

import numpy as np

from common.files import file_digest, write_atomically
from common.images import shape_of
from metrics import classifier, train_extractors
from metrics.features import NetworkExtractor, Weights, load_extractor

FACTS_FILE = "extractors.json"
SEED = 1
PIXELS = 110_000_000  # that each network sees while it is trained: twice 70,000 images of 28x28
MOST_EPOCHS = 15
# A quarter of the arithmetic of the pinned ones.
FLAT = classifier.Architecture(((24, 2, "same"), (48, 2, "same"), (64, 1, "valid")), 128)
POOLED = classifier.Architecture(((16, 2, "same"), (48, 2, "same"), (96, 1, "same")), 0)

Arrays = tuple[np.ndarray, np.ndarray]  # uint8 [N, H, W, C], int64 [N]


def made(
    cache: pathlib.Path | str | None,
    name: str,
    fingerprint: str,
    num_classes: int,
    read: Callable[[str], Arrays],
) -> pathlib.Path:
    """The folder of a data set's extractors, trained where it is not there yet.

    Args:
      cache: folder in which they are kept; None: a temporary one.
      name: of the data set.
      fingerprint: of its content; without one they are trained again.
      num_classes: labels run from 0 to num_classes - 1; fewer than two are no classes.
      read: gives the split "train", and "eval" for the accuracy; not called where all is there.
    """
    code = hashlib.sha256()
    for module in (__file__, classifier.__file__, train_extractors.__file__):
        code.update(pathlib.Path(module).read_bytes())
    if cache is None or not fingerprint:
        folder = pathlib.Path(tempfile.mkdtemp())
    else:
        key = hashlib.sha256(f"{fingerprint} {code.hexdigest()}".encode()).hexdigest()[:24]
        folder = pathlib.Path(cache, f"extractors-{key}")
    if not _is_whole(folder):
        folder.mkdir(parents=True, exist_ok=True)
        train(folder, name, read("train"), read("eval"), num_classes)
    return folder


def _is_whole(folder: pathlib.Path) -> bool:
    try:
        found = json.loads((folder / FACTS_FILE).read_text())["extractors"]
        return all(file_digest(folder / f"{k}.npz") == one["digest"] for k, one in found.items())
    except (OSError, ValueError, KeyError):
        return False


def load(folder: pathlib.Path | str) -> dict[str, NetworkExtractor]:
    """Name to extractor, in the order of their making; the first one reads classes if any does.

    Raises:
      ExtractorError: a file is missing or altered.
    """
    names = json.loads(pathlib.Path(folder, FACTS_FILE).read_text())["extractors"]
    return {name: load_extractor(pathlib.Path(folder, f"{name}.npz")) for name in names}


def train(
    folder: pathlib.Path, name: str, train: Arrays, held_out: Arrays, num_classes: int
) -> None:
    """Writes `NAME.npz` and its digest for each extractor, and last `extractors.json`.

    Args:
      folder: where to.
      name: of the data set.
      train: images and labels to learn from.
      held_out: others, for the accuracy.
      num_classes: as in `made`.
    """
    images, labels = train
    size = images.shape[1] * images.shape[2]
    step = -(-len(images) * size // PIXELS)
    images, labels = images[::step], labels[::step]
    epochs = int(np.clip(PIXELS // (len(images) * size), 1, MOST_EPOCHS))
    batch_size = int(np.clip(len(images) // 16, 16, 250))  # few images, yet many steps
    names = [str(label) for label in range(num_classes)]

    def classes(architecture: classifier.Architecture, kind: str) -> Weights:
        return classifier.train(
            images,
            labels,
            num_classes,
            epochs=epochs,
            seed=SEED,
            architecture=architecture,
            batch_size=batch_size,
            augment=kind == "classifier",
            facts=facts(kind, names),
        )

    def facts(kind: str, class_names: list[str]) -> dict:
        return {"name": f"{name}_{kind}", "dataset": name, "class_names": class_names}

    makers: dict[str, Callable[[], Weights]]
    if num_classes > 1:
        makers = {
            "classifier": lambda: classes(FLAT, "classifier"),
            "pooled": lambda: classes(POOLED, "pooled"),
        }
    else:
        turned = facts("rotations", ["0", "90", "180", "270"])
        encoded = facts("autoencoder", [])
        makers = {
            "autoencoder": lambda: train_extractors.autoencoder(
                images, epochs, SEED, encoded, batch_size=batch_size
            ),
            "rotations": lambda: _rotations(images, epochs, batch_size, turned),
        }
    makers["random"] = lambda: train_extractors.random_network(
        SEED, {"name": "random", "dataset": "", "class_names": []}, shape_of(images)
    )
    found: dict[str, dict] = {}
    for kind, make in makers.items():
        started = time.monotonic()
        content = make().to_bytes()
        digest = hashlib.sha256(content).hexdigest()
        extractor = NetworkExtractor(Weights.from_bytes(content), digest)
        seen = held_out if num_classes > 1 else _turned(held_out[0])
        found[kind] = {
            "digest": digest,
            "features": extractor.dim,
            "epochs": 0 if kind == "random" else epochs,
            "accuracy": extractor.accuracy(*seen) if extractor.num_classes else None,
            "seconds": round(time.monotonic() - started, 1),
        }
        write_atomically(folder / f"{kind}.npz", content)
        write_atomically(folder / f"{kind}.npz.sha256", f"{digest}  {kind}.npz\n".encode())
    document = {"dataset": name, "train_examples": len(images), "seed": SEED, "extractors": found}
    write_atomically(folder / FACTS_FILE, (json.dumps(document, indent=2) + "\n").encode())


def copied(source: pathlib.Path, target: str) -> dict:
    """Copies a folder of extractors; returns what `extractors.json` says."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    return json.loads(pathlib.Path(target, FACTS_FILE).read_text())


def _turned(images: np.ndarray) -> Arrays:
    """Images by 0, 1, 2, 3, 0, ... quarter turns, and how many."""
    turns = np.arange(len(images)) % 4
    return np.stack([np.rot90(one, int(k)) for one, k in zip(images, turns, strict=True)]), turns


def _rotations(images: np.ndarray, epochs: int, batch_size: int, facts: dict) -> Weights:
    import keras
    import tensorflow as tf

    quarter = max(1, batch_size // 4)

    def prepare(index: tf.Tensor, batch: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        # The batch was shuffled: each image comes by another turn in each epoch.
        pixels = tf.cast(batch[0], tf.float32) / 255.0
        parts = [tf.image.rot90(pixels[k * quarter : (k + 1) * quarter], k) for k in range(4)]
        return tf.concat(parts, 0), tf.repeat(tf.range(4), quarter)

    model = classifier.fit(
        lambda: classifier.build_model(
            POOLED, 4, seed=SEED, dropout=0.0, image_shape=shape_of(images)
        ),
        (images,),
        prepare,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        epochs=epochs,
        seed=SEED,
        batch_size=4 * quarter,
        learning_rate=4e-3,
    )
    return classifier.fold(model, {**facts, "image_shape": images.shape[1:]})
