"""Protobuf messages as lists of fields: enough to read and write an ONNX file without the package onnx."""

import struct
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Fields = list[tuple[int, int | bytes]]  # (field number, value); a fixed-size number has its negated key instead

_TYPES: dict[int, npt.DTypeLike] = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64}
_CODES = {np.dtype(kind): code for code, kind in _TYPES.items()}


def read(message: int | bytes) -> Fields:
    """Returns a message's fields in order."""
    assert isinstance(message, bytes)
    return list(_fields(message))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        size, at = _varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
        yield (key >> 3 if key & 7 == 2 else -key), message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Returns a number of seven bits per byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def write(fields: Sequence[tuple[int, int | bytes]]) -> bytes:
    """Returns the message of some fields."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _number(number << 3) + _number(value)
        elif number < 0:
            out += _number(-number) + value
        else:
            out += _number(number << 3 | 2) + _number(len(value)) + value
    return bytes(out)


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def float_field(number: int, value: float) -> tuple[int, bytes]:
    """Returns a field with a 32-bit float."""
    return -(number << 3 | 5), struct.pack("<f", value)


def one(fields: Fields, number: int) -> int | bytes:
    """Returns the first value of a field; empty if there is none."""
    return next((v for n, v in fields if n == number), b"")


def text(value: int | bytes) -> str:
    """Returns a field of text."""
    assert isinstance(value, bytes)
    return value.decode()


def tensor(name: str, values: npt.NDArray[np.generic]) -> bytes:
    """Returns an ONNX TensorProto."""
    sizes = [(1, size) for size in values.shape]
    return write([*sizes, (2, _CODES[values.dtype]), (8, name.encode()), (9, values.tobytes())])


def array(fields: Fields) -> npt.NDArray[np.generic]:
    """Returns the values of an ONNX TensorProto: raw bytes, or for a few values packed floats or varints."""
    shape = [v for n, v in fields if n == 1 and isinstance(v, int)]
    kind, raw, small = one(fields, 2), one(fields, 9) or one(fields, 4), one(fields, 5)
    assert isinstance(kind, int) and isinstance(raw, bytes)
    if not raw:
        return np.array(_varints(small), _TYPES[kind]).reshape(shape)
    return np.frombuffer(raw, _TYPES[kind]).reshape(shape)


def _varints(packed: int | bytes) -> list[int]:
    if isinstance(packed, int):
        return [packed]
    values, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(value)
    return values
