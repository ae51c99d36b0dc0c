"""A TFDS set unlike MNIST: 345 classes, no test split, as quickdraw_bitmap is, but small."""

import numpy as np
import tensorflow_datasets as tfds

CLASSES = 345
PER_CLASS = 7


class Sketches(tfds.core.GeneratorBasedBuilder):
    """Seven random images of each of 345 classes; importing it registers it as "sketches"."""

    VERSION = tfds.core.Version("2.1.0")

    def _info(self):
        names = [f"thing {i}" for i in range(CLASSES)]
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "picture": tfds.features.Image(shape=(28, 28, 1)),
                    "thing": tfds.features.ClassLabel(names=names),
                }
            ),
            supervised_keys=("picture", "thing"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        random = np.random.default_rng(0)
        for i in range(CLASSES * PER_CLASS):
            picture = random.integers(0, 256, (28, 28, 1), dtype=np.uint8)
            yield i, {"picture": picture, "thing": i % CLASSES}


class Colours(tfds.core.GeneratorBasedBuilder):
    """Images that this project can't learn from: four channels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 4)),
                    "label": tfds.features.ClassLabel(num_classes=2),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        raise AssertionError("refused before anything is made")

    def _generate_examples(self):
        raise AssertionError("refused before anything is made")
