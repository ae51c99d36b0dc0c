"""Trains one GAN of the gallery in docs/how-to/teach.md, draws it and says how it went.

python -m benchmarks.lessons PRESET [KEY=VALUE ...] [--out FILE.png] [--dataset mnist]
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from common.images import tile, to_floats, to_uint8
from common.workspace import DEFAULT
from datasets import source
from datasets.examples import read_prepared
from pipeline import configs
from trainer.latents import draw_latents
from trainer.train_loop import GanLoop

LAST = 40  # steps at the end, over which losses and gradients are averaged


def variety(images: np.ndarray, labels: np.ndarray) -> float:
    """Standard deviation of a pixel among the images of a class, on average, in grey levels."""
    spread = [images[labels == c].std(axis=0).mean() for c in np.unique(labels)]
    return float(np.mean(spread))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("preset")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--dataset", default="auto")
    options = parser.parse_args()
    changes = {"dataset": options.dataset, **configs.parse_assignments(options.changes)}
    settings = configs.load(options.preset, changes)
    data = source.resolve(settings.data, pathlib.Path(DEFAULT) / "tfds")
    train, test = read_prepared(data, "train"), read_prepared(data, "test")
    config = settings.training
    images = to_floats(train.images.astype(np.float32))
    loop = GanLoop(images, train.labels, config, data.num_classes, settings.seed)
    loop.run(tf.constant(config.steps - LAST, tf.int64))
    loop.metric_sums.assign(tf.zeros_like(loop.metric_sums))
    finite = loop.run(tf.constant(LAST, tf.int64))
    means = dict(zip(loop.metrics, loop.metric_sums.numpy() / LAST, strict=True))

    labels = test.labels[:1000].astype(np.int64)
    latents = draw_latents([len(labels), config.latent_dim], [0, 3], "normal").numpy()
    drawn = to_uint8(loop.generate(latents, labels))
    print(f"{data.dataset}, {config.steps} steps, losses {'' if finite else 'not '}finite")
    real = variety(test.images, test.labels)
    print(f"variety: {variety(drawn, labels):.1f}, of real images {real:.1f}")
    print(", ".join(f"{name} {value:.2g}" for name, value in means.items() if name != "r1"))
    if options.out:
        shown = np.concatenate([np.flatnonzero(labels == c)[:2] for c in range(data.num_classes)])
        Image.fromarray(tile(drawn[shown], len(shown))).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
