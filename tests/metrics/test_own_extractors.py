"""Extractors of data that none are pinned for: made once, the same again, for any kind of image."""

import json

import numpy as np
import pytest

from metrics import own_extractors
from metrics.features import ExtractorError
from tests.components.artifacts import real_digits


def digits(colour: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    images, labels = real_digits()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    if colour:
        images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))) * np.array([1, 0, 1], np.uint8)
    return {"train": (images[:700], labels[:700]), "eval": (images[700:900], labels[700:900])}


@pytest.mark.parametrize(
    ("colour", "num_classes", "kinds"),
    [
        (False, 10, ["classifier", "pooled", "random"]),
        (True, 1, ["autoencoder", "rotations", "random"]),
    ],
)
def test_two_networks_are_trained_and_those_with_classes_know_them(
    tmp_path, colour, num_classes, kinds
):
    splits = digits(colour)
    folder = own_extractors.made(tmp_path, "mine", "f", num_classes, splits.__getitem__)
    found = json.loads((folder / own_extractors.FACTS_FILE).read_text())["extractors"]
    assert list(found) == kinds
    known = [one["accuracy"] for one in found.values() if one["accuracy"] is not None]
    assert known and max(known) > (0.8 if num_classes > 1 else 0.4)
    extractors = own_extractors.load(folder)
    for name, extractor in extractors.items():
        features = extractor.features(splits["eval"][0])
        assert features.shape == (200, found[name]["features"]) and features.std() > 0
        assert extractor.digest == found[name]["digest"]

    # The second time nothing is read, unless the data are others or a file was altered.
    assert own_extractors.made(tmp_path, "mine", "f", num_classes, {}.__getitem__) == folder
    with pytest.raises(KeyError, match="train"):
        own_extractors.made(tmp_path, "mine", "g", num_classes, {}.__getitem__)
    (folder / f"{kinds[0]}.npz").write_bytes(b"altered")
    with pytest.raises(ExtractorError, match="was altered"):
        own_extractors.load(folder)
    with pytest.raises(KeyError, match="train"):
        own_extractors.made(tmp_path, "mine", "f", num_classes, {}.__getitem__)
