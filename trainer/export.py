"""The trained generator as a SavedModel that keeps `common/contract.py`'s promises.

Four signatures, and a fifth where training kept its discriminator (`teaching`). Every input and
output has an open first dimension:
  serving_default(latent float32 [N, Z], label int64 [N])  -> image float32 [N, H, W, C]
  generate(seed int64 [N], label int64 [N])                -> image float32 [N, H, W, C]
  generate_png(seed int64 [N], label int64 [N])            -> image_bytes string [N]
  describe(seed int64 [N])                                 -> contract string [N], as JSON
  discriminate(image float32 [N, H, W, C], label int64 [N]) -> logit float32 [N], high for "real"

Label -1 asks for any class, which the seed chooses. An unconditional generator takes no other label
than -1 in all of them, so that a request for a seven fails instead of returning any digit.
"""

import dataclasses
import os
import pathlib
import re

import keras
import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from common.contract import ANY_LABEL, WARMUP_FILE, GeneratorContract
from common.files import write_atomically
from common.images import to_levels
from trainer.latents import draw_latents

WARMUP_BATCH_SIZES = (1, 8, 64)

# Second halves of the Philox keys: one stream of random numbers a purpose. Changing them changes
# which digit belongs to a seed.
_LATENT_STREAM = 0
_LABEL_STREAM = 1


