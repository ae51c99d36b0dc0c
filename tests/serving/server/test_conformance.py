"""One contract, asked of the local server always and of TF Serving itself where it is at hand.

Wording is compared only as far as clients may rely on it.
"""

import base64
import json
import math

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server import tensors
from tests.serving.server import saved_models
from tests.serving.server.conftest import REST_TIMEOUT_MS

PNG = b"\x89PNG\r\n\x1a\n"


def error_of(response) -> str:
    document = response.json()
    assert list(document) == ["error"]
    return document["error"]


def level(version: int, label: int) -> float:
    """The pixel that version `version` of the tiny generator draws for a label."""
    return float(np.float32(version) * np.float32(label + 1) / np.float32(100))


def rpc_error(call) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def example(**features: float) -> example_pb2.Example:
    message = example_pb2.Example()
    for name, value in features.items():
        message.features.feature[name].float_list.value.append(value)
    return message


# REST: predict.


def test_rows_give_predictions_and_columns_give_outputs(server):
    rows = server.predict("types", {"instances": [[1.0, 2.0], [3.0, 4.0]]})
    assert rows.status_code == 200
    assert rows.headers["content-type"] == "application/json"
    assert rows.json() == {"predictions": [[1.0, 2.0], [3.0, 4.0]]}
    columns = server.predict("types", {"inputs": [[1.0, 2.0], [3.0, 4.0]]})
    assert columns.json() == {"outputs": [[1.0, 2.0], [3.0, 4.0]]}
    named = server.predict("types", {"inputs": {"x": [1.0]}})
    assert named.json() == {"outputs": [1.0]}


def test_several_outputs_keep_their_names(server):
    document = {"signature_name": "two_outputs", "instances": [1.0, 2.0]}
    assert server.predict("types", document).json() == {
        "predictions": [{"double": 2.0, "text": "1"}, {"double": 4.0, "text": "2"}]
    }
    document = {"signature_name": "two_outputs", "inputs": [1.0, 2.0]}
    assert server.predict("types", document).json() == {
        "outputs": {"double": [2.0, 4.0], "text": ["1", "2"]}
    }


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("float32", [0.5, -1.25, 3e-5]),
        ("float64", [0.1, 1e300]),
        ("int8", [-128, 127]),
        ("int16", [-32768, 32767]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint8", [0, 255]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
        ("string", ["seven", "sieben ü"]),
    ],
)
def test_each_type_passes_through_rest_unchanged(server, signature, values):
    answer = server.predict("types", {"signature_name": signature, "instances": values})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": values}


def test_numbers_that_a_float_can_not_hold_are_rounded(server):
    # After a byte order mark; the last four are no JSON.
    numbers = "1435774380, 3.4028235e38, 1e39, Inf, Infinity, -Infinity, NaN"
    document = b'\xef\xbb\xbf{"instances": [%s]}' % numbers.encode()
    response = server.http.post("/v1/models/types:predict", content=document)
    values = np.array(json.loads(response.text)["predictions"], np.float32)
    largest = np.finfo(np.float32).max
    expected = [1435774336, largest, math.inf, math.inf, math.inf, -math.inf, math.nan]
    np.testing.assert_array_equal(values, expected)


def test_an_answer_without_rows_is_an_empty_list(server):
    document = {"signature_name": "no_rows", "instances": [1.0]}
    assert server.predict("types", document).json() == {"predictions": []}


@pytest.mark.parametrize("depth", [33, 60, 300])
def test_a_deeply_nested_list_is_answered_or_refused(server, depth):
    document = '{"instances": ' + "[" * depth + "1" + "]" * depth + "}"
    response = server.http.post("/v1/models/types:predict", content=document)
    assert response.status_code in (200, 400), response.text


def test_bytes_travel_as_base64(server):
    raw = bytes(range(256))
    value = {"b64": base64.b64encode(raw).decode()}
    document = {"signature_name": "text_to_bytes", "instances": [value]}
    assert server.predict("types", document).json() == {"predictions": [value]}


