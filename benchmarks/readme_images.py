"""Draws the pictures of the README from the newest run in a workspace.

python -m benchmarks.readme_images [--workspace workspace] [--out docs]
"""

import argparse
import json
import pathlib
import shutil

import numpy as np
import tensorflow as tf
from PIL import Image

from common.workspace import DEFAULT, Workspace
from judge import plots
from lineage import store

FRAMES = 6  # of the training: from noise to the end


def read_images(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """One split of an Examples artifact: uint8 [N, 28, 28, 1] and int64 [N]."""
    files = sorted(str(path) for path in folder.glob("*.gz"))
    images, labels = [], []
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        images.append(tf.io.decode_png(feature["image"].bytes_list.value[0]).numpy())
        labels.append(feature["label"].int64_list.value[0])
    return np.stack(images), np.array(labels)


def artifacts(workspace: Workspace) -> dict[str, pathlib.Path]:
    """Type of artifact to its folder, of the newest run."""
    connection = store.connect(workspace.metadata)
    run = store.latest_run(connection)
    ids = [execution.id for execution in connection.get_executions_by_context(run.id)]
    events = [e for e in connection.get_events_by_execution_ids(ids) if e.type == e.OUTPUT]
    found = connection.get_artifacts_by_id([event.artifact_id for event in events])
    return {artifact.type: pathlib.Path(artifact.uri) for artifact in found}


def digits_of(path: pathlib.Path, column: int) -> list[np.ndarray]:
    """One column of a sample grid with ten rows, one digit a class, with white borders."""
    sheet = np.asarray(Image.open(path).convert("L"))
    cell = (sheet.shape[0] - 2) // 10
    left = 2 + column * cell
    digits = [sheet[2 + k * cell : k * cell + cell, left : left + cell - 2] for k in range(10)]
    return [np.pad(digit, 2, constant_values=255) for digit in digits]


def training_strip(samples: pathlib.Path) -> Image.Image:
    """The same ten latents, one of each class, through the training: a row a moment."""
    files = sorted(samples.glob("step_*.png"))
    steps = np.unique(np.geomspace(1, len(files), FRAMES).round().astype(int)) - 1
    strip = np.concatenate([np.concatenate(digits_of(files[i], 0), axis=1) for i in steps])
    return Image.fromarray(strip.repeat(2, axis=0).repeat(2, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workspace", default=DEFAULT)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    options = parser.parse_args()
    found = artifacts(Workspace.at(options.workspace))
    options.out.mkdir(exist_ok=True)

    images, labels = read_images(found["Examples"] / "Split-train")
    names = json.loads((found["Examples"] / "dataset.json").read_text())["class_names"]
    ten = np.concatenate([images[labels == k][:10] for k in np.unique(labels)])
    plots.digit_grid(options.out / "real_digits.png", ten, 10)
    test = read_images(found["Examples"] / "Split-test")[1]
    shares = {
        split: np.bincount(values, minlength=len(names)) / len(values)
        for split, values in (("train", labels), ("test", test))
    }
    plots.class_bars(options.out / "labels.png", shares, names, ylabel="share", percent=True)

    run = found["ModelRun"]
    training_strip(run / "samples").save(options.out / "training.png", optimize=True)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    history = [record for record in history if "d_loss" in record]
    steps = [record["step"] for record in history]
    curves = {
        "discriminator, real": (steps, [record["d_loss_real"] for record in history]),
        "discriminator, fake": (steps, [record["d_loss_fake"] for record in history]),
        "generator": (steps, [record["g_loss"] for record in history]),
    }
    plots.lines(options.out / "curves.png", curves, xlabel="step", ylabel="loss")
    for name in ("samples.png", "real_above_fake.png", "worst_and_best.png"):
        shutil.copy(found["ModelEvaluation"] / name, options.out / name)


if __name__ == "__main__":
    main()
