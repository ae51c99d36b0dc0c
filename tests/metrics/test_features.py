import hashlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

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


def test_the_card_names_the_digest_of_the_weights(extractor):
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


def test_a_named_classifier_with_a_digest_beside_it_is_checked_too(copied_weights):
    digest = copied_weights.with_name(copied_weights.name + ".sha256")
    digest.write_text("0" * 64 + "  weights\n")
    with pytest.raises(ExtractorError, match="was altered"):
        load_extractor(copied_weights)
    digest.unlink()
    assert load_extractor(str(copied_weights)).dim == 128


def test_the_pinned_weights_are_not_loaded_without_their_digest(copied_weights, monkeypatch):
    copied_weights.with_name(copied_weights.name + ".sha256").unlink()
    monkeypatch.setattr(features, "PINNED", copied_weights)
    with pytest.raises(ExtractorError, match="its digest can't be read"):
        load_extractor()


def test_files_that_are_no_extractors_are_named(tmp_path):
    with pytest.raises(ExtractorError, match=r"no extractor at .*missing\.pb"):
        load_extractor(tmp_path / "missing.pb")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ExtractorError, match=r"notes\.txt.* is no extractor"):
        load_extractor(tmp_path / "notes.txt")
    (tmp_path / "broken.npz").write_bytes(b"PK no zip")
    with pytest.raises(ExtractorError, match=r"broken\.npz: not a file of an extractor.s weights"):
        load_extractor(tmp_path / "broken.npz")
    (tmp_path / "broken.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ExtractorError, match=r"broken\.pb"):
        load_extractor(tmp_path / "broken.pb")


# Stand-ins for Inception: the same tensor names and shapes, and features that can be told without
# running them: the mean of each channel times known numbers.
KERNEL = np.random.default_rng(0).normal(size=(3, 2048)).astype(np.float32)


def frozen_graph(path, *, output_name: str = "pool_3", width: int = 2048) -> None:
    graph = tf.Graph()
    with graph.as_default():
        pictures = tf.compat.v1.placeholder(tf.float32, [None, 299, 299, 3], name="Mul")
        pooled = tf.matmul(tf.reduce_mean(pictures, axis=[1, 2]), KERNEL[:, :width])
        tf.reshape(pooled, [-1, 1, 1, width], name=output_name)
    path.write_bytes(graph.as_graph_def().SerializeToString())


def test_a_frozen_graph_of_2015_sees_grey_images_enlarged_and_scaled_as_it_was_trained(tmp_path):
    frozen_graph(tmp_path / "inception.pb")
    plug = load_extractor(tmp_path / "inception.pb")
    assert (plug.name, plug.dim, plug.num_classes) == ("inception_v3_2015_pool3", 2048, 0)
    assert plug.digest == hashlib.sha256((tmp_path / "inception.pb").read_bytes()).hexdigest()
    expected = np.tile(KERNEL.sum(axis=0) * (192 - 128) / 128, (20, 1))
    rows = plug.features(constant(192, 20))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected, rtol=2e-3, atol=2e-3)
    colour = np.repeat(constant(192), 3, axis=3)
    np.testing.assert_allclose(plug.features(colour), expected[:3], rtol=2e-3, atol=2e-3)


def test_a_frozen_graph_with_other_tensor_names_is_refused(tmp_path):
    frozen_graph(tmp_path / "graph.pb", output_name="pool")
    with pytest.raises(ExtractorError, match="has no tensor pool_3:0"):
        load_extractor(tmp_path / "graph.pb")


def test_features_that_are_not_2048_wide_do_not_go_by_inceptions_name(tmp_path):
    frozen_graph(tmp_path / "graph.pb", width=7)
    plug = load_extractor(tmp_path / "graph.pb")
    assert (plug.name, plug.dim) == ("not_inception_v3_2015_pool3_dim_7", 7)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_keras_model_is_cut_at_its_average_pooling(tmp_path, suffix):
    inputs = keras.Input((299, 299, 3))
    value = keras.layers.GlobalAveragePooling2D()(inputs)
    value = keras.layers.Dense(2048, name="avg_pool")(value)
    model = keras.Model(inputs, keras.layers.Dense(5, name="predictions")(value))
    model.get_layer("avg_pool").set_weights([KERNEL, np.zeros(2048)])
    model.save(tmp_path / f"model{suffix}")
    plug = load_extractor(tmp_path / f"model{suffix}")
    assert plug.name == "inception_v3_keras_avg_pool"
    expected = np.tile(KERNEL.sum(axis=0) * (51 / 127.5 - 1), (3, 1))
    np.testing.assert_allclose(plug.features(constant(51)), expected, rtol=2e-3, atol=2e-3)


class PooledModule(tf.Module):
    def __init__(self):
        self.kernel = tf.Variable(KERNEL)

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def __call__(self, pictures):
        pooled = tf.matmul(tf.reduce_mean(pictures, axis=[1, 2]), self.kernel)
        return {"pool_3": pooled, "logits": pooled[:, :5]}


def test_a_saved_model_gives_its_pool_3_and_a_digest_of_all_its_files(tmp_path):
    module = PooledModule()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__)
    plug = load_extractor(tmp_path / "model")
    assert plug.name == "inception_v3_savedmodel_pool3"
    expected = np.tile(-KERNEL.sum(axis=0), (3, 1))
    np.testing.assert_allclose(plug.features(constant(0)), expected, rtol=2e-3, atol=2e-3)
    (tmp_path / "model" / "assets" / "note").write_text("changed")
    assert load_extractor(tmp_path / "model").digest != plug.digest


def test_a_saved_model_without_one_clear_output_is_refused(tmp_path):
    class TwoOutputs(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
        def run(self, pictures):
            return {"a": pictures[:, 0, 0], "b": pictures[:, 0, 1]}

    module = TwoOutputs()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.run)
    with pytest.raises(ExtractorError, match=r"outputs \['a', 'b'\]"):
        load_extractor(tmp_path / "model")


def test_a_layer_that_is_no_vector_is_refused(tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        pictures = tf.compat.v1.placeholder(tf.float32, [None, 299, 299, 3], name="Mul")
        tf.identity(pictures, name="pool_3")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ExtractorError, match="one vector per image"):
        load_extractor(tmp_path / "graph.pb")


def test_inception_gives_no_probabilities_of_digits(tmp_path):
    frozen_graph(tmp_path / "inception.pb")
    with pytest.raises(ValueError, match="knows no classes of digits"):
        load_extractor(tmp_path / "inception.pb").features_and_probabilities(constant(0))
