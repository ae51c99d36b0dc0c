"""What the discriminator thinks of real images and of fakes while it learns, for those who watch.

It is asked as the networks are at that step and learns nothing from it: the weights stay the same.
"""

import numpy as np
import tensorflow as tf

from common.images import to_uint8
from trainer.latents import draw_latents
from trainer.train_loop import GanLoop

ASKED = 500  # images of each kind
SHOWN = 10  # of each kind, one of a class
BINS = 20  # of the sigmoid of the logit, from "surely fake" (0) to "surely real" (1)
_MORE_REAL, _MORE_FAKE = np.array([90, 170, 255]), np.array([255, 140, 40])  # blue, orange


class Opinions:
    """The same images and latents, shown to the discriminator of a loop whenever it is asked."""

    def __init__(self, loop: GanLoop):
        self._loop = loop
        count = min(ASKED, loop.images.shape[0])
        self._real, self._labels = tf.constant(loop.images[:count]), loop.labels[:count]
        self._latents = draw_latents(
            [count, loop.config.latent_dim], loop.seed + 3, loop.architecture.latent_distribution
        ).numpy()
        # The first image of each class; where there are fewer classes the first ones besides.
        labels = self._labels.numpy()
        first = np.unique(labels, return_index=True)[1]
        rest = np.setdiff1d(np.arange(count), first)
        self._shown = np.sort(np.concatenate([first, rest])[:SHOWN])

    def ask(self) -> tuple[dict[str, list[int]], np.ndarray]:
        """What it thinks now.

        Returns:
          "real" and "fake", each how many of the images lie in each of BINS equal parts of the
          sigmoid of the logit, and a sheet, uint8 [4 H, SHOWN W, 3]: real images, the
          gradient of their logit, fakes of the averaged generator, the gradient of theirs. Where
          a brighter pixel would make an image look more real it is blue, where less, orange; each
          image is scaled by its own strongest pixel.
        """
        fakes = tf.constant(self._loop.generate(self._latents, self._labels.numpy()))
        counts, rows = {}, []
        for kind, images in (("real", self._real), ("fake", fakes)):
            realness = tf.sigmoid(self._logits(images, self._labels)).numpy()
            counts[kind] = np.histogram(realness, BINS, (0, 1))[0].tolist()
            images, labels = (tf.gather(of, self._shown) for of in (images, self._labels))
            with tf.GradientTape() as tape:
                tape.watch(images)
                logits = self._logits(images, labels)
            slope = tf.cast(tape.gradient(logits, images), tf.float32).numpy()
            pixels = to_uint8(images.numpy())
            rows += [pixels.repeat(3 // pixels.shape[-1], axis=-1), _coloured(slope)]
        return counts, np.concatenate([np.concatenate([*row], axis=1) for row in rows])

    def _logits(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        # Not `GanLoop.logits`, which trains: batch normalisation would learn from these images.
        inputs = self._loop.architecture.inputs(images, labels)
        return self._loop.discriminator(inputs, training=False)[:, 0]


def _coloured(slope: np.ndarray) -> np.ndarray:
    """Gradients, float32 [N, H, W, C], summed over C as colours on black, uint8 [N, H, W, 3]."""
    slope = slope.sum(axis=-1, keepdims=True)
    strongest = np.abs(slope).max(axis=(1, 2, 3), keepdims=True)
    share = slope / np.maximum(strongest, np.finfo(np.float32).tiny)
    colours = np.where(share > 0, _MORE_REAL, _MORE_FAKE)
    return np.rint(np.abs(share) * colours).astype(np.uint8)
