"""Image files of others: the right pixels, or why not."""

import os

import numpy as np
import pytest
from PIL import Image

from datasets import image_files
from datasets.image_files import Conversion, ImageError


@pytest.fixture
def digit(digits) -> np.ndarray:
    """One real digit, uint8 [28, 28]."""
    return digits[0][0, ..., 0]


def read(tmp_path, picture: Image.Image, name="x.png", conversion=None, value_range=None, **save):
    picture.save(tmp_path / name, **save)
    image, how = image_files.read_image(
        tmp_path / name, conversion or Conversion(), value_range, (28, 28, 1)
    )
    assert image.shape == (28, 28, 1) and image.dtype == np.uint8
    return image[..., 0], how


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, digit):
    image, how = read(tmp_path, Image.fromarray(digit.astype(np.uint16) * 257))
    np.testing.assert_array_equal(image, digit)
    assert "16-bit" in how


def test_floats_take_a_range_and_are_refused_without(tmp_path, digit):
    floats = Image.fromarray(digit.astype(np.float32) / 255.0)
    with pytest.raises(ImageError, match=r"floats.*--value-range"):
        read(tmp_path, floats, "x.tif")
    image, _ = read(tmp_path, floats, "x.tif", value_range=(0.0, 1.0))
    np.testing.assert_array_equal(image, digit)
    with pytest.raises(ImageError, match="outside the range -1 to 0"):
        read(tmp_path, floats, "x.tif", value_range=(-1.0, 0.0))


@pytest.mark.parametrize("colour", [0, 255])
def test_ink_in_the_alpha_channel_is_ink_whatever_its_colour(tmp_path, digit, colour):
    pixels = np.full((28, 28, 4), colour, np.uint8)
    pixels[..., 3] = digit
    image, how = read(tmp_path, Image.fromarray(pixels))
    np.testing.assert_array_equal(image, digit)
    assert "alpha" in how


def test_a_background_that_is_named_is_put_behind_what_is_transparent(tmp_path, digit):
    pixels = np.zeros((28, 28, 4), np.uint8)  # black ink
    pixels[..., 3] = digit
    image, how = read(tmp_path, Image.fromarray(pixels), conversion=Conversion(background=255))
    np.testing.assert_allclose(image, 255 - digit.astype(int), atol=1)
    assert how == ""


def test_an_alpha_channel_that_says_nothing_is_left_out(tmp_path, digit):
    opaque = Image.merge("LA", [Image.fromarray(digit), Image.new("L", (28, 28), 255)])
    np.testing.assert_array_equal(read(tmp_path, opaque)[0], digit)
    both = Image.merge("LA", [Image.fromarray(digit), Image.fromarray(digit[::-1])])
    with pytest.raises(ImageError, match=r"transparency vary .*--set background"):
        read(tmp_path, both)


def test_a_palette_gives_its_colours(tmp_path, digit):
    ink = (digit > 127).astype(np.uint8)
    picture = Image.fromarray(ink, "P")
    picture.putpalette([255, 255, 255, 0, 0, 0])  # index 1 is black
    image, _ = read(tmp_path, picture)
    np.testing.assert_array_equal(image, np.where(ink, 0, 255))


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.gif", "x.webp", "x.pgm", "x.tif"])
def test_lossless_formats_give_the_same_pixels(tmp_path, digit, name):
    save = {"lossless": True} if name.endswith("webp") else {}
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(digit), name, **save)[0], digit)


def test_one_bit_is_black_and_white(tmp_path, digit):
    image, _ = read(tmp_path, Image.fromarray(digit > 127))
    np.testing.assert_array_equal(image, np.where(digit > 127, 255, 0))


@pytest.mark.parametrize("name", ["x.jpg", "x.webp"])
def test_a_grey_image_saved_in_colour_is_grey(tmp_path, digit, name):
    image, _ = read(tmp_path, Image.fromarray(digit).convert("RGB"), name, quality=95)
    np.testing.assert_allclose(image.astype(int), digit, atol=40)


