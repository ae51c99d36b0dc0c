import io

import numpy as np
import pytest
from PIL import Image

from metrics.near_duplicates import near_duplicates


def saved_again(image: np.ndarray) -> np.ndarray:
    """As a JPEG of good quality."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file)).reshape(image.shape)


def test_digits_are_no_duplicates_and_those_saved_again_are(digits):
    train, test = digits[0][:1000], digits[0][1000:1200]
    assert near_duplicates(test, train).mean() < 0.02
    copies = np.stack([saved_again(image) for image in train[:20]])
    assert near_duplicates(np.concatenate([test, copies]), train)[200:].mean() > 0.9


@pytest.mark.parametrize("size", [32, 64])
def test_colours_count(size):
    random = np.random.default_rng(0)
    small = random.integers(0, 256, [30, 4, 4, 3], np.uint8)
    train = small.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    assert near_duplicates(np.minimum(train, 253) + 2, train).all()
    assert not near_duplicates(train[..., ::-1], train).any()
    assert near_duplicates(train[:0], train).shape == (0,)
