"""Arrays travel as TensorProtos and as JSON without losing anything."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server import json_tensors, tensors
from serving.server.errors import Code, ServingError

NUMBERS = [
    *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
]
ARRAYS = st.sampled_from(NUMBERS).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)


@settings(max_examples=200, deadline=None)
@given(ARRAYS)
def test_every_number_comes_back_from_a_tensor_proto(array):
    proto = tensors.to_proto(array)
    assert not proto.tensor_content, "TF Serving answers in typed fields"
    for reader in (tensors.to_array, tf.make_ndarray):
        back = reader(proto)
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


def test_bytes_come_back_from_a_tensor_proto():
    array = np.array([[b"", b"\xff\x00"], [b"seven", b"sieben"]], object)
    np.testing.assert_array_equal(tensors.to_array(tensors.to_proto(array)), array)


@pytest.mark.parametrize("dtype", ["float32", "int64", "float64"])
def test_a_tensor_proto_of_tensorflow_itself_is_read(dtype):
    array = np.array([[1, 0], [3, 4]], dtype)
    proto = tf.make_tensor_proto(array)
    assert proto.tensor_content
    np.testing.assert_array_equal(tensors.to_array(proto), array)


def test_one_value_can_not_ask_for_all_the_memory():
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[2.5])
    proto.tensor_shape.dim.add(size=10**12)
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        tensors.to_array(proto, max_bytes=10**6)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": 0},
        {"dtype": 12345},
        {"tensor_content": b"123"},
        {"dtype": types_pb2.DT_RESOURCE},
        {"dtype": types_pb2.DT_VARIANT},
        {"dim": -1},
        {"unknown_rank": True},
    ],
)
def test_a_tensor_proto_that_makes_no_tensor_is_a_value_error(change):
    proto = tensors.to_proto(np.ones((2, 3), np.float32))
    if "dim" in change:
        proto.tensor_shape.dim[0].size = change["dim"]
    elif "unknown_rank" in change:
        proto.tensor_shape.unknown_rank = True
    elif "tensor_content" in change:
        proto.tensor_content = change["tensor_content"]
    else:
        proto.dtype = change["dtype"]
    with pytest.raises(ValueError, match=r"^(?!.*(function_node|/device:))"):
        tensors.to_array(proto)


def parsed(**fields) -> list:
    shape = fields.pop("shape", None)
    proto = tensor_pb2.TensorProto(**fields)
    for size in shape or ():
        proto.tensor_shape.dim.add(size=size)
    return tensors.to_array(proto).tolist()


def test_values_and_shapes_meet_as_in_tensorflow():
    assert parsed(dtype=types_pb2.DT_FLOAT, float_val=[1, 2, 3], shape=[2]) == [1, 2]
    assert parsed(dtype=types_pb2.DT_FLOAT, float_val=[1, 2]) == 1
    assert parsed(dtype=types_pb2.DT_INT64, int64_val=[1, 2], shape=[3]) == [1, 2, 2]
    assert parsed(dtype=types_pb2.DT_INT64, shape=[2]) == [0, 0]
    text = parsed(dtype=types_pb2.DT_STRING, tensor_content=b"\x01\x02abb", shape=[2])
    assert text == [b"a", b"bb"]
    assert parsed(dtype=types_pb2.DT_STRING, string_val=[b"a"]) == b"a"


def test_a_scalar_has_a_shape_that_is_empty():
    assert tensors.to_proto(np.float32(1)).HasField("tensor_shape")


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 130),
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 2**31, 2**62]), max_size=40),
    st.binary(max_size=24),
    st.sampled_from(["float_val", "int_val", "string_val", "half_val", "bool_val", "int64_val"]),
    st.integers(0, 5),
)
def test_whatever_a_tensor_proto_holds_it_is_an_array_or_a_value_error(
    dtype, shape, content, field, count
):
    proto = tensor_pb2.TensorProto(dtype=dtype, tensor_content=content)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend([b"a" if field == "string_val" else 1] * count)
    try:
        assert isinstance(tensors.to_array(proto, max_bytes=10**6), np.ndarray)
    except ValueError as error:
        assert "\n" not in str(error)


# JSON.


def infos(**dtypes):
    return {
        name: meta_graph_pb2.TensorInfo(dtype=tf.as_dtype(dtype).as_datatype_enum)
        for name, dtype in dtypes.items()
    }


def read(document, **dtypes):
    return json_tensors.predict_inputs(json_tensors.parse(document.encode()), infos(**dtypes))[0]


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32)))
def test_every_float_comes_back_from_json(array):
    document = json.loads(json_tensors.columns({"x": array}))
    np.testing.assert_array_equal(np.array(document["outputs"], np.float32), array)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(st.sampled_from(["int64", "bool", "float64"]),
                  hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)))  # fmt: skip
def test_every_shape_comes_back_from_json(array):
    def nested(value):
        return json.loads(json.dumps(value))  # NaN is not equal to itself, its text is

    answer = json.loads(json_tensors.columns({"x": array}))["outputs"]
    assert repr(answer) == repr(nested(array.tolist()))
    if array.ndim and len(array):
        rows = json.loads(json_tensors.predictions({"x": array, "y": array}))["predictions"]
        assert repr([row["y"] for row in rows]) == repr(nested(array.tolist()))


def test_each_float_is_written_as_the_shortest_decimal_that_is_read_as_it():
    array = np.array([0.2, 1, -0.1, 1 / 3, 123456.7, 16777217, 0], np.float32)
    text = json_tensors.columns({"x": array}).decode()
    assert text == '{"outputs":[0.2,1.0,-0.1,0.33333334,123456.7,16777216.0,0.0]}'
    text = json_tensors.columns({"x": np.append(array[:4], np.nan).astype(np.float32)}).decode()
    assert text == '{"outputs":[0.2,1.0,-0.1,0.33333334,NaN]}'


def test_bytes_are_base64_only_under_names_that_end_in_bytes():
    value = np.array([b"a"], object)
    assert json.loads(json_tensors.columns({"y": value})) == {"outputs": ["a"]}
    assert json.loads(json_tensors.columns({"y_bytes": value})) == {"outputs": [{"b64": "YQ=="}]}


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"y": np.float32(1)}, "has no shape information"),
        ({"y": np.zeros(2), "z": np.zeros(3)}, "inconsistent batch size: 3 expecting: 2"),
    ],
)
def test_rows_need_a_batch(outputs, words):
    with pytest.raises(ServingError, match=words):
        json_tensors.predictions(outputs)


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("1435774380", "float32", 1435774336.0),
        ("3.4028235e38", "float32", float(np.finfo(np.float32).max)),
        ("1e39", "float32", np.inf),
        ("-1e300", "float32", -np.inf),
        (str(2**53 + 1), "float64", float(2**53)),
        (str(10**30), "float64", 1e30),
        ("Inf", "float64", np.inf),
        ("-Inf", "float64", -np.inf),
        ("-NaN", "float64", np.nan),
    ],
)
def test_numbers_are_read_as_rapidjson_reads_them(text, dtype, value):
    array = read(f'{{"signature_name": "Inf-NaN", "inputs": [{text}]}}', x=dtype)["x"]
    np.testing.assert_array_equal(array, np.array([value], dtype))


def test_a_byte_order_mark_is_skipped_and_the_first_of_two_keys_counts():
    document = json_tensors.parse(b'\xef\xbb\xbf{"instances": [1], "instances": [2]}')
    assert document == {"instances": [1]}


def test_base64_may_hold_white_space():
    assert read('{"inputs": [{"b64": " YWJj\\r\\nZA = = "}]}', x="string")["x"] == [b"abcd"]


def test_a_row_that_can_not_be_converted_is_an_invalid_argument_whatever_its_type():
    for dtype in ("float16", "uint16", "complex64", "resource", "variant"):
        with pytest.raises(ServingError, match="UNIMPLEMENTED: Conversion of JSON") as caught:
            read('{"instances": [1]}', x=dtype)
        assert caught.value.code is Code.INVALID_ARGUMENT


def test_rows_and_columns_give_the_same_arrays():
    rows = '{"instances": [{"x": [1, 2], "n": 5}, {"x": [3, 4], "n": 6}]}'
    columns = '{"inputs": {"x": [[1, 2], [3, 4]], "n": [5, 6]}}'
    for document in (rows, columns):
        arrays = read(document, x="float32", n="int64")
        np.testing.assert_array_equal(arrays["x"], np.array([[1, 2], [3, 4]], np.float32))
        np.testing.assert_array_equal(arrays["n"], [5, 6])
        assert arrays["x"].dtype == np.float32
        assert arrays["n"].dtype == np.int64


def test_base64_objects_are_bytes_and_padding_may_be_left_out():
    arrays = read('{"instances": [{"b64": "/w=="}, {"b64": "/w"}, "text"]}', x="string")
    assert arrays["x"].tolist() == [b"\xff", b"\xff", b"text"]


@pytest.mark.parametrize(
    ("document", "dtypes", "words"),
    [
        ("", {"x": "float32"}, "JSON Parse error: The document is empty"),
        ('{"instances": [1', {"x": "float32"}, "JSON Parse error"),
        ("[" * 100_000, {"x": "float32"}, "JSON Parse error"),
        ('{"instances": [1], "inputs": [1]}', {"x": "float32"}, "expecting only one of"),
        ('{"instances": 1}', {"x": "float32"}, "to be an list/array"),
        ('{"instances": [true]}', {"x": "float32"}, "Type: True is not of expected type: float"),
        ('{"instances": [null]}', {"x": "float32"}, "Type: Null"),
        ('{"instances": [1.5]}', {"x": "int64"}, "not of expected type: int64"),
        ('{"instances": [3000000000]}', {"x": "int32"}, "not of expected type: int32"),
        ('{"instances": [-1]}', {"x": "uint32"}, "not of expected type: uint32"),
        ('{"instances": [9223372036854775808]}', {"x": "int64"}, "not of expected type: int64"),
        ('{"instances": [1]}', {"x": "bool"}, "not of expected type: bool"),
        ('{"instances": [1]}', {"x": "string"}, "not of expected type: string"),
        ('{"instances": [-1' + "0" * 309 + "]}", {"x": "float64"}, "Number too big"),
        ('{"instances": ' + "[" * 99 + "1" + "]" * 99 + "}", {"x": "float32"}, "nested"),
        ('{"instances": [{"b64": "YQ==="}]}', {"x": "string"}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "YQ="}]}', {"x": "string"}, "Unable to base64 decode"),
        ('{"instances": [[1, 2], [1]]}', {"x": "float32"}, "process element: 1 .*tensor size: 2"),
        ('{"instances": [[[1], [2]], [[1, 2]]]}', {"x": "float32"}, "process element: 1 .*shape"),
        ('{"instances": [[1, [2]]]}', {"x": "float32"}, "process element: 0 .*Type: Array"),
        ('{"instances": [[[1], 2]]}', {"x": "float32"}, "Type: Array"),
        ('{"instances": [[[1], [2, 3]]]}', {"x": "string"}, "Type: Array"),
        ('{"instances": [{"b64": "a"}]}', {"x": "string"}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "YQ"}, {"x": 1}]}', {"x": "string"}, "object at item 1"),
        ('{"instances": [{"x": 1}, 1]}', {"x": "float32"}, "got list at item 1"),
        ('{"instances": [{"x": 1}]}', {"x": "float32", "n": "int64"}, "keys must be equal to: n,x"),
        ('{"inputs": [1]}', {"x": "float32", "n": "int64"}, "inputs is a plain value/list"),
        ('{"instances": ["\\ud800"]}', {"x": "string"}, "surrogate"),
    ],
)
def test_a_request_that_does_not_fit_is_an_invalid_argument(document, dtypes, words):
    with pytest.raises(ServingError, match=f"(?s){words}") as caught:
        read(document, **dtypes)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert len(caught.value.message) < 2000, "the whole request is not sent back"


def test_a_type_that_json_has_no_form_of_is_unimplemented():
    with pytest.raises(ServingError) as caught:
        read('{"inputs": [1]}', x="complex64")
    assert caught.value.code is Code.UNIMPLEMENTED


def test_bytes_that_are_no_utf8_reach_the_model_unchanged():
    document = json_tensors.parse(b'{"instances": ["\xff\xfe"]}')
    arrays, _ = json_tensors.predict_inputs(document, infos(x="string"))
    assert arrays["x"].tolist() == [b"\xff\xfe"]


def test_examples_take_their_kind_from_json():
    document = {
        "context": {"c": True},
        "examples": [{"f": [1.5, 2.5], "i": 3, "s": ["a", {"b64": "/w=="}]}],
    }
    request = json_tensors.examples_input(document).example_list_with_context
    feature = request.examples[0].features.feature
    assert list(feature["f"].float_list.value) == [1.5, 2.5]
    assert list(feature["i"].int64_list.value) == [3]
    assert list(feature["s"].bytes_list.value) == [b"a", b"\xff"]
    assert list(request.context.features.feature["c"].int64_list.value) == [1]


def test_numbers_of_examples_are_rounded_or_infinite():
    request = json_tensors.examples_input({"examples": [{"a": [1e300, 2**70, 16777217.0]}]})
    values = request.example_list.examples[0].features.feature["a"].float_list.value
    assert list(values) == [np.inf, 2.0**70, 16777216.0]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "key 'examples' is expected"),
        ({"examples": 1}, "to be an list/array"),
        ({"examples": []}, "is an empty array"),
        ({"examples": [1]}, "must be JSON object but got JSON Number"),
        ({"examples": [{"a": None}]}, "unexpected JSON type: Null"),
        ({"examples": [{"a": [[1]]}]}, "unexpected JSON type: Array"),
        ({"examples": [{"a": [1, 2.5]}]}, "Unexpected element type in feature: a"),
        ({"examples": [{"a": 2**63}]}, "Only int64_t is supported"),
    ],
)
def test_examples_that_make_no_example_are_invalid_arguments(document, words):
    with pytest.raises(ServingError, match=words) as caught:
        json_tensors.examples_input(document)
    assert caught.value.code is Code.INVALID_ARGUMENT
