import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from common.contract import WARMUP_FILE, GeneratorContract
from common.files import file_digests
from common.images import to_uint8
from judge import safe_model
from tests.fixtures_generators import contract_of
from tests.trainer.conftest import TINY_OF
from trainer.export import export_generator
from trainer.models import build_networks, float32_generator
from trainer.training import LOOPS
from trainer.training_config import make_config

PRESENT = (0, 3)  # of four classes
# A quarter of a grey level: the curve of an untrained generator is steep.
EPSILON = 1 / 512


@pytest.fixture(scope="module")
def exported(tiny_run, tiny_config, tmp_path_factory):
    """(signatures, contract, Keras generator, folder)."""
    generator = tiny_run[0].generator
    changes = {"classes_present": PRESENT, "training": {"seed": 7}}
    contract = contract_of(tiny_config.latent_dim, 4, **changes)
    folder = tmp_path_factory.mktemp("exported")
    export_generator(generator, contract, folder)
    return tf.saved_model.load(str(folder)).signatures, contract, generator, folder


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory):
    """The same of an untrained dcgan: no labels, latents uniform on [-1, 1]."""
    config = make_config(**TINY_OF["dcgan"])
    architecture = LOOPS["dcgan"].architecture
    generator = float32_generator(config, 4, architecture)
    contract = contract_of(
        config.latent_dim,
        4,
        latent_distribution=architecture.latent_distribution,
        classes_present=PRESENT,
        conditional=architecture.conditional,
    )
    folder = tmp_path_factory.mktemp("unconditional")
    export_generator(generator, contract, folder)
    return tf.saved_model.load(str(folder)).signatures, contract, generator, folder


def call(signatures, name, **inputs):
    tensors = {
        key: tf.constant(value, tf.float32 if key == "latent" else tf.int64)
        for key, value in inputs.items()
    }
    (output,) = signatures[name](**tensors).values()
    return output.numpy()


def test_the_same_generator_is_the_same_bytes_whatever_was_traced_before(exported, tmp_path):
    _, contract, generator, folder = exported
    tf.function(lambda x: x + 1)(tf.constant(1))
    export_generator(generator, contract, tmp_path)
    assert file_digests(tmp_path) == file_digests(folder)


def test_the_saved_model_computes_what_the_trained_generator_does(exported):
    signatures, contract, generator, _ = exported
    latent = np.random.default_rng(0).normal(size=[5, contract.latent_dim]).astype(np.float32)
    label = np.array([0, 1, 2, 3, 3])
    image = call(signatures, "serving_default", latent=latent, label=label)
    np.testing.assert_allclose(image, generator([latent, label], training=False), atol=EPSILON)


def test_of_one_class_a_generator_that_takes_labels_is_unconditional(exported, tmp_path):
    signatures, contract, generator, _ = exported
    alone = dataclasses.replace(
        contract, num_classes=1, class_names=("a",), classes_present=(0,), conditional=False
    )
    export_generator(generator, alone, tmp_path)
    unconditional = tf.saved_model.load(str(tmp_path)).signatures
    np.testing.assert_allclose(
        call(unconditional, "generate", seed=[1, 2], label=[-1, -1]),
        call(signatures, "generate", seed=[1, 2], label=[0, 0]),
        atol=EPSILON,
    )
    latent = np.ones([2, contract.latent_dim])
    np.testing.assert_allclose(
        call(unconditional, "serving_default", latent=latent, label=[-1, -1]),
        call(signatures, "serving_default", latent=latent, label=[0, 0]),
        atol=EPSILON,
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="unconditional"):
        call(unconditional, "generate", seed=[1], label=[0])


def test_every_input_and_output_is_open_in_its_first_dimension(exported):
    signatures, _, _, _ = exported
    assert set(signatures) == {"serving_default", "generate", "generate_png", "describe"}
    for function in signatures.values():
        _, inputs = function.structured_input_signature
        for spec in (*inputs.values(), *function.structured_outputs.values()):
            assert spec.shape[0] is None
    assert signatures["generate"].structured_outputs["image"].shape == [None, 28, 28, 1]


