import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from metrics import cas, classifier, train_extractors
from metrics.features import NetworkExtractor, Weights, load_extractor


def test_folded_arrays_compute_what_the_keras_model_computes(digits):
    model = classifier.build_model(classifier.FLAT, 7, seed=3, dropout=0.3)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.get_weights()[0].shape
            layer.set_weights(
                [
                    random.uniform(0.5, 2, shape),
                    *random.normal(size=(2, *shape)),
                    random.uniform(0.5, 2, shape),
                ]
            )
    folded = NetworkExtractor(classifier.fold(model, {}))
    images = digits[0][:40]
    logits = np.asarray(model(images.astype(np.float32) / 255, training=False))
    expected = np.asarray(keras.ops.softmax(logits))
    np.testing.assert_allclose(folded.features_and_probabilities(images)[1], expected, atol=2e-4)


def test_weights_come_back_from_bytes_rounded_to_float16_and_the_bytes_repeat():
    weights = classifier.fold(
        classifier.build_model(classifier.FLAT, 5, seed=1, dropout=0.1), {"name": "five"}
    )
    loaded = Weights.from_bytes(weights.to_bytes())
    assert loaded.facts == {"name": "five"}
    assert loaded.layers == weights.layers
    for found, kept in zip(loaded.kernels, weights.kernels, strict=True):
        np.testing.assert_allclose(found, kept, rtol=1e-3, atol=1e-6)
    assert loaded.to_bytes() == weights.to_bytes()


def test_the_same_seed_trains_the_same_weights_and_another_seed_others(digits):
    images, labels = digits[0][:200], digits[1][:200]

    def run(seed):
        return classifier.train(images, labels, 10, epochs=2, seed=seed, batch_size=100)

    once, again, other = run(4), run(4), run(5)
    for one, two in zip(once.kernels, again.kernels, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(once.kernels[0], other.kernels[0])


def test_augmentation_moves_digits_a_little_and_repeats(digits):
    images = tf.constant(digits[0][:200], tf.float32)
    changed = classifier.augmented(images, tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(changed, classifier.augmented(images, tf.constant([1, 2])))
    grid = np.arange(28) - 13.5

    def centre(values):
        return (values[..., 0].sum(axis=1) * grid).sum(axis=1) / values.sum(axis=(1, 2, 3))

    moved = centre(changed) - centre(images.numpy())
    assert 0.3 < moved.std() < 2.0
    assert abs(moved.mean()) < 0.3
    assert np.abs(moved).max() < 5
    assert changed.min() >= 0 and changed.max() <= 255


def test_training_refuses_images_labels_and_counts_that_do_not_fit(digits):
    images, labels = digits[0][:60], digits[1][:60]
    with pytest.raises(ValueError, match="60 images are fewer than one batch of 250"):
        classifier.train(images, labels, 10, epochs=1, seed=0)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3"):
        classifier.train(images, labels, 4, epochs=1, seed=0)
    with pytest.raises(ValueError, match="images must be uint8"):
        classifier.train(images / 255, labels, 10, epochs=1, seed=0)


def test_fakes_that_are_real_digits_score_high_and_a_class_they_lack_is_never_read(digits):
    order = np.random.default_rng(0).permutation(len(digits[0]))
    images, labels = digits[0][order], digits[1][order]
    fakes, asked = np.tile(images[:1400], (4, 1, 1, 1)), np.tile(labels[:1400], 4)
    test = images[1400:], labels[1400:]
    score = cas.classification_accuracy_score(fakes, asked, *test, 10, seed=1, epochs=2)
    assert score > 0.9
    shown = asked != 3
    lacking = cas.classification_accuracy_score(
        fakes[shown][:1250], asked[shown][:1250], *test, 10, seed=1, epochs=1
    )
    assert lacking <= np.mean(test[1] != 3)


def test_the_score_refuses_test_images_that_do_not_fit(digits):
    images, labels = digits[0][:300], digits[1][:300]
    with pytest.raises(ValueError, match="test_images must hold at least one image"):
        cas.classification_accuracy_score(images, labels, images[:0], labels[:0], 10)
    with pytest.raises(ValueError, match="test_labels must be integers"):
        cas.classification_accuracy_score(images, labels, images, labels[:5], 10)


def test_the_script_writes_weights_digest_and_card_that_load(digits, tmp_path, monkeypatch, capsys):
    images, labels = (values[digits[1] < 4] for values in digits)
    cuts = {"train": slice(400), "eval": slice(400, 550), "test": slice(550, None)}
    splits = {name: (images[cut], labels[cut]) for name, cut in cuts.items()}
    out = tmp_path / "four.npz"
    monkeypatch.setattr(train_extractors, "load_splits", lambda _: (splits, list("abcd")))
    monkeypatch.setitem(train_extractors.EXTRACTORS, "classifier", out)
    monkeypatch.setitem(train_extractors.EPOCHS, "classifier", 2)
    train_extractors.main(["classifier"])
    found = load_extractor(out)
    assert (found.name, found.num_classes) == ("mnist_classifier_penultimate", 4)
    card = (tmp_path / "four.md").read_text()
    assert found.digest in card and "the first 400 of the train split" in card
    assert f"test {found.accuracy(*splits['test']):.2%}" in card
    assert capsys.readouterr().out.strip().endswith(card.strip())


def test_the_script_reads_the_pipelines_own_slices(monkeypatch):
    import tensorflow_datasets as tfds

    class Builder:
        info = types.SimpleNamespace(
            features={"label": types.SimpleNamespace(names=[str(digit) for digit in range(10)])},
        )
        download_and_prepare = staticmethod(lambda **_: None)

        @staticmethod
        def as_dataset(split, **_):
            level = ["train[:50000]", "train[50000:]", "test"].index(split)
            image = np.full([28, 28, 1], level, np.uint8)
            return tf.data.Dataset.from_tensors({"image": image, "label": level})

    monkeypatch.setattr(tfds, "builder", lambda *_, **__: Builder)
    splits, names = train_extractors.load_splits(None)
    assert names == list("0123456789")
    found = {name: (images.max(), list(labels)) for name, (images, labels) in splits.items()}
    assert found == {"train": (0, [0]), "eval": (1, [1]), "test": (2, [2])}
