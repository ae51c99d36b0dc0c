import numpy as np
import pytest
from PIL import Image

from common.images import tile
from judge import plots


def opened(path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def holds(page: np.ndarray, image: np.ndarray, scale: int) -> bool:
    """Whether the enlarged digit is somewhere on the page, pixel for pixel."""
    large = image[..., 0].repeat(scale, axis=0).repeat(scale, axis=1)
    grey = page[..., 0]
    size = len(large)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (size, size))
    # One row of the digit first: most places fail there.
    row = size // 2
    hits = np.argwhere((windows[:, :, row] == large[row]).all(axis=2))
    return any((windows[top, left] == large).all() for top, left in hits)


def test_tiles_are_in_order_row_by_row_on_grey(digits):
    images = digits[0][:5]
    sheet = tile(images, 3, scale=1)
    assert sheet.shape == (2 * 30 + 2, 3 * 30 + 2)
    np.testing.assert_array_equal(sheet[2:30, 2:30], images[0, :, :, 0])
    np.testing.assert_array_equal(sheet[32:60, 32:60], images[4, :, :, 0])
    assert (sheet[32:60, 62:90] == 128).all() and (sheet[30:32] == 128).all()


def test_a_grid_holds_every_digit_and_room_for_names(digits, tmp_path):
    images = digits[0][:6]
    plots.digit_grid(tmp_path / "plain.png", images, 3)
    plots.digit_grid(
        tmp_path / "named.png", images, 3, row_names=["Ankle boot", "Bag"], title="Two rows"
    )
    plain, named = opened(tmp_path / "plain.png"), opened(tmp_path / "named.png")
    assert named.shape[0] > plain.shape[0] and named.shape[1] > plain.shape[1]
    assert all(holds(named, image, 2) for image in images)


def test_real_digits_stand_above_generated_ones(digits, tmp_path):
    real, fake = digits[0][:4], 255 - digits[0][:4]
    plots.real_above_fake(tmp_path / "both.png", real, fake, columns=2)
    page = opened(tmp_path / "both.png")
    middle = len(page) // 2
    assert all(holds(page[: middle + 20], image, 2) for image in real)
    assert all(holds(page[middle - 20 :], image, 2) for image in fake)


def test_pairs_stay_together_in_a_last_row_that_is_not_full(digits, tmp_path):
    upper, lower = digits[0][:5], digits[0][10:15]
    plots.pairs(tmp_path / "pairs.png", upper, lower, np.arange(5) / 7, columns=3)
    page = opened(tmp_path / "pairs.png")
    assert all(holds(page, image, 2) for image in (*upper, *lower))


def test_plots_repeat_byte_for_byte(tmp_path):
    values = np.append(np.arange(9.0), np.nan)
    for name in ("one.png", "two.png"):
        labels = {"xlabel": "distance", "title": "near?", "limit_name": "1 %"}
        plots.histogram(tmp_path / name, values, limit=3.0, **labels)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert opened(tmp_path / "one.png").std() > 5


def test_an_image_that_can_not_be_drawn_leaves_nothing_behind(digits, tmp_path):
    with pytest.raises(ValueError, match="row_names must be 2, one per row, got 1"):
        plots.digit_grid(tmp_path / "a.png", digits[0][:6], 3, row_names=["one"])
    with pytest.raises(ValueError, match="equally many, got 2, 3 and 2"):
        plots.pairs(tmp_path / "a.png", digits[0][:2], digits[0][:3], [1, 2])
    with pytest.raises(ValueError, match="values must hold at least one finite number"):
        plots.histogram(tmp_path / "a.png", [np.nan], xlabel="", title="", limit=1.0, limit_name="")
    with pytest.raises(ValueError, match="images must be uint8"):
        plots.digit_grid(tmp_path / "a.png", np.zeros((1, 28, 28, 1)), 3)
    with pytest.raises(ValueError, match="must be at least 1"):
        plots.digit_grid(tmp_path / "a.png", digits[0][:0], 3)
    assert list(tmp_path.iterdir()) == []