def test_a_generator_answers_floats_and_png(server):
    document = {"signature_name": "generate", "inputs": {"seed": [1, 2], "label": [7, 3]}}
    images = np.array(server.predict("digits", document).json()["outputs"])
    assert images.shape == (2, 28, 28, 1)
    np.testing.assert_allclose(images[:, 0, 0, 0], [level(2, 7), level(2, 3)], rtol=1e-6)
    document = {"signature_name": "generate_png", "instances": [{"seed": 1, "label": 7}]}
    (png,) = server.predict("digits", document).json()["predictions"]
    assert base64.b64decode(png["b64"]).startswith(PNG)


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("digits", 2),
        ("digits/versions/1", 1),
        ("digits/labels/stable", 1),
        ("digits/labels/canary", 2),
    ],
)
def test_a_path_chooses_the_version(server, path, version):
    document = {"signature_name": "generate", "instances": [{"seed": 1, "label": 4}]}
    (image,) = server.predict(path, document).json()["predictions"]
    assert image[0][0][0] == pytest.approx(level(version, 4), rel=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("nobody", '{"instances": [1]}', 404, "Servable not found for request: Latest(nobody)"),
        ("types/versions/9", '{"instances": [1]}', 404, "Specific(types, 9)"),
        ("types/labels/beta", '{"instances": [1]}', 400, "Unrecognized servable version label"),
        ("types", '{"signature_name": "x", "instances": [1]}', 400, "not found in signature def"),
        ("types", '{"signature_name": 5, "instances": [1]}', 400, "must be a string value"),
        ("types", "not json", 400, "JSON Parse error"),
        ("types", "", 400, "JSON Parse error"),
        ("types", "[]", 400, "not object"),
        ("types", "{}", 400, "Missing 'inputs' or 'instances' key"),
        ("types", '{"instances": ["a"]}', 400, "not of expected type: float"),
        ("types", '{"instances": []}', 400, "No values in 'instances'"),
        ("types", '{"instances": [[1], [1, 2]]}', 400, "Expecting tensor size: 1 but got: 2"),
        ("types", '{"instances": [{"y": 1}]}', 400, "does not have named input: y"),
        ("digits", '{"instances": [1]}', 400, "instances is a plain list"),
        ("digits", '{"inputs": {"latent": [[1, 2, 3, 4]]}}', 400, "Missing named input: label"),
        (
            "digits",
            '{"instances": [{"latent": [1, 2, 3, 4], "label": 10}]}',
            400,
            "label out of range",
        ),
        ("types", '{"signature_name": "scalar_output", "instances": [1]}', 400, "shape"),
        ("types", '{"signature_name": "string", "instances": [{"b64": "%"}]}', 400, "base64"),
        ("types", '{"signature_name": "float16", "instances": [1]}', 400, "type: half"),
        ("types", '{"signature_name": "float16", "inputs": [1]}', 501, "type: half"),
        ("types", '{"instances": [1e400]}', 400, "JSON Parse error"),
        ("types/versions/" + "1" * 5000, '{"instances": [1]}', 400, "Failed to convert version"),
    ],
)
def test_a_bad_predict_request_gets_the_status_and_the_message(server, path, body, status, words):
    response = server.http.post(f"/v1/models/{path}:predict", content=body)
    assert response.status_code == status, response.text
    assert words in error_of(response)
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/types"),
        ("POST", "/v1/models/types:explain"),
        ("POST", "/v1/models/types/versions/one:predict"),
        ("GET", "/v1/models/types:predict"),
        ("PUT", "/v1/models/types:predict"),
        ("GET", "/v1/models/types/versions/1/labels/a"),
    ],
)
def test_a_malformed_path_is_an_invalid_argument(server, method, path):
    response = server.http.request(method, path, content=b'{"instances": [1]}')
    assert response.status_code == 400
    assert "Malformed request" in error_of(response)


def test_the_path_ignores_case_as_tf_serving_does(server):
    response = server.http.post("/V1/Models/types/Versions/1:predict", json={"instances": [1.0]})
    assert response.json() == {"predictions": [1.0]}


def test_a_request_that_computes_too_long_exceeds_its_deadline(server):
    response = server.predict("slow", {"instances": [50 * REST_TIMEOUT_MS]})
    assert response.status_code == 504
    assert error_of(response)
    assert server.predict("slow", {"instances": [1]}).status_code == 200


# REST: classify and regress.


