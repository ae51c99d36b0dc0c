import hashlib
import shutil

import numpy as np
import pytest

from metrics import features
from metrics.features import CHUNK, ExtractorError, load_extractor


@pytest.fixture
def copied_weights(tmp_path):
    """The pinned weights and their digest in a folder that a test may spoil."""
    for name in (features.PINNED.name, features.PINNED.name + ".sha256"):
        shutil.copy(features.PINNED.with_name(name), tmp_path / name)
    return tmp_path / features.PINNED.name


def constant(value: int, count: int = 3) -> np.ndarray:
    return np.full((count, 28, 28, 1), value, np.uint8)


def test_the_pinned_classifier_reads_at_least_99_3_percent_of_the_test_split(extractor, mnist_test):
    assert extractor.accuracy(*mnist_test) >= 0.993


def test_the_pinned_classifier_says_what_it_is(extractor):
    assert extractor.name == "mnist_classifier_penultimate"
    assert (extractor.dim, extractor.num_classes, extractor.dataset) == (128, 10, "mnist")
    assert extractor.digest == hashlib.sha256(features.PINNED.read_bytes()).hexdigest()
    assert features.PINNED.stat().st_size < 1_000_000
    assert extractor.digest in features.PINNED.with_suffix(".md").read_text()


def test_features_are_float32_not_negative_and_probabilities_sum_to_one(extractor, digits):
    rows, probabilities = extractor.features_and_probabilities(digits[0][:50])
    assert rows.shape == (50, 128) and rows.dtype == np.float32 and (rows >= 0).all()
    assert probabilities.shape == (50, 10) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(extractor.features(digits[0][:50]), rows)


def test_features_of_an_image_do_not_depend_on_its_company(extractor, digits):
    images = digits[0][: CHUNK + 40]
    whole = extractor.features(images)
    parts = [extractor.features(part) for part in np.split(images, [1, 38, CHUNK - 1])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_array_equal(extractor.features(images[order]), whole[order])


def test_no_image_gives_no_rows_of_the_right_width(extractor):
    rows, probabilities = extractor.features_and_probabilities(constant(0, 0))
    assert rows.shape == (0, 128) and probabilities.shape == (0, 10)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 28, 28, 1), np.float32), "images must be uint8 pixels .* got float32"),
        (np.zeros((2, 28, 28, 1), np.int64), "images must be uint8"),
        (np.zeros((2, 28, 28), np.uint8), r"shape \[N, 28, 28, 1\], got \[2, 28, 28\]"),
        (np.zeros((2, 32, 32, 1), np.uint8), r"got \[2, 32, 32, 1\]"),
        (np.zeros((2, 28, 28, 3), np.uint8), r"got \[2, 28, 28, 3\]"),
    ],
)
def test_anything_but_uint8_images_of_28x28_is_refused(extractor, images, message):
    with pytest.raises(ValueError, match=message):
        extractor.features(images)


def test_altered_pinned_weights_are_named_with_both_digests(copied_weights, monkeypatch):
    content = bytearray(copied_weights.read_bytes())
    expected = hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 1
    copied_weights.write_bytes(content)
    monkeypatch.setattr(features, "PINNED", copied_weights)
    with pytest.raises(ExtractorError) as refusal:
        load_extractor()
    assert expected in str(refusal.value)
    assert hashlib.sha256(content).hexdigest() in str(refusal.value)
    assert str(copied_weights) in str(refusal.value)


def test_the_pinned_weights_are_not_loaded_without_their_digest(copied_weights, monkeypatch):
    copied_weights.with_name(copied_weights.name + ".sha256").unlink()
    monkeypatch.setattr(features, "PINNED", copied_weights)
    with pytest.raises(ExtractorError, match="its digest can't be read"):
        load_extractor()


def test_files_that_are_no_extractors_are_named(tmp_path):
    with pytest.raises(ExtractorError, match=r"missing\.npz or its digest can't be read"):
        load_extractor(tmp_path / "missing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK no zip")
    digest = hashlib.sha256(b"PK no zip").hexdigest()
    (tmp_path / "broken.npz.sha256").write_text(f"{digest}  broken.npz\n")
    with pytest.raises(ExtractorError, match=r"broken\.npz: not a file of an extractor.s weights"):
        load_extractor(tmp_path / "broken.npz")
