"""The REST API's JSON: requests to arrays, arrays to responses, as TF Serving writes them.

What counts as JSON and as base64 is what TF Serving's libraries, RapidJSON and Abseil, take. A
string where a number belongs or a fraction where an integer does is an error that names the value;
a number that a float can't hold is rounded, or infinite.
"""

import base64
import contextlib
import itertools
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving.server.errors import Code, ServingError, invalid_argument

# Longest piece of a request that an error repeats.
_QUOTED = 500
_INTEGERS: dict[np.dtype, np.iinfo] = {
    # JSON integers of these types go through a 32-bit field and are then cast, in TF Serving too.
    **{np.dtype(t): np.iinfo(np.int32) for t in (np.int8, np.uint8, np.int16, np.int32)},
    np.dtype(np.int64): np.iinfo(np.int64),
    np.dtype(np.uint32): np.iinfo(np.uint32),
    np.dtype(np.uint64): np.iinfo(np.uint64),
}
# The types whose values TF Serving reads and writes; strings are the other one.
_NUMBERS = {*_INTEGERS, np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.bool_)}


# Requests.


# Where no number of a document is as long as these, none is too large for a double.
_LARGE = re.compile(rb"[eE]\+?0*[0-9]{3}|[0-9]{300}")
# A string, to be left alone, or one of the numbers that RapidJSON knows and Python does not.
_ODD_NUMBERS = re.compile(r'"(?:[^"\\]|\\.)*"|-NaN|-?Inf(?:inity)?', re.DOTALL)


def parse(body: bytes) -> dict:
    """The JSON object of a request; INVALID_ARGUMENT where it is no JSON or no object."""
    # Bytes that are no UTF-8 pass through strings unchanged, as they do in TF Serving.
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if not text.strip(" \t\r\n"):
        raise invalid_argument("JSON Parse error: The document is empty")
    hooks: Any = {"parse_float": _number, "parse_int": _number} if _LARGE.search(body) else {}
    try:
        try:
            document = json.loads(text, object_pairs_hook=_first_of_each, **hooks)
        except json.JSONDecodeError:
            plain = _ODD_NUMBERS.sub(_python_number, text)
            if plain == text:
                raise
            document = json.loads(plain, object_pairs_hook=_first_of_each, **hooks)
    except json.JSONDecodeError as error:
        raise invalid_argument(
            f"JSON Parse error: {error.msg.rstrip(': ')} at offset: {error.pos}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {_quote(document)} Is not object")
    return document


def _first_of_each(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


def _python_number(match: re.Match) -> str:
    token = match[0]
    if token.startswith('"'):
        return token
    return "NaN" if token == "-NaN" else "-Infinity" if token[0] == "-" else "Infinity"


def _number(text: str) -> int | float:
    if math.isinf(float(text)):
        raise ValueError("Number too big to be stored in double.")
    return int(text) if text.lstrip("-").isdigit() else float(text)


def signature_name(document: dict) -> str:
    """The request's `signature_name`, "" where it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {_quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def predict_inputs(
    document: dict, infos: Mapping[str, meta_graph_pb2.TensorInfo]
) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a predict request by alias, and whether it is in row form (`instances`).

    Raises:
      ServingError: INVALID_ARGUMENT; UNIMPLEMENTED in column form for a type that JSON has no
        form of.
    """
    if not infos:
        raise invalid_argument("Failed to get input map for signature: it has no inputs")
    # A protobuf map can't be asked for a key that is no UTF-8; a dictionary can.
    infos = dict(infos)
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"JSON Value: {_quote(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        empty = "No values in 'instances' array"
        return _from_rows(_items(document, "instances", empty), infos), True
    if "inputs" in document:
        return _from_columns(document["inputs"], infos), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def examples_input(document: dict) -> input_pb2.Input:
    """The `examples`, and `context`, of a classify or regress request."""
    request = input_pb2.Input()
    if "context" in document:
        _fill_example(request.example_list_with_context.context, document["context"])
        target = request.example_list_with_context
    else:
        target = request.example_list
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {_quote(document)} When method is classify, key 'examples' "
            "is expected and was not found"
        )
    examples = _items(document, "examples", "'examples' value is an empty array")
    for example in examples:
        _fill_example(target.examples.add(), example)
    return request


def _items(document: dict, key: str, empty: str) -> list:
    """The list under `key`, which must not be empty."""
    items = document[key]
    if not isinstance(items, list):
        raise invalid_argument(
            f"JSON Value: {_quote(document)} Expecting '{key}' to be an list/array"
        )
    if not items:
        raise invalid_argument(f"JSON Value: {_quote(document)} {empty}")
    return items


