"""The classification accuracy score: how well a classifier that saw only fakes reads real images.

Ravuri and Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models", section
3. It needs no feature extractor and sees what FID misses: classes mixed up, variety lost.
"""

import numpy as np

from common.images import check_images
from metrics import checks
from metrics.classifier import train
from metrics.features import NetworkExtractor

EPOCHS = 3


def classification_accuracy_score(
    fake_images: np.ndarray,
    fake_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    num_classes: int,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> float:
    """Trains the small classifier on fakes and tests it on real images.

    No augmentation: what variety the fakes lack is not lent to them. The same arguments give the
    same score on one machine. With 60,000 fakes it takes about a minute on two cores; give the
    number of fakes and epochs with the score, which is a share of 0..1.

    Args:
      fake_images: uint8 [N, 28, 28, 1].
      fake_labels: integers [N], the classes asked for.
      test_images: uint8 [M, 28, 28, 1], real, M >= 1.
      test_labels: integers [M].
      num_classes: labels lie in 0..num_classes-1; a class may be missing on either side.
      seed: of the training.
      epochs: passes over the fakes.

    Raises:
      ValueError: wrong dtypes, shapes or labels, fewer fakes than a batch, no test image.
    """
    test_images = check_images("test_images", test_images)
    test_labels = checks.labels(
        "test_labels", test_labels, count=len(test_images), num_classes=num_classes
    )
    if not len(test_images):
        raise ValueError("test_images must hold at least one image")
    weights = train(fake_images, fake_labels, num_classes, epochs=epochs, seed=seed, augment=False)
    return NetworkExtractor(weights).accuracy(test_images, test_labels)
