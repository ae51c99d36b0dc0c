"""Real digits and the pinned extractor, loaded once for all tests of the metrics."""

import gzip

import numpy as np
import pytest


@pytest.fixture(scope="session")
def mnist_test(mnist_dir) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's 10,000 test images as uint8 [N, 28, 28, 1], and labels int64 [N]."""
    with gzip.open(mnist_dir / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    with gzip.open(mnist_dir / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return images, labels


@pytest.fixture(scope="session")
def extractor():
    from metrics.features import load_extractor

    return load_extractor()
