"""Small SavedModels of every kind that a server may be given."""

import os
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from common.contract import GeneratorContract
from serving.server import tensors

LATENT = 4
CLASSES = 10


CONTRACT = GeneratorContract(
    model="tiny",
    latent_dim=LATENT,
    latent_distribution="normal",
    image_shape=(28, 28, 1),
    value_range=(-1.0, 1.0),
    num_classes=CLASSES,
    class_names=tuple("0123456789"),
    classes_present=tuple(range(9)),  # nines were not trained
    conditional=True,
    training={},
)


class TinyGenerator(tf.Module):
    """The signatures of an exported generator on a network that fits in a test.

    Every pixel of an image is `scale * (label + 1) / 100`, so which version answered can be read
    from any answer.
    """

    def __init__(self, scale: float):
        self.scale = tf.Variable(scale, dtype=tf.float32)

    def _draw(self, noise, label):
        known = tf.debugging.assert_less(
            label, tf.constant(CLASSES, tf.int64), "label out of range"
        )
        with tf.control_dependencies([known]):
            level = self.scale * (tf.cast(label, tf.float32) + 1.0) / 100.0
        # The noise has its place in the graph, and none in the image.
        level += 0.0 * tf.reduce_sum(noise, axis=1)
        return tf.tile(level[:, None, None, None], [1, 28, 28, 1])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, LATENT], tf.float32, name="latent"),
            tf.TensorSpec([None], tf.int64, name="label"),
        ]
    )
    def serving_default(self, latent, label):
        return {"image": self._draw(latent, label)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="seed"),
            tf.TensorSpec([None], tf.int64, name="label"),
        ]
    )
    def generate(self, seed, label):
        noise = tf.map_fn(
            lambda s: tf.random.stateless_normal([LATENT], tf.stack([s, 0])),
            seed,
            fn_output_signature=tf.float32,
        )
        chosen = tf.where(label < 0, seed % CLASSES, label)
        return {"image": self._draw(noise, chosen)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="seed"),
            tf.TensorSpec([None], tf.int64, name="label"),
        ]
    )
    def generate_png(self, seed, label):
        pixels = tf.cast(tf.round((self.generate(seed, label)["image"] + 1.0) * 127.5), tf.uint8)
        return {"image_bytes": tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.string)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="seed")])
    def describe(self, seed):
        return {"contract": tf.fill(tf.shape(seed), CONTRACT.to_json())}


def write_generator(folder: pathlib.Path, scale: float = 1.0) -> pathlib.Path:
    """A TensorFlow 2 SavedModel of TinyGenerator, put in place by a rename."""
    module = TinyGenerator(scale)
    staging = folder.with_name(f".tmp-{folder.name}")
    tf.saved_model.save(
        module,
        str(staging),
        signatures={
            name: getattr(module, name)
            for name in ("serving_default", "generate", "generate_png", "describe")
        },
    )
    os.rename(staging, folder)
    return folder


def write_warmup(folder: pathlib.Path, requests: list | bytes) -> None:
    """Warm-up requests beside a model; None is a record without a type, bytes are the file."""
    (folder / "assets.extra").mkdir(exist_ok=True)
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    if isinstance(requests, bytes):
        file.write_bytes(requests)
        return
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            entry = prediction_log_pb2.PredictionLog()
            if request is not None:
                entry.predict_log.request.CopyFrom(request)
            writer.write(entry.SerializeToString())


def generate_request(
    seeds: list[int], labels: list[int], name: str = ""
) -> predict_pb2.PredictRequest:
    """A PredictRequest for the signature `generate`."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = "generate"
    request.inputs["seed"].CopyFrom(tensors.to_proto(np.array(seeds, np.int64)))
    request.inputs["label"].CopyFrom(tensors.to_proto(np.array(labels, np.int64)))
    return request


def write_half_plus_two(folder: pathlib.Path) -> pathlib.Path:
    """A TensorFlow 1 SavedModel: y = x / 2 + 2 by predict, regress and classify signatures."""
    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        half, two = v1.Variable(0.5, name="a"), v1.Variable(2.0, name="b")
        x = v1.placeholder(tf.float32, name="x")
        y = tf.add(tf.multiply(half, x), two, name="y")
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        features = tf.io.parse_example(
            serialized,
            {
                "x": tf.io.FixedLenFeature([1], tf.float32),
                "shift": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
            },
        )
        answer = features["x"] * half + two + features["shift"]
        # The same numbers from another input, and z = x + shift where shift may be left out.
        twin = v1.placeholder(tf.string, [None], name="twin")
        twice = 2.0 * tf.io.parse_example(twin, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
        shift = v1.placeholder(tf.float32, name="shift")
        shifted = tf.add(x, shift, name="z")
        scores = tf.concat([answer, -answer], axis=1)
        classes = tf.tile(tf.constant([["up", "down"]]), [tf.shape(answer)[0], 1])
        utils = v1.saved_model
        info = utils.build_tensor_info
        signatures = {
            "serving_default": utils.predict_signature_def({"x": x}, {"y": y}),
            "regress_x_to_y": utils.regression_signature_def(serialized, answer),
            "classify_x_to_y": utils.classification_signature_def(serialized, classes, scores),
            "regress_twin": utils.regression_signature_def(twin, twice),
            "with_default": utils.predict_signature_def({"x": x, "shift": shift}, {"z": shifted}),
            "scores_only": utils.build_signature_def(
                {"inputs": info(serialized)},
                {"scores": info(scores)},
                "tensorflow/serving/classify",
            ),
        }
        signatures["with_default"].defaults["shift"].CopyFrom(tf.make_tensor_proto(10.0))
        session.run(v1.global_variables_initializer())
        builder = utils.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return folder


DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32",
          "uint64", "bool", "string", "float16", "complex64")  # fmt: skip


def _signature(compute, dtype="float32", shape=None):
    spec = tf.TensorSpec(shape, tf.as_dtype(dtype), name="x")
    return tf.function(compute, input_signature=[spec]).get_concrete_function()


def write_types(folder: pathlib.Path) -> pathlib.Path:
    """A SavedModel with one signature for each type, which gives back what it got, and others."""
    signatures = {t: _signature(lambda x: {"y": tf.identity(x)}, t) for t in DTYPES}
    signatures |= {
        "serving_default": _signature(lambda x: {"y": tf.identity(x)}),
        "text_to_bytes": _signature(lambda x: {"y_bytes": tf.identity(x)}, "string"),
        "two_outputs": _signature(
            lambda x: {"double": 2.0 * x, "text": tf.strings.as_string(tf.cast(x, tf.int32))},
            shape=[None],
        ),
        "scalar_output": _signature(lambda x: {"sum": tf.reduce_sum(x)}, shape=[None]),
        "no_rows": _signature(lambda x: {"y": x[:0]}, shape=[None]),
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return folder


def write_slow(folder: pathlib.Path) -> pathlib.Path:
    """A SavedModel that multiplies matrices `steps` times: about a millisecond each."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="steps")])
    def work(steps):
        start = tf.fill([128, 128], tf.cast(steps[0], tf.float32) * 1e-9)
        done = tf.while_loop(
            lambda i, m: i < steps[0],
            lambda i, m: (i + 1, tf.tanh(m @ m)),
            [tf.constant(0), start],
            parallel_iterations=1,
        )
        return {"sum": tf.reshape(tf.reduce_sum(done[1]), [1])}

    module = tf.Module()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": work})
    return folder
