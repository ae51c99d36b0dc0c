"""Arrays to `TensorProto` and back, in the form that TF Serving sends: one typed field.

`tf.make_tensor_proto` would fill `tensor_content`, which clients of TF Serving do not expect.
"""

import math
import re

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

_FIXED_WIDTH = {
    np.dtype(np.float32): "float_val",
    np.dtype(np.float64): "double_val",
    np.dtype(np.complex64): "scomplex_val",
    np.dtype(np.complex128): "dcomplex_val",
    # A packed boolean is a one-byte varint of 0 or 1, which is NumPy's own layout.
    np.dtype(np.bool_): "bool_val",
}
_VARINT = {
    **{np.dtype(t): "int_val" for t in (np.int8, np.uint8, np.int16, np.uint16, np.int32)},
    np.dtype(np.int64): "int64_val",
    np.dtype(np.uint32): "uint32_val",
    np.dtype(np.uint64): "uint64_val",
}
_HALF = (np.dtype(np.float16), np.dtype(tf.bfloat16.as_numpy_dtype))
# Types whose field is read directly, in a third of the time of TensorFlow's parser.
_LISTED = {tf.as_dtype(t).as_datatype_enum: (t, _VARINT[np.dtype(t)]) for t in (np.int32, np.int64)}


def to_proto(
    array: np.ndarray, proto: tensor_pb2.TensorProto | None = None
) -> tensor_pb2.TensorProto:
    """An array (numbers, booleans, bytes as objects) with its values in the field of its type.

    Fills `proto`, for instance a request's empty one, where one is given.

    Raises:
      TypeError: TF Serving has no typed field for the type.
    """
    array = np.asarray(array)
    proto = tensor_pb2.TensorProto() if proto is None else proto
    proto.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.SetInParent()  # a scalar has a shape too, an empty one
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype in _FIXED_WIDTH:
        # A packed field of fixed width is, on the wire, the array's own bytes: parsing them is
        # 200 times as fast as extending the field by a list of Python floats.
        field = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[_FIXED_WIDTH[array.dtype]]
        little_endian = array.dtype.newbyteorder("<")
        raw = np.ascontiguousarray(array, little_endian).tobytes()
        if raw:
            proto.MergeFromString(_varint(field.number << 3 | 2) + _varint(len(raw)) + raw)
    elif array.dtype in _VARINT:
        getattr(proto, _VARINT[array.dtype]).extend(array.ravel().tolist())
    elif array.dtype in _HALF:
        proto.half_val.extend(array.ravel().view(np.uint16).tolist())
    elif array.dtype.kind in "OSU":
        proto.string_val.extend(tf.compat.as_bytes(value) for value in array.ravel().tolist())
    else:
        raise TypeError(f"no TensorProto field for {array.dtype}")
    return proto


def to_array(proto: tensor_pb2.TensorProto, max_bytes: int | None = None) -> np.ndarray:
    """The array in a TensorProto, as TensorFlow itself parses it.

    Fewer values than the shape asks for are filled up with the last one, further ones are left
    out, strings may be in `tensor_content`.

    Args:
      proto: from the wire, so anything may be wrong with it.
      max_bytes: refuse a shape that would take more memory than this. A single value stands for a
        whole tensor of its shape, so a few bytes can ask for gigabytes.

    Raises:
      ValueError: type, shape and values do not make a tensor, or it would be too large.
    """
    try:
        dtype = tf.as_dtype(proto.dtype)
        item_bytes = dtype.size or 8  # strings have no size: a pointer
        if dtype in (tf.resource, tf.variant):
            raise ValueError(f"a tensor of type {dtype.name} can't be sent")
    except (TypeError, KeyError):
        raise ValueError(f"type {proto.dtype} is unknown") from None
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError("the shape is not fully known")
    count = math.prod(shape)
    if max_bytes is not None and count * item_bytes > max_bytes:
        raise ValueError(f"shape {shape} would take more than {max_bytes} bytes")
    try:
        if proto.dtype in _LISTED and not proto.tensor_content:
            kind, name = _LISTED[proto.dtype]
            values = getattr(proto, name)
            if len(values) == count:
                return np.array(values, kind).reshape(shape)
        parsed = tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()
        return np.asarray(parsed, dtype.as_numpy_dtype)
    except Exception as error:  # of TensorFlow's parser and of NumPy, for whatever was sent
        message = getattr(error, "message", str(error)).partition("\n")[0]
        # TensorFlow's begin with the name of its operation and device.
        raise ValueError(re.sub(r"^\{\{function_node [^}]*\}\} ", "", message)) from None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