class ExportedGenerator(tf.Module):
    """A generator's weights and the functions that are its signatures.

    Args:
      generator: [N, Z], and labels [N] if it takes any, -> [N, H, W, C] in [-1, 1], computing
        in float32.
      contract: what it promises; decides latents and labels.
      discriminator: images [N, H, W, C], and labels [N] if it takes any, -> [N, 1].
    """

    def __init__(
        self,
        generator: keras.Model,
        contract: GeneratorContract,
        discriminator: keras.Model | None = None,
    ):
        super().__init__()
        # The variables alone: the Keras models themselves would bring their own functions along.
        networks = [generator, discriminator] if discriminator else [generator]
        self._weights = [weight.value for network in networks for weight in network.weights]
        latent = tf.TensorSpec([None, contract.latent_dim], tf.float32, name="latent")
        label = tf.TensorSpec([None], tf.int64, name="label")
        seed = tf.TensorSpec([None], tf.int64, name="seed")
        present = tf.constant(contract.classes_present, tf.int64)

        def check_range(label: tf.Tensor, lowest: int) -> tf.Tensor:
            if contract.conditional:
                highest = contract.num_classes - 1
                message = f"label must lie in {lowest}..{highest}, got:"
            else:
                lowest = highest = ANY_LABEL
                message = f"label must be {ANY_LABEL}: this generator is unconditional, got:"
            inside = tf.reduce_all((label >= lowest) & (label <= highest))
            with tf.control_dependencies([tf.debugging.Assert(inside, [message, label])]):
                return tf.identity(label)

        def call(network: keras.Model, first: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
            # oneDNN's convolutions get the shape of no rows wrong, so they always see one.
            rows = tf.shape(first)[0]
            missing = tf.cast(rows == 0, tf.int32)
            inputs = [tf.pad(first, [[0, missing], *[[0, 0]] * (first.shape.rank - 1)])]
            if len(network.inputs) > 1:
                if not contract.conditional:  # there is one class: ANY_LABEL means it
                    label = tf.zeros_like(label)
                inputs.append(tf.pad(label, [[0, missing]]))
            return network(inputs, training=False)[:rows]

        def decode(latent: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
            return call(generator, latent, label)

        def draw(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """The latent vector and the class that belong to one seed (scalar)."""
            key = tf.stack([seed, _LATENT_STREAM])
            latent = draw_latents([contract.latent_dim], key, contract.latent_distribution)
            key = tf.stack([seed, _LABEL_STREAM])
            index = tf.random.stateless_uniform(
                [], key, 0, len(contract.classes_present), tf.int32, alg="philox"
            )
            return latent, tf.gather(present, index)

        def images(seed: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
            label = check_range(label, ANY_LABEL)
            # A key of its own for every row: a seed's digit does not depend on the rest of the
            # batch.
            latent, any_label = tf.map_fn(draw, seed, fn_output_signature=(tf.float32, tf.int64))
            latent = tf.ensure_shape(latent, [None, contract.latent_dim])
            return decode(latent, tf.where(label == ANY_LABEL, any_label, label))

        def decode_checked(latent: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": decode(latent, check_range(label, 0))}

        def generate(seed: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"image": images(seed, label)}

        def generate_png(seed: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
            # As common.contract.to_uint8 rounds.
            levels = tf.round(to_levels(images(seed, label)))
            pixels = tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)
            return {
                "image_bytes": tf.map_fn(tf.io.encode_png, pixels, fn_output_signature="string")
            }

        # How the generator came to be is in its files; whoever asks a server needs the rest.
        description = dataclasses.replace(contract, training={}).to_json()

        def describe(seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"contract": tf.fill(tf.shape(seed), description)}

        self.functions = {
            "serving_default": tf.function(decode_checked, input_signature=[latent, label]),
            "generate": tf.function(generate, input_signature=[seed, label]),
            "generate_png": tf.function(generate_png, input_signature=[seed, label]),
            "describe": tf.function(describe, input_signature=[seed]),
        }
        if discriminator:

            def discriminate(image: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
                return {"logit": call(discriminator, image, check_range(label, 0))[:, 0]}

            image = tf.TensorSpec([None, *contract.image_shape], tf.float32, name="image")
            self.functions["discriminate"] = tf.function(
                discriminate, input_signature=[image, label]
            )


def export_generator(
    generator: keras.Model,
    contract: GeneratorContract,
    model_dir: str | os.PathLike,
    discriminator: keras.Model | None = None,
) -> None:
    """Writes SavedModel, contract and warm-up requests into the folder `model_dir`.

    The same weights and contract give the same bytes, so that a generator that is exported again
    (from its last checkpoint, after a run was killed) is known as the one that was pushed.
    """
    module = ExportedGenerator(generator, contract, discriminator)
    tf.saved_model.save(module, os.fspath(model_dir), signatures=module.functions)
    _make_stable(pathlib.Path(model_dir))
    contract.write(model_dir)
    write_warmup_requests(contract, pathlib.Path(model_dir, WARMUP_FILE))


def _make_stable(model_dir: pathlib.Path) -> None:
    """Rewrites a SavedModel without what depends on what else the process has traced before.

    TensorFlow ends the names of functions with a number that rises while the process lives, calls
    captured tensors by their ids, and adds a file with a random number.
    """
    path = model_dir / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in model.meta_graphs:
        functions = graph.graph_def.library.function
        functions.sort(key=lambda function: _number(function.signature.name))
        numbered = {
            function.signature.name: re.sub(r"\d+$", str(i), function.signature.name)
            for i, function in enumerate(functions)
        }
        for function in functions:
            for argument in function.arg_attr.values():
                # Asking a map for a key that it lacks would make one.
                name = argument.attr.get("_user_specified_name")
                if name is not None and name.s.isdigit():
                    del argument.attr["_user_specified_name"]
        # A name may stand in that of an argument: "while_cond_41___redundant_placeholder0".
        known = "|".join(sorted(map(re.escape, numbered), key=len, reverse=True))
        _rename(graph, re.compile(rf"({known})(?!\d)"), numbered)
    write_atomically(path, model.SerializeToString(deterministic=True))
    (model_dir / "fingerprint.pb").unlink(missing_ok=True)


def _number(function: str) -> int:
    ending = re.search(r"_(\d+)$", function)
    return int(ending[1]) if ending else -1


def _rename(message: Message, pattern: re.Pattern, names: dict[str, str]) -> None:
    """Replaces what `pattern` finds in all strings below `message`, keys of maps too."""

    def new(text: str) -> str:
        return pattern.sub(lambda found: names[found[1]], text)

    for field, value in message.ListFields():
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            if kind.fields_by_name["value"].message_type is not None:
                for key in list(value):
                    _rename(value[key], pattern, names)
                    if isinstance(key, str) and new(key) != key:
                        value[new(key)].CopyFrom(value[key])
                        del value[key]
        elif kind is not None:
            for part in [value] if isinstance(value, Message) else value:
                _rename(part, pattern, names)
        elif field.type == field.TYPE_STRING:
            if isinstance(value, str):
                setattr(message, field.name, new(value))
            else:
                value[:] = [new(text) for text in value]


def write_warmup_requests(contract: GeneratorContract, path: pathlib.Path) -> None:
    """Writes the requests that TF Serving replays when it loads the model, before any user's.

    Several batch sizes of each signature, since each new one costs its first request some time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for size in WARMUP_BATCH_SIZES:
            labels = contract.effective_labels(np.resize(contract.classes_present, size))
            seeds = np.arange(size, dtype=np.int64)
            latents = np.zeros([size, contract.latent_dim], np.float32)
            for signature, inputs in (
                ("serving_default", {"latent": latents, "label": labels}),
                ("generate", {"seed": seeds, "label": labels}),
                ("generate_png", {"seed": seeds, "label": labels}),
            ):
                log = _prediction_log(signature, inputs)
                writer.write(log.SerializeToString(deterministic=True))


def _prediction_log(
    signature: str, inputs: dict[str, np.ndarray]
) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    # The name stays empty: TF Serving replays into the model that it loads, whatever it is called.
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