@pytest.mark.parametrize(
    ("verb", "signature", "document", "results"),
    [
        ("regress", "regress_x_to_y", {"examples": [{"x": 1.0}, {"x": 2.5}]}, [2.5, 3.25]),
        (
            "regress",
            "regress_x_to_y",
            {"context": {"shift": 10.0}, "examples": [{"x": 1.0}, {"x": 2.5}]},
            [12.5, 13.25],
        ),
        ("classify", "classify_x_to_y", {"examples": [{"x": 1.0}]}, [["up", 2.5], ["down", -2.5]]),
        ("classify", "scores_only", {"examples": [{"x": 1.0}]}, [["", 2.5], ["", -2.5]]),
    ],
)
def test_regress_gives_a_number_and_classify_pairs_of_label_and_score_for_each_example(
    server, verb, signature, document, results
):
    response = server.http.post(
        f"/v1/models/half_plus_two:{verb}", json={"signature_name": signature, **document}
    )
    assert response.json() == {"results": results if verb == "regress" else [results]}


@pytest.mark.parametrize(
    ("verb", "document", "words"),
    [
        ("regress", {"signature_name": "nobody", "examples": [{"x": 1.0}]}, "nobody"),
        ("regress", {"signature_name": "regress_x_to_y"}, "examples"),
        ("regress", {"signature_name": "regress_x_to_y", "examples": []}, "empty array"),
        ("regress", {"signature_name": "regress_x_to_y", "examples": [{"x": None}]}, "Null"),
        ("regress", {"signature_name": "regress_x_to_y", "examples": [{"x": "a"}]}, "x"),
        ("regress", {"signature_name": "regress_x_to_y", "examples": [{}]}, "x"),
        ("classify", {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]}, "class"),
    ],
)
def test_a_bad_classify_or_regress_request_is_an_invalid_argument(server, verb, document, words):
    response = server.http.post(f"/v1/models/half_plus_two:{verb}", json=document)
    assert response.status_code == 400, response.text
    assert words in error_of(response)


# REST: status and metadata.


def test_status_lists_each_version_with_64_bit_numbers_as_text(server):
    response = server.http.get("/v1/models/digits")
    assert response.status_code == 200
    ok = {"error_code": "OK", "error_message": ""}
    assert response.json() == {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": ok},
            {"version": "1", "state": "AVAILABLE", "status": ok},
        ]
    }
    one = server.http.get("/v1/models/digits/versions/1").json()["model_version_status"]
    assert [status["version"] for status in one] == ["1"]


def test_the_folder_00000123_is_version_123(server):
    assert server.versions("half_plus_two") == {123: "AVAILABLE"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nobody", 404),
        ("digits/versions/9", 404),
        ("", 400),
        ("nobody/metadata", 404),
        ("digits/versions/9/metadata", 404),
        ("digits/labels/beta/metadata", 400),
    ],
)
def test_unknown_names_have_no_status_and_no_metadata(server, path, status):
    response = server.http.get(f"/v1/models/{path}".rstrip("/"))
    assert response.status_code == status
    assert error_of(response)


def test_metadata_describes_the_signatures(server):
    document = server.http.get("/v1/models/digits/versions/1/metadata").json()
    assert document["model_spec"] == {"name": "digits", "signature_name": "", "version": "1"}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "generate", "generate_png"} <= set(signatures)
    generate = signatures["generate"]
    assert generate["method_name"] == "tensorflow/serving/predict"
    assert generate["inputs"]["seed"]["dtype"] == "DT_INT64"
    shape = generate["outputs"]["image"]["tensor_shape"]
    assert [dim["size"] for dim in shape["dim"]] == ["-1", "28", "28", "1"]
    assert shape["unknown_rank"] is False
    assert generate["defaults"] == {}
    half = server.http.get("/v1/models/half_plus_two/metadata").json()
    signatures = half["metadata"]["signature_def"]["signature_def"]
    assert signatures["with_default"]["defaults"]["shift"]["dtype"] == "DT_FLOAT"
    assert signatures["serving_default"]["inputs"]["x"]["tensor_shape"]["unknown_rank"] is True


def test_prometheus_metrics_count_the_requests(server):
    def count() -> float:
        page = server.http.get("/monitoring/prometheus/metrics").text
        line = ':tensorflow:serving:request_count{model_name="types",status="OK"} '
        found = [row for row in page.splitlines() if row.startswith(line)]
        return float(found[0][len(line) :]) if found else 0.0

    before = count()
    server.predict("types", {"instances": [1.0]})
    assert count() == before + 1
    server.http.get("/v1/models/types")
    assert count() == before + 2, "status calls count too"
    page = server.http.get("/monitoring/prometheus/metrics").text
    latency = ':request_latency_count{model_name="types",API="predict",entrypoint="REST"} '
    assert latency in page
    assert ':request_latency_count{model_name="types",API="",entrypoint="REST"} ' in page


# gRPC.


