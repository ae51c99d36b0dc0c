"""What Predict, Classify, Regress and MultiInference mean, on one loaded model.

Shared by REST, gRPC and the warm-up. The rules and the wording of errors are TF Serving's, with
its default of not checking the method names of signatures.
"""

import logging
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from common.contract import WARMUP_FILE
from serving.server import tensors
from serving.server.engine import DEFAULT_SIGNATURE, Engine
from serving.server.errors import Code, ServingError, failed_precondition, invalid_argument

log = logging.getLogger(__name__)

MAX_WARMUP_RECORDS = 1000
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


# Predict.


def predict(
    engine: Engine,
    signature_name: str,
    inputs: Mapping[str, np.ndarray],
    output_filter: Sequence[str] = (),
    timeout: float | None = None,
) -> dict[str, np.ndarray]:
    """Runs a signature; "" is `serving_default`.

    Args:
      inputs: arrays by the signature's aliases; those that have a default may be left out.
      output_filter: aliases of the outputs to compute; all of them where it is empty.
      timeout: seconds, None for no limit.

    Returns:
      Arrays by the aliases of outputs.

    Raises:
      ServingError: no such signature, other inputs than it has, or an error of the graph.
    """
    name = signature_name or DEFAULT_SIGNATURE
    signature = engine.signatures.get(name)
    if signature is None:
        raise failed_precondition(f'Serving signature key "{name}" not found.')
    too_few = len(inputs) < len(signature.inputs) and not signature.defaults
    if too_few or len(inputs) > len(signature.inputs):
        sent, wanted = set(inputs), set(signature.inputs)
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_set(sent)}) != len({_set(wanted)}). "
            f"Sent extra: {_set(sent - wanted)}. Missing but required: {_set(wanted - sent)}."
        )
    feeds = {}
    for alias, info in signature.inputs.items():
        if alias in inputs:
            feeds[info.name] = inputs[alias]
        elif alias in signature.defaults:
            feeds[info.name] = _to_array(alias, signature.defaults[alias])
        else:
            raise invalid_argument(
                f"Signature input alias: {alias} (tensor name: {info.name}) not found in request "
                "and no default value provided. "
                f"Inputs expected to be in the request {_set(signature.inputs)}."
            )
    for i, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_set(signature.outputs)}."
            )
        if alias in output_filter[:i]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    aliases = list(output_filter) or sorted(signature.outputs)
    values = engine.run(feeds, [signature.outputs[alias].name for alias in aliases], timeout)
    return dict(zip(aliases, values, strict=True))


def predict_request(
    engine: Engine,
    request: predict_pb2.PredictRequest,
    max_bytes: int | None = None,
    timeout: float | None = None,
) -> dict[str, np.ndarray]:
    """`predict` on the tensors of a PredictRequest; its model_spec's version is not looked at."""
    inputs = {a: _to_array(a, proto, max_bytes) for a, proto in request.inputs.items()}
    signature_name = request.model_spec.signature_name
    return predict(engine, signature_name, inputs, list(request.output_filter), timeout)


def _to_array(alias: str, proto, max_bytes: int | None = None) -> np.ndarray:
    try:
        return tensors.to_array(proto, max_bytes)
    except ValueError as error:
        raise invalid_argument(f"tensor parsing error: {alias}: {error}") from None


# Classify, Regress, MultiInference: serialised tf.train.Examples in, a fixed form out.


def on_examples(
    engine: Engine,
    method: str,
    spec: model_pb2.ModelSpec,
    examples: input_pb2.Input,
    timeout: float | None = None,
) -> classification_pb2.ClassificationResult | regression_pb2.RegressionResult:
    """Runs a signature on tf.train.Examples.

    Args:
      method: CLASSIFY takes a signature with an input `inputs` and outputs `classes`, `scores` or
        both, REGRESS one with an output `outputs`.
      spec: names the signature.
    """
    signature = _signature(engine, spec)
    source, fetches = _tensors_of(method, signature)
    outputs, count = _run_on_examples(engine, examples, [source], fetches, timeout)
    return _METHODS[method][-1](signature, outputs, count)


def multi_inference(
    engine: Engine,
    request: inference_pb2.MultiInferenceRequest,
    version: int,
    timeout: float | None = None,
) -> inference_pb2.MultiInferenceResponse:
    """Runs several classify and regress signatures on the same examples, in one run."""
    plans: dict[str, tuple] = {}
    sources, fetches = set(), set()
    for task in request.tasks:
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in plans:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        signature = _signature(engine, task.model_spec)
        if task.method_name not in _METHODS:
            message = f"Unsupported signature method_name: {task.method_name}"
            raise ServingError(Code.UNIMPLEMENTED, message)
        source, names = _tensors_of(task.method_name, signature)
        plans[name] = task, signature
        sources.add(source)
        fetches.update(names)
    response = inference_pb2.MultiInferenceResponse()
    outputs, count = _run_on_examples(
        engine, request.input, sorted(sources), sorted(fetches), timeout
    )
    for name, (task, signature) in plans.items():
        result = response.results.add()
        result.model_spec.name = task.model_spec.name
        result.model_spec.signature_name = name
        result.model_spec.version.value = version
        kind, _, result_of = _METHODS[task.method_name]
        getattr(result, f"{kind}_result").CopyFrom(result_of(signature, outputs, count))
    return response


def example_count(examples: input_pb2.Input) -> int:
    """How many tf.train.Examples a request holds."""
    kind = examples.WhichOneof("kind")
    return len(getattr(examples, kind).examples) if kind else 0