@pytest.mark.parametrize("label", [-1, 2])
def test_a_seed_gives_the_same_image_in_any_batch(exported, label):
    signatures, _, _, _ = exported
    seeds = [3, -9, 2**62, 4, 3]
    together = call(signatures, "generate", seed=seeds, label=[label] * 5)
    for seed, image in zip(seeds, together, strict=True):
        alone = call(signatures, "generate", seed=[seed], label=[label])
        np.testing.assert_allclose(alone[0], image, atol=EPSILON)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_latents_are_standard_normal_and_differ_between_seeds(exported):
    """`generate` is `serving_default` on Philox normals: the seeds' images have their spread."""
    signatures, contract, generator, _ = exported
    image = call(signatures, "generate", seed=np.arange(400), label=np.zeros(400))
    latent = np.random.default_rng(1).normal(size=[400, contract.latent_dim]).astype(np.float32)
    expected = generator([latent, np.zeros(400, np.int64)], training=False).numpy()
    np.testing.assert_allclose(image.mean(0), expected.mean(0), atol=5 * expected.std(0).max() / 20)
    np.testing.assert_allclose(image.std(), expected.std(), rtol=0.05)


def test_label_minus_one_is_a_class_that_occurs_in_the_data_chosen_by_the_seed(exported):
    signatures, _, _, _ = exported
    seeds = np.arange(64)
    free = call(signatures, "generate", seed=seeds, label=np.full(64, -1))
    asked = {c: call(signatures, "generate", seed=seeds, label=np.full(64, c)) for c in range(4)}
    chosen = [min(asked, key=lambda c, i=i: np.abs(asked[c][i] - free[i]).max()) for i in seeds]
    assert set(chosen) == set(PRESENT)
    assert 16 < chosen.count(0) < 48
    for seed, label in zip(seeds, chosen, strict=True):
        np.testing.assert_allclose(asked[label][seed], free[seed], atol=EPSILON)


def test_png_holds_the_rounded_pixels_of_generate(exported):
    signatures, _, _, _ = exported
    seeds, labels = np.arange(6), [0, 1, 2, 3, -1, -1]
    floats = call(signatures, "generate", seed=seeds, label=labels)
    pngs = call(signatures, "generate_png", seed=seeds, label=labels)
    pixels = np.stack([tf.io.decode_png(png).numpy() for png in pngs])
    np.testing.assert_array_equal(pixels, to_uint8(floats))


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("generate", {"seed": [1, 2], "label": [0, 4]}),
        ("generate_png", {"seed": [1], "label": [-2]}),
        ("serving_default", {"latent": np.zeros([1, 8]), "label": [-1]}),
        ("serving_default", {"latent": np.zeros([1, 8]), "label": [4]}),
    ],
)
def test_a_label_out_of_range_is_an_invalid_argument(exported, name, inputs):
    signatures, _, _, _ = exported
    with pytest.raises(tf.errors.InvalidArgumentError, match="label must lie in"):
        call(signatures, name, **inputs)


def test_no_rows_give_no_images(exported):
    signatures, _, _, _ = exported
    assert call(signatures, "generate", seed=[], label=[]).shape == (0, 28, 28, 1)
    assert call(signatures, "generate_png", seed=[], label=[]).shape == (0,)