def grpc_predict(
    server, name, inputs, signature="", version=None, label="", outputs=(), timeout=60
):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for alias, array in inputs.items():
        if array is object:
            request.inputs[alias].dtype = types_pb2.DT_RESOURCE
        else:
            request.inputs[alias].CopyFrom(tensors.to_proto(np.asarray(array)))
    return server.prediction.Predict(request, timeout=timeout)


@pytest.mark.parametrize("dtype", saved_models.DTYPES)
def test_each_type_passes_through_grpc_unchanged(server, dtype):
    array = np.array([b"a", b"\xff"], object) if dtype == "string" else np.array([[0, 1]], dtype)
    response = grpc_predict(server, "types", {"x": array}, dtype)
    (proto,) = response.outputs.values()
    assert not proto.tensor_content
    back = tensors.to_array(proto)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert response.model_spec.name == "types"
    assert response.model_spec.signature_name == dtype
    assert response.model_spec.version.value == 1


def test_an_output_filter_computes_only_what_it_names(server):
    inputs = {"x": np.array([1.0], np.float32)}
    response = grpc_predict(server, "types", inputs, "two_outputs", outputs=["text"])
    assert list(response.outputs) == ["text"]
    everything = grpc_predict(server, "types", inputs, "two_outputs")
    assert sorted(everything.outputs) == ["double", "text"]


@pytest.mark.parametrize(
    ("choice", "version"), [({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1)]
)
def test_a_model_spec_chooses_the_version(server, choice, version):
    inputs = {"seed": np.array([1]), "label": np.array([4])}
    response = grpc_predict(server, "digits", inputs, "generate", **choice)
    assert response.model_spec.version.value == version
    image = tensors.to_array(response.outputs["image"])
    assert image[0, 0, 0, 0] == pytest.approx(level(version, 4), rel=1e-6)


INVALID = grpc.StatusCode.INVALID_ARGUMENT
FLOATS = {"x": np.array([1.0], np.float32)}
LATENT = np.zeros((1, saved_models.LATENT), np.float32)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nobody", FLOATS), grpc.StatusCode.NOT_FOUND, "Latest(nobody)"),
        (("types", FLOATS, "", 9), grpc.StatusCode.NOT_FOUND, "Specific(types, 9)"),
        (("types", FLOATS, "", None, "beta"), INVALID, "label: beta"),
        (("types", FLOATS, "x"), grpc.StatusCode.FAILED_PRECONDITION, '"x" not found'),
        (("types", {}), INVALID, "does not match signature"),
        (("types", {"y": [1.0]}), INVALID, "not found in request and no default value provided"),
        (("types", {"x": object}), INVALID, "tensor parsing error"),
        (("types", {"x": np.array([1])}), INVALID, "int64"),
        (("digits", {"latent": LATENT, "label": np.array([10])}), INVALID, "label out of range"),
        (("types", FLOATS, "", None, "", ["y", "y"]), INVALID, "duplicate output"),
        (("types", FLOATS, "", None, "", ["z"]), INVALID, "output tensor alias not found"),
    ],
)
def test_a_bad_predict_call_gets_the_code_and_the_message(server, arguments, code, words):
    error = rpc_error(lambda: grpc_predict(server, *arguments))
    assert error.code() is code
    assert words in error.details()


def test_an_input_that_has_a_default_may_be_left_out(server):
    answers = {}
    for given, inputs in (("no", {"x": 1.0}), ("yes", {"x": 1.0, "shift": 2.0})):
        inputs = {alias: np.float32(value) for alias, value in inputs.items()}
        response = grpc_predict(server, "half_plus_two", inputs, "with_default")
        answers[given] = response.outputs["z"]
    assert answers["no"].float_val == [11.0]
    assert answers["yes"].float_val == [3.0]
    assert answers["no"].HasField("tensor_shape"), "of a scalar, too"


def test_an_empty_label_and_no_model_are_invalid_arguments(server):
    request = predict_pb2.PredictRequest()
    error = rpc_error(lambda: server.prediction.Predict(request))
    assert (error.code(), error.details()) == (INVALID, "Missing ModelSpec")
    request.model_spec.name = "types"
    request.model_spec.version_label = ""
    error = rpc_error(lambda: server.prediction.Predict(request))
    assert error.code() is INVALID
    assert "Unrecognized servable version label" in error.details()