def _signature(engine: Engine, spec: model_pb2.ModelSpec) -> meta_graph_pb2.SignatureDef:
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in engine.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return engine.signatures[name]


def _tensors_of(method: str, signature: meta_graph_pb2.SignatureDef) -> tuple[str, list[str]]:
    """The names of the input and of the outputs that a method takes of a signature."""
    kind, aliases, _ = _METHODS[method]
    names = [signature.outputs[alias].name for alias in aliases if alias in signature.outputs]
    if {*signature.inputs} != {"inputs"} or not names or len(signature.outputs) > len(aliases):
        raise invalid_argument(
            f'A {kind} signature has the one input "inputs" and no outputs but '
            f"{' and '.join(aliases)}. Signature was: {signature}"
        )
    return signature.inputs["inputs"].name, names


def _run_on_examples(
    engine: Engine,
    examples: input_pb2.Input,
    sources: Sequence[str],
    fetches: Sequence[str],
    timeout: float | None,
) -> tuple[dict[str, np.ndarray], int]:
    kind = examples.WhichOneof("kind")
    context = b""
    if kind == "example_list_with_context":
        # Concatenated messages merge: each example gets the features of the context.
        context = examples.example_list_with_context.context.SerializeToString()
    serialized = [
        context + e.SerializeToString() for e in (getattr(examples, kind).examples if kind else ())
    ]
    if not serialized:
        raise invalid_argument("Input is empty.")
    feed = np.array(serialized, object)
    values = engine.run(dict.fromkeys(sources, feed), fetches, timeout)
    return dict(zip(fetches, values, strict=True)), len(serialized)


def _classification_result(
    signature: meta_graph_pb2.SignatureDef, outputs: Mapping[str, np.ndarray], count: int
) -> classification_pb2.ClassificationResult:
    found = {}
    for alias, kind in (("classes", "DT_STRING"), ("scores", "DT_FLOAT")):
        if alias not in signature.outputs:
            continue
        array = outputs[signature.outputs[alias].name]
        if array.ndim != 2 or len(array) != count or _dtype(array) != kind:
            raise invalid_argument(
                f"Expected {alias} Tensor of {kind} and shape [{count},num_classes]. "
                f"Got: {_dtype(array)} {_shape(array)}"
            )
        found[alias] = array
    width, *others = {array.shape[1] for array in found.values()}
    if others:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {width} vs. {others[0]}"
        )
    result = classification_pb2.ClassificationResult()
    for i in range(count):
        classes = result.classifications.add().classes
        for j in range(width):
            entry = classes.add()
            if "classes" in found:
                try:
                    entry.label = found["classes"][i, j].decode()
                except UnicodeDecodeError:
                    raise invalid_argument("a class name is not UTF-8") from None
            if "scores" in found:
                entry.score = found["scores"][i, j]
    return result


def _regression_result(
    signature: meta_graph_pb2.SignatureDef, outputs: Mapping[str, np.ndarray], count: int
) -> regression_pb2.RegressionResult:
    array = outputs[signature.outputs["outputs"].name]
    if array.shape not in ((count,), (count, 1)) or array.dtype != np.float32:
        raise invalid_argument(
            f"Expected output Tensor of DT_FLOAT and shape [{count}] or [{count},1]. "
            f"Got: {_dtype(array)} {_shape(array)}"
        )
    result = regression_pb2.RegressionResult()
    for value in array.ravel().tolist():
        result.regressions.add(value=value)
    return result


# For each method: what its signatures and results are called, the outputs that they may have,
# and what makes a result of them.
_METHODS: dict[str, tuple[str, tuple[str, ...], Callable]] = {
    CLASSIFY: ("classification", ("classes", "scores"), _classification_result),
    REGRESS: ("regression", ("outputs",), _regression_result),
}


# Warm-up.


def replay_warmup(engine: Engine, model_dir: str, iterations: int = 1) -> int:
    """Replays the requests that lie beside a model; returns how many records there were.

    Raises:
      ServingError: a record can't be read or its request fails, which fails the load.
    """
    path = pathlib.Path(model_dir, WARMUP_FILE)
    if not path.is_file():
        return 0
    started, count = time.monotonic(), 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            count += 1
            if count > MAX_WARMUP_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {path}"
                )
            try:
                entry = prediction_log_pb2.PredictionLog.FromString(record)
            except Exception:  # protobuf's DecodeError is another class in each of its back ends
                raise invalid_argument(f"Failed to parse warmup record {count} of {path}") from None
            for _ in range(max(1, iterations)):
                _replay(engine, entry)
    except tf.errors.DataLossError as error:
        raise ServingError(
            Code.DATA_LOSS,
            f"{error.message}. Please verify your warmup data is in TFRecord format.",
        ) from None
    log.info("%d warm-up requests of %s took %.2f s", count, path, time.monotonic() - started)
    return count


def _replay(engine: Engine, entry: prediction_log_pb2.PredictionLog) -> None:
    kind = entry.WhichOneof("log_type")
    if kind is None:
        return  # as in TF Serving
    request = getattr(entry, kind).request
    if kind == "predict_log":
        predict_request(engine, request)
    elif kind == "classify_log":
        on_examples(engine, CLASSIFY, request.model_spec, request.input)
    elif kind == "regress_log":
        on_examples(engine, REGRESS, request.model_spec, request.input)
    elif kind == "multi_inference_log":
        multi_inference(engine, request, 0)
    else:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")


def _dtype(array: np.ndarray) -> str:
    return types_pb2.DataType.Name(tf.as_dtype(array.dtype).as_datatype_enum)


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _set(names) -> str:
    return "{" + ",".join(sorted(names)) + "}"
