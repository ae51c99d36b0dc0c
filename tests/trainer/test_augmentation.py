import numpy as np
import pytest
import tensorflow as tf

from trainer.augmentation import shift_some

KEY = tf.constant([3, 0], tf.int64)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.RandomState(0).uniform(-1, 1, [300, 9, 7, 3]).astype(np.float32)


def shifts_of(before: np.ndarray, after: np.ndarray, pixels: int) -> list[tuple[int, int]]:
    """For each image the shift, down and to the right, that makes it what it has become."""
    height, width = before.shape[1:3]
    padding = [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)]
    wide = np.pad(before, padding, constant_values=-1.0)
    found = [None] * len(before)
    for down in range(-pixels, pixels + 1):
        for right in range(-pixels, pixels + 1):
            top, left = pixels - down, pixels - right
            candidate = wide[:, top : top + height, left : left + width]
            for i in np.flatnonzero(np.abs(candidate - after).max((1, 2, 3)) < 1e-6):
                found[i] = (down, right)
    return found


def test_images_move_by_whole_pixels_over_background(images):
    found = shifts_of(images, shift_some(images, KEY, 0.99, 2).numpy(), 2)
    assert None not in found
    assert set(found) == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_the_share_of_images_that_stay_is_what_was_asked_for(images):
    moved = shift_some(images, KEY, 0.5, 2).numpy()
    stayed = np.mean([shift == (0, 0) for shift in shifts_of(images, moved, 2)])
    assert stayed == pytest.approx(0.5 + 0.5 / 25, abs=0.09)  # three standard deviations


def test_no_share_moves_nothing(images):
    np.testing.assert_allclose(shift_some(images, KEY, 0.0, 2), images, atol=1e-6)


def test_a_key_decides_and_another_decides_otherwise(images):
    first, again = (shift_some(images, KEY, 0.5, 2).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != shift_some(images, KEY + 1, 0.5, 2).numpy())


def test_the_gradient_goes_back_where_the_pixel_came_from(images):
    start = tf.constant(images)
    weights = np.random.RandomState(1).randn(*images.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(start)
        moved = shift_some(start, KEY, 0.9, 2)
        total = tf.reduce_sum(moved * weights)
    gradient = tape.gradient(total, start).numpy()
    for image, (down, right) in enumerate(shifts_of(images, moved.numpy(), 2)):
        wide = np.pad(weights[image, ..., 0], 2)
        expected = wide[2 + down : 2 + down + 9, 2 + right : 2 + right + 7]
        np.testing.assert_allclose(gradient[image, ..., 0], expected, atol=1e-6)