def test_classify_and_regress_refuse_a_signature_of_the_other_kind_and_no_examples(server):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "half_plus_two"
    request.model_spec.signature_name = "regress_x_to_y"
    request.input.example_list.examples.append(example(x=1.0))
    error = rpc_error(lambda: server.prediction.Classify(request))
    assert error.code() is INVALID
    other = regress_request(example(x=1.0))
    other.model_spec.signature_name = "scores_only"
    error = rpc_error(lambda: server.prediction.Regress(other))
    assert error.code() is INVALID
    error = rpc_error(lambda: server.prediction.Regress(regress_request()))
    assert (error.code(), error.details()) == (INVALID, "Input is empty.")


def test_a_call_that_takes_too_long_exceeds_its_deadline(server):
    steps = {"steps": np.array([200_000], np.int32)}
    error = rpc_error(lambda: grpc_predict(server, "slow", steps, timeout=0.5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def regress_request(*examples) -> regression_pb2.RegressionRequest:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "half_plus_two"
    request.model_spec.signature_name = "regress_x_to_y"
    request.input.example_list.examples.extend(examples)
    return request


def test_classify_and_regress_answer_over_grpc(server):
    response = server.prediction.Regress(regress_request(example(x=1.0), example(x=2.0)))
    assert [r.value for r in response.result.regressions] == [2.5, 3.0]
    assert response.model_spec.version.value == 123
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "half_plus_two"
    request.model_spec.signature_name = "classify_x_to_y"
    request.input.example_list_with_context.context.CopyFrom(example(shift=1.0))
    request.input.example_list_with_context.examples.append(example(x=1.0))
    response = server.prediction.Classify(request)
    (row,) = response.result.classifications
    assert [(c.label, c.score) for c in row.classes] == [("up", 3.5), ("down", -3.5)]


def multi_request(*tasks: tuple[str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = "half_plus_two"
        task.model_spec.signature_name = signature
    request.input.example_list.examples.append(example(x=1.0))
    return request


def test_multi_inference_answers_in_the_order_of_its_tasks_from_the_input_of_each(server):
    tasks = [
        ("classify_x_to_y", "classify"),
        ("regress_x_to_y", "regress"),
        ("regress_twin", "regress"),
    ]
    response = server.prediction.MultiInference(multi_request(*tasks))
    classified, regressed, twin = response.results
    assert classified.classification_result.classifications[0].classes[0].score == 2.5
    assert regressed.regression_result.regressions[0].value == 2.5
    assert twin.regression_result.regressions[0].value == 2.0
    assert classified.model_spec.signature_name == "classify_x_to_y"


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([], INVALID),
        ([("regress_x_to_y", "regress")] * 2, INVALID),
        ([("nobody", "regress")], INVALID),
        ([("regress_x_to_y", "predict")], grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_a_bad_multi_inference_gets_its_code(server, tasks, code):
    error = rpc_error(lambda: server.prediction.MultiInference(multi_request(*tasks)))
    assert error.code() is code


def test_metadata_over_grpc_holds_the_signatures_and_nothing_else_can_be_asked(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "digits"
    response = server.prediction.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    info = signatures.signature_def["generate"].inputs["seed"]
    assert info.dtype == types_pb2.DT_INT64
    assert response.model_spec.version.value == 2
    for fields in (["graph"], []):
        bad = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        bad.model_spec.name = "digits"
        error = rpc_error(lambda bad=bad: server.prediction.GetModelMetadata(bad))
        assert error.code() is INVALID


def test_status_over_grpc_names_version_and_state(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "digits"
    response = server.models.GetModelStatus(request)
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    found = [(s.version, s.state, s.status.error_code) for s in response.model_version_status]
    assert found == [(2, available, 0), (1, available, 0)]
    request.model_spec.name = "nobody"
    error = rpc_error(lambda: server.models.GetModelStatus(request))
    assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "text",
    [
        "",
        'config { model_config_list { config { name: "a" base_path: "/a" model_platform: "x" } } }',
        "config { model_config_list {"
        ' config { name: "a" base_path: "/a" model_platform: "tensorflow" }'
        ' config { name: "a" base_path: "/a" model_platform: "tensorflow" } } }',
    ],
)
def test_a_bad_reload_is_refused_and_changes_nothing(server, text):
    request = text_format.Parse(text, model_management_pb2.ReloadConfigRequest())
    error = rpc_error(lambda: server.models.HandleReloadConfigRequest(request))
    assert error.code() is INVALID
    assert server.versions("digits") == {2: "AVAILABLE", 1: "AVAILABLE"}