def test_colours_are_made_grey_on_purpose_only(tmp_path, digit):
    picture = Image.merge("RGB", [Image.fromarray(digit), *[Image.new("L", (28, 28))] * 2])
    with pytest.raises(ImageError, match=r"in colour \(--set channels=1"):
        read(tmp_path, picture)
    image, _ = read(tmp_path, picture, conversion=Conversion(channels=1))
    np.testing.assert_allclose(image, digit * 0.299, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA"])
def test_colours_stay_where_they_are_not_refused(tmp_path, mode):
    colours = Image.new("RGB", (64, 64), (200, 100, 0))
    name = "x.jpg" if mode == "CMYK" else "x.png"
    colours.convert(mode).save(tmp_path / name, quality=95)
    image, how = image_files.read_image(tmp_path / name)
    assert image.shape == (64, 64, 3) and ("CMYK" in how) == (mode == "CMYK")
    np.testing.assert_allclose(image[9, 9].astype(int), [200, 100, 0], atol=4)
    with pytest.raises(ImageError, match=r"64x64 pixels, not 32x32 \(--set image_size=32"):
        image_files.read_image(tmp_path / name, shape=(32, 32, 3))
    grey, _ = image_files.read_image(tmp_path / name, Conversion(channels=1))
    assert grey.shape == (64, 64, 1)


def test_a_grey_image_among_colours_has_three_equal_channels(tmp_path, digit):
    Image.fromarray(digit).save(tmp_path / "x.png")
    image, _ = image_files.read_image(tmp_path / "x.png", shape=(28, 28, 3))
    np.testing.assert_array_equal(image, digit[..., None].repeat(3, axis=2))


@pytest.mark.parametrize(("size", "nearest"), [((1, 1), 28), ((33, 50), 32), ((640, 480), 64)])
def test_a_size_that_no_network_draws_is_refused_with_the_nearest_that_one_does(
    tmp_path, size, nearest
):
    Image.new("L", size, 90).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match=f"not 28x28 or 32x32 or 64x64 .*image_size={nearest} "):
        image_files.read_image(tmp_path / "x.png")
    image, _ = image_files.read_image(tmp_path / "x.png", Conversion(image_size=nearest))
    assert image.shape == (nearest, nearest, 1) and (image == 90).all()


def test_another_size_is_scaled_and_cropped_on_purpose_only(tmp_path, digit):
    large = Image.fromarray(digit.repeat(4, axis=0).repeat(4, axis=1))
    wide = Image.new("L", (112 + 40, 112))
    wide.paste(large, (20, 0))
    with pytest.raises(ImageError, match=r"152x112 pixels, not 28x28 \(--set image_size=28"):
        read(tmp_path, wide)
    image, _ = read(tmp_path, wide, conversion=Conversion(image_size=28))
    assert np.abs(image.astype(int) - digit).mean() < 8


def test_an_image_is_turned_as_its_camera_says(tmp_path, digit):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    image, _ = read(tmp_path, Image.fromarray(np.rot90(digit)), exif=exif)
    np.testing.assert_array_equal(image, digit)


def test_a_moving_gif_gives_its_first_frame(tmp_path, digit):
    frames = [Image.fromarray(digit), Image.fromarray(digit[::-1])]
    image, how = read(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(image, digit)
    assert "first frame" in how


@pytest.mark.parametrize("conversion", [Conversion(), Conversion(image_size=28)])
def test_a_large_image_is_refused_by_its_header(tmp_path, monkeypatch, conversion):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image.Image, "load", None)  # would fail if it were decoded
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageError, match="20000x20000 pixels"):
        image_files.read_image(tmp_path / "bomb.png", conversion)


def test_what_pillow_itself_takes_for_a_bomb_is_refused(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match="more than 100,000,000 pixels"):
        image_files.read_image(tmp_path / "bomb.png", Conversion(image_size=28))


def test_a_fifo_and_several_frames_are_refused(tmp_path, digit):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="no regular file"):
        image_files.read_image(tmp_path / "pipe.png")
    frames = [Image.fromarray(digit), Image.fromarray(digit[::-1])]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="2 images in one file"):
        image_files.read_image(tmp_path / "two.tif")


def test_broken_files_and_formats_that_start_programs_are_refused(tmp_path, digit):
    Image.fromarray(digit).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    Image.fromarray(digit).save(tmp_path / "postscript.eps")
    eps = (tmp_path / "postscript.eps").read_bytes()
    for broken in (b"", b"no image", content[:100], eps):
        (tmp_path / "broken.png").write_bytes(broken)
        with pytest.raises(ImageError):
            image_files.read_image(tmp_path / "broken.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="No such file"):
        image_files.read_image(tmp_path / "link.png")


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in (".x/1.png", "a/.2.png", "a/3.PNG", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images, others = image_files.list_files(tmp_path)
    assert images == [tmp_path / "a" / "3.PNG"] and others == [tmp_path / "a" / "notes.txt"]


@pytest.mark.parametrize("text", ["", "1", "1,0", "a,b", "0,1,2", "nan,1", "0,inf"])
def test_a_range_is_two_numbers_in_order(text):
    with pytest.raises(ValueError, match="LOW,HIGH"):
        image_files.parse_value_range(text)
    assert image_files.parse_value_range("-1,1") == (-1.0, 1.0)