def _from_rows(rows: list, infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, np.ndarray]:
    named = _is_object(rows[0])
    if not named and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    for i, row in enumerate(rows):
        if named and not _is_object(row):
            raise invalid_argument(f"Expecting object but got list at item {i} of input list")
        if not named and _is_object(row):
            raise invalid_argument(f"Expecting value/list but got object at item {i} of input list")
        if named and row.keys() != infos.keys():
            extra = [key for key in row if key not in infos]
            if extra:
                raise invalid_argument(
                    f"Failed to process element: {i} key: {extra[0]} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: JSON object: does not have named input: {extra[0]}"
                )
            raise invalid_argument(
                f"Failed to process element: {i} of 'instances' list. JSON object: "
                f"{_quote(row)} keys must be equal to: {','.join(sorted(infos))}"
            )
    arrays = {}
    for alias, info in infos.items():
        column = [row[alias] for row in rows] if named else rows
        try:
            arrays[alias] = _dense(column, info.dtype)
        except ServingError:
            # Once more, slowly, to say in which row it is.
            _raise_for_row(column, alias if named else None, info.dtype)
            raise
    return arrays


def _raise_for_row(column: list, alias: str | None, dtype: int) -> None:
    first = None
    for i, value in enumerate(column):
        try:
            array = _dense(value, dtype)
            first = array if first is None else first
            if array.size != first.size:
                raise invalid_argument(f"Expecting tensor size: {first.size} but got: {array.size}")
            if array.shape != first.shape:
                raise invalid_argument(
                    f"Expecting shape {_shape(first.shape)} but got: {_shape(array.shape)}"
                )
        except ServingError as error:
            key = f" key: {alias}" if alias is not None else ""
            raise invalid_argument(
                f"Failed to process element: {i}{key} of 'instances' list. Error: {error}"
            ) from None


def _from_columns(
    value: Any, infos: Mapping[str, meta_graph_pb2.TensorInfo]
) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        ((alias, info),) = infos.items()
        return {alias: _dense(value, info.dtype)}
    for alias in infos:
        if alias not in value:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: _dense(value[alias], info.dtype) for alias, info in infos.items()}


def _dense(value: object, dtype: int) -> np.ndarray:
    """A nested list of equal lengths at each level as an array."""
    shape: list[int] = []
    flat: list[Any] = [value]
    # Lists of unequal lengths stay where they are, and no type takes a list.
    while flat and all(isinstance(v, list) for v in flat) and len(set(map(len, flat))) == 1:
        shape.append(len(flat[0]))
        flat = list(itertools.chain.from_iterable(flat))
    leaves = _leaves(flat, dtype)
    try:
        return leaves.reshape(shape)
    except ValueError as error:  # NumPy's arrays have fewer dimensions than TensorFlow's
        raise invalid_argument(f"a list nested {len(shape)} deep: {error}") from None


def _leaves(flat: list, dtype: int) -> np.ndarray:
    if dtype == types_pb2.DT_STRING:
        strings = np.empty(len(flat), object)
        strings[:] = [_bytes(value) for value in flat]
        return strings
    try:
        target = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
    except (TypeError, KeyError):
        target = None
    if target not in _NUMBERS:
        example = _quote(flat[0]) if flat else "[]"
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {example} to type: {_name(dtype)}"
        )
    taken: dict[str, tuple[type, ...]] = {"b": (bool,), "f": (int, float)}
    if odd := [value for value in flat if type(value) not in taken.get(target.kind, (int,))]:
        raise _type_error(odd[0], dtype)
    if bounds := _INTEGERS.get(target):
        for value in flat and (min(flat), max(flat)):
            if not bounds.min <= value <= bounds.max:
                raise _type_error(value, dtype)
        return np.array(flat, bounds.dtype).astype(target)
    # By way of double, as RapidJSON gives its numbers.
    with np.errstate(over="ignore"):
        return np.array(flat, np.float64).astype(target)


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise invalid_argument(
                "JSON Parse error: The surrogate pair in string is invalid."
            ) from None
    if not isinstance(value, dict):
        raise _type_error(value, types_pb2.DT_STRING)
    if not _is_base64(value):
        raise invalid_argument(
            f"JSON Value: {_quote(value)} not formatted correctly for base64 data"
        )
    text = re.sub(r"[ \t\r\n\v\f]", "", value["b64"])
    digits = text.rstrip("=.")
    padding = -len(digits) % 4
    # Padding may be left out, but what is there must be right.
    if len(text) - len(digits) in (0, padding):
        with contextlib.suppress(ValueError):
            return base64.b64decode(digits + "=" * padding, validate=True)
    raise invalid_argument("Unable to base64 decode")


