"""Reads images and labels from an Examples artifact. Needs no TensorFlow.

Just what a report needs of two small formats: TFRecord files (length, checksum, data, checksum)
and the protocol buffer message tf.train.Example within.
"""

import gzip
import pathlib
import struct
from collections.abc import Iterator

_HEADER, _FOOTER = struct.Struct("<Q4x"), 4
_VARINT, _BYTES = 0, 2  # wire types of protocol buffers
_FIXED_SIZES = {1: 8, 5: 4}


def records(path: pathlib.Path) -> Iterator[bytes]:
    """The records of a gzipped TFRecord file; checksums are not looked at.

    Raises:
      ValueError: the file ends within a record.
    """
    with gzip.open(path) as file:
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise ValueError(f"{path} ends within a record")
            (length,) = _HEADER.unpack(header)
            data = file.read(length)
            if len(data) < length or len(file.read(_FOOTER)) < _FOOTER:
                raise ValueError(f"{path} ends within a record")
            yield data


def features(example: bytes) -> dict[str, list]:
    """The features of a serialised tf.train.Example: bytes and integers by name.

    Lists of floats are left out.

    Raises:
      ValueError: that is no such message.
    """
    found: dict[str, list] = {}
    for message in _fields(example).get(1, ()):  # Example.features
        for entry in _fields(message).get(1, ()):  # Features.feature: a map
            pair = _fields(entry)
            name = pair[1][0].decode()
            feature = _fields(pair[2][0]) if 2 in pair else {}
            if 1 in feature:  # Feature.bytes_list
                found[name] = [v for part in feature[1] for v in _fields(part).get(1, ())]
            elif 3 in feature:  # Feature.int64_list
                found[name] = [
                    number
                    for part in feature[3]
                    for value in _fields(part).get(1, ())
                    for number in (_varints(value) if isinstance(value, bytes) else [value])
                ]
    return found


def some_of_each_class(
    folder: pathlib.Path, per_class: int, num_classes: int, most: int = 5000
) -> dict[int, list[bytes]]:
    """PNG files of the first images of each class.

    Args:
      folder: of a split, with its TFRecord files.
      per_class: images wanted of each class.
      num_classes: how many there are; a class that does not occur has an empty list.
      most: stop looking after so many examples.

    Raises:
      ValueError: a file is not what it should be.
    """
    found: dict[int, list[bytes]] = {label: [] for label in range(num_classes)}
    looked = 0
    for path in sorted(folder.glob("*.gz")):
        for record in records(path):
            looked += 1
            example = features(record)
            if "image" not in example or "label" not in example:
                raise ValueError(f"{path} holds examples without image and label")
            images = found.setdefault(example["label"][0], [])
            if len(images) < per_class:
                images.append(example["image"][0])
            if looked == most or all(len(images) == per_class for images in found.values()):
                return found
    return found


def _fields(message: bytes) -> dict[int, list]:
    """The fields of a message by number: bytes of embedded ones, integers of varints."""
    found: dict[int, list] = {}
    place = 0
    try:
        while place < len(message):
            tag, place = _varint(message, place)
            number, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, place = _varint(message, place)
            elif wire == _BYTES:
                length, place = _varint(message, place)
                value = message[place : place + length]
                if len(value) < length:
                    raise IndexError
                place += length
            else:
                place += _FIXED_SIZES[wire]
                continue
            found.setdefault(number, []).append(value)
    except (IndexError, KeyError):
        raise ValueError("these bytes are no tf.train.Example") from None
    return found


def _varints(packed: bytes) -> list[int]:
    numbers, place = [], 0
    while place < len(packed):
        number, place = _varint(packed, place)
        numbers.append(number)
    return numbers


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The integer at `place` and where the next field begins; negative ones wrap at 64 bits."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value - (1 << 64) if value >> 63 else value), place
        shift += 7