@pytest.mark.parametrize("model", ["cdcgan", "dcgan"])
def test_a_discriminator_that_was_kept_answers_for_images_and_labels(model, tmp_path):
    config, architecture = make_config(**TINY_OF[model]), LOOPS[model].architecture
    networks = build_networks(config, 4, "float32", architecture)
    contract = contract_of(config.latent_dim, 4, conditional=architecture.conditional)
    export_generator(networks.generator, contract, tmp_path, networks.discriminator)
    safe_model.check(tmp_path)  # it does nothing but compute
    signatures = tf.saved_model.load(str(tmp_path)).signatures
    discriminate = signatures["discriminate"]
    images = tf.random.stateless_uniform([3, 28, 28, 1], [0, 1], -1, 1)
    labels = tf.constant([0, 1, 3] if architecture.conditional else [-1] * 3, tf.int64)
    expected = networks.discriminator(architecture.inputs(images, labels), training=False)[:, 0]
    np.testing.assert_allclose(
        discriminate(image=images, label=labels)["logit"], expected, atol=1e-5
    )
    assert discriminate(image=images[:0], label=labels[:0])["logit"].shape == (0,)
    with pytest.raises(tf.errors.InvalidArgumentError, match="label must"):
        discriminate(image=images, label=labels + 4)


def test_the_graph_is_float32_without_xla_and_without_stateful_randomness(exported):
    signatures, _, _, _ = exported
    for function in signatures.values():
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        assert {"RandomStandardNormal", "RandomUniform"}.isdisjoint(node.op for node in nodes)
        for node in nodes:
            assert all(value.type != tf.bfloat16.as_datatype_enum for value in node.attr.values())
        assert not any(f.attr["_XlaMustCompile"].b for f in graph.library.function)


def test_the_contract_lies_beside_the_model(exported):
    _, contract, _, folder = exported
    assert GeneratorContract.load(folder) == contract


def test_an_unconditional_generator_has_the_same_signatures(exported, unconditional):
    signatures, contract, generator, _ = unconditional
    for name, function in exported[0].items():
        assert signatures[name].structured_outputs == function.structured_outputs
        assert signatures[name].structured_input_signature[1].keys() == (
            function.structured_input_signature[1].keys()
        )
    latent = np.random.default_rng(0).uniform(-1, 1, [5, contract.latent_dim]).astype(np.float32)
    image = call(signatures, "serving_default", latent=latent, label=[-1] * 5)
    np.testing.assert_allclose(image, generator([latent], training=False), atol=1e-6)


def test_generate_draws_from_the_latents_that_the_contract_names(unconditional):
    """The seed's image is the generator's of the uniform latent that Philox gives for the key."""
    signatures, contract, generator, _ = unconditional
    image = call(signatures, "generate", seed=[5], label=[-1])
    latent = tf.random.stateless_uniform([contract.latent_dim], [5, 0], -1, 1, alg="philox")
    expected = generator([latent[tf.newaxis]], training=False)
    np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "label"), [("serving_default", 0), ("generate", 3), ("generate_png", -2)]
)
def test_an_unconditional_generator_refuses_every_label_and_says_why(unconditional, name, label):
    signatures, contract, _, _ = unconditional
    first = {"seed": [1, 2]}
    if name == "serving_default":
        first = {"latent": np.zeros([2, contract.latent_dim])}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"label must be -1.*unconditional"):
        call(signatures, name, **first, label=[-1, label])


@pytest.mark.parametrize("kind", ["exported", "unconditional"])
def test_the_model_describes_itself(kind, request):
    signatures, _, _, folder = request.getfixturevalue(kind)
    (text,) = signatures["describe"](seed=tf.constant([0], tf.int64))["contract"].numpy()
    described = GeneratorContract.from_json(text.decode())
    assert described == dataclasses.replace(GeneratorContract.load(folder), training={})


@pytest.mark.parametrize("kind", ["exported", "unconditional"])
def test_every_warm_up_request_is_answered(kind, request):
    signatures, _, _, folder = request.getfixturevalue(kind)
    sizes = {name: set() for name in signatures if name != "describe"}
    for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        images = call(signatures, name, **inputs)
        assert len(images) == len(inputs["label"])
        sizes[name].add(len(images))
    assert all(found == {1, 8, 64} for found in sizes.values())