def _is_base64(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: object) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _fill_example(example, value: object) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {_json_type(value)}")
    for name, content in value.items():
        key = _bytes(name).decode("utf-8", "replace")
        feature = example.features.feature[key]
        for item in content if isinstance(content, list) else [content]:
            _add_to_feature(feature, key, item)


def _add_to_feature(feature, name: str, value: object) -> None:
    # Booleans are integers here. Integers are never floats, but those beyond 64 bits are.
    if isinstance(value, (bool, int)) and -(2**63) <= value < 2**64:
        kind = "int64_list"
        if value >= 2**63:
            raise invalid_argument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        value = int(value)
    elif isinstance(value, (int, float)):
        kind = "float_list"
        with np.errstate(over="ignore"):
            value = np.float32(value)
    elif isinstance(value, str) or _is_base64(value):
        kind = "bytes_list"
        value = _bytes(value)
    else:
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}"
        )
    if feature.WhichOneof("kind") not in (None, kind):
        expected = feature.WhichOneof("kind").removesuffix("_list")
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {expected}"
        )
    getattr(feature, kind).value.append(value)


# Responses.


def predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer to `instances`: one entry per row.

    Raises:
      ServingError: an output is a scalar, or has not as many rows as another.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
    rows = len(next(iter(outputs.values())))
    for name, array in outputs.items():
        if len(array) != rows:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}"
            )
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return b'{"predictions":' + _array(name, array) + b"}"
    entries = [
        _object({name: _array(name, array[i]) for name, array in sorted(outputs.items())})
        for i in range(rows)
    ]
    return b'{"predictions":[' + b",".join(entries) + b"]}"


def columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer to `inputs`: whole tensors, by name where there are several.

    Raises:
      ServingError: there is no output, or one of a type that JSON has no form of.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    parts = {name: _array(name, array) for name, array in sorted(outputs.items())}
    answer = next(iter(parts.values())) if len(parts) == 1 else _object(parts)
    return b'{"outputs":' + answer + b"}"


def results(
    of: classification_pb2.ClassificationResult | regression_pb2.RegressionResult,
) -> bytes:
    """The answer of `:classify`, pairs of label and score, or of `:regress`."""
    if isinstance(of, regression_pb2.RegressionResult):
        return dump({"results": _floats32([r.value for r in of.regressions])})
    rows = [row.classes for row in of.classifications]
    labels = ([c.label for c in row] for row in rows)
    scores = (_floats32([c.score for c in row]) for row in rows)
    pairs = [list(zip(*both, strict=True)) for both in zip(labels, scores, strict=True)]
    return dump({"results": pairs})


def dump(document: object, indent: int | None = None) -> bytes:
    """A document of lists and dictionaries as JSON."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(document, ensure_ascii=False, indent=indent, separators=separators)
    # Byte strings that were no UTF-8 leave as they came.
    return text.encode("utf-8", "surrogateescape")


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(dump(name) + b":" + member for name, member in members.items()) + b"}"


def _array(name: str, array: np.ndarray) -> bytes:
    """An array as JSON; each float is the shortest decimal that is read as the same float."""
    array = np.asarray(array)
    if array.dtype.kind in "OS":
        return dump(_strings(name, array.tolist()))
    if array.dtype not in _NUMBERS:
        kind = tf.as_dtype(array.dtype).as_datatype_enum
        raise invalid_argument(f"Failed to write JSON value for tensor type: {_name(kind)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return dump(_shortest(array).tolist())  # orjson would write null
    if not array.ndim:
        return _array(name, array[np.newaxis])[1:-1]
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)


def _strings(name: str, value: Any) -> object:
    if isinstance(value, list):
        return [_strings(name, item) for item in value]
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(value).decode("ascii")}
    return value.decode("utf-8", "surrogateescape")


def _shortest(array: np.ndarray) -> np.ndarray:
    """float64 that print as the values do: 0.2 for the float32 0.2, not 0.20000000298023224."""
    return array.astype("U32").astype(np.float64)


def _floats32(values: list[float]) -> list[float]:
    return _shortest(np.array(values, np.float32)).tolist()


# Wording.


def _quote(value: object) -> str:
    text = ""
    try:
        for piece in json.JSONEncoder(indent=4).iterencode(value):
            text += piece
            if len(text) > _QUOTED:
                return text[:_QUOTED] + "..."
    except RecursionError:
        return text[:_QUOTED] + "..."
    return text


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return str(value)
    names = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return names.get(type(value), "Null")


def _type_error(value: object, dtype: int) -> ServingError:
    return invalid_argument(
        f"JSON Value: {_quote(value)} Type: {_json_type(value)} "
        f"is not of expected type: {_name(dtype)}"
    )


def _name(dtype: int) -> str:
    name = tf.as_dtype(dtype).name
    return {"float16": "half", "float32": "float", "float64": "double"}.get(name, name)


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
