"""A misspelt data set is known by TFDS's files, so that nobody waits for TensorFlow to hear it."""

import tensorflow_datasets as tfds

import datasets.digits  # noqa: F401 - registers itself
from datasets import names


def test_every_data_set_of_tfds_and_ours_is_known_by_its_files():
    registered = set(tfds.list_builders(with_community_datasets=False))
    registered -= {"colours", "sketches"}  # other tests' own, where they ran before in this process
    assert "digits" in registered and len(registered) > 300
    assert sorted(name for name in registered if names.misspelt(name)) == []
    assert names.misspelt("emnist/letters") == names.misspelt("mnist:3.0.1") == ""


def test_a_misspelt_one_is_told_with_the_nearest():
    assert "did you mean 'fashion_mnist'" in names.misspelt("fashon_mnist:3.0.1")
    assert "try 'mnist'" in names.misspelt("zzzzzz")
