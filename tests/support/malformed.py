"""Contents that are not laid out as they should be: by a table over fields, and at random."""

import math
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from hypothesis import strategies as st

MISSING = object()
# What a field of each kind may not be; all of it can be sent, since Flower's records take it.
NO_COUNT = ("1", b"1", [1], True, -1, -1.0, 0.5, math.nan, math.inf, -math.inf)
NO_NUMBER = ("1", b"1", [1.0], True)
NO_TEXT = (1, 1.5, b"x", True, ["x"])
NO_BYTES = (1, 1.5, "x", True, [b"x"])
NO_PSEUDONYMS = (*NO_BYTES, b"1234567", bytes(9))
NO_FLAG = (0, 1, 1.0, "true", b"1", [True])
NO_STRINGS = ("x", b"x", 1, True, [1], [b"x"], [1.5], [True])
NO_VERSION = (0, 1, 99, -1, 1.0, True, "1", b"1", [1], math.nan)

Fields = Mapping[tuple[str, str], tuple[object, ...]]
"""What each field of a content, by its record and its key, may not be."""


def sent(content: RecordDict) -> RecordDict:
    """Returns a content as it arrives at the other side, through Flower's serialization."""
    return recorddict_from_proto(recorddict_to_proto(content))


def copied(content: RecordDict) -> RecordDict:
    """Returns a content whose records can be changed."""
    return RecordDict({name: type(record)(dict(record.items())) for name, record in content.items()})


def fields_of(content: RecordDict) -> set[tuple[str, str]]:
    """Returns the fields of a content that are no arrays."""
    return {(n, k) for n, r in content.items() if not isinstance(r, ArrayRecord) for k in r}


def wrong(content: RecordDict, fields: Fields) -> Iterator[tuple[str, RecordDict]]:
    """Yields what is wrong, and the content with one field or record of it missing or of another type.

    Fields that the table does not name fail the test, so that no new one goes unchecked.
    """
    assert set(fields) == fields_of(content)
    for name in content:
        yield f"no {name}", changed(content, name)
        for other in (ArrayRecord(), ConfigRecord(), MetricRecord()):
            if type(other) is not type(content[name]):
                yield f"{name} is a {type(other).__name__}", changed(content, name, record=other)
    for (name, key), values in fields.items():
        for value in (MISSING, *values):
            said = "missing" if value is MISSING else repr(value)
            try:
                other = changed(content, name, key, value)
            except TypeError:
                continue  # Flower's record takes no such value, so it cannot be sent
            yield f"{key} is {said}", other


def changed(
    content: RecordDict, name: str, key: str = "", value: object = MISSING, *, record: Any = MISSING
) -> RecordDict:
    """Returns a content with another record, without one, or with another value of a field, or without it."""
    other = copied(content)
    if key and value is MISSING:
        del other[name][key]
    elif key:
        other[name][key] = value
    else:
        del other[name]  # first: Flower warns of a record that becomes one of another kind
        if record is not MISSING:
            other[name] = record
    return other


def filed(values: npt.NDArray[Any]) -> Array:
    """Returns any array as Flower sends it, objects and dates included."""
    file = BytesIO()
    np.save(file, values, allow_pickle=True)
    return Array(str(values.dtype), values.shape, "numpy.ndarray", file.getvalue())


def headed(shape: tuple[Any, ...], values: bytes, kind: str = "<f4", *, by_columns: bool = False) -> bytes:
    """Returns values under any header of NumPy's file format."""
    text = repr({"descr": kind, "fortran_order": by_columns, "shape": shape})
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + values


def unreadable_arrays(array: Array) -> list[tuple[str, Array]]:
    """Returns arrays that do not read as one of numbers."""

    def of(data: bytes, stype: str = array.stype) -> Array:
        return Array(array.dtype, array.shape, stype, data)

    return [
        ("cut off", of(array.data[:-3])),
        ("longer", of(array.data + b"\0")),
        ("cut off in its header", of(array.data[:20])),
        ("empty", of(b"")),
        ("no array", of(b"no array")),
        ("of a wrong header", of(b"\x93NUMPY\x01\x00\x05\x00{'a(\x00")),
        ("of a huge shape", of(array.data.replace(b"'shape': (", b"'shape': (99999999999, ", 1))),
        ("of a negative size", of(headed((-1,), bytes(16)))),
        ("of two negative sizes", of(headed((-2, -2), bytes(16)))),
        ("of more values than bytes", of(headed((5,), bytes(16)))),
        ("of fewer values than bytes", of(headed((3,), bytes(16)))),
        ("of a size beyond all memory", of(headed((2**62, 4), b""))),
        ("of a size beyond 64 bits", of(headed((2**70,), bytes(16)))),
        ("of a size that is no number", of(headed(("4",), bytes(16)))),
        ("in Fortran's order, of fewer values than bytes", of(headed((3,), bytes(16), by_columns=True))),
        ("of values of no size", of(headed((4,), b"", "|V0"))),
        ("of one value larger than memory", of(headed((1,), bytes(16), f"|V{2**31 - 1}"))),
        ("of a header nested deep", of(headed((4,), bytes(16), "(" * 9000))),
        ("of objects", filed(np.array([{"a": 1}, None], object))),
        ("of words", filed(np.array(["1", "2"]))),
        ("of complex numbers", filed(np.array([1j, 2]))),
        ("of dates", filed(np.array(["2020-01-01"], "M8[D]"))),
        ("of records", filed(np.zeros(2, [("a", "f4")]))),
    ]


_VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=20),
    st.booleans(),
    st.lists(st.integers(-9, 2**62), max_size=4),
    st.lists(st.floats(), max_size=4),
    st.lists(st.text(max_size=3), max_size=3),
    st.lists(st.binary(max_size=3), max_size=3),
)


@st.composite
def mangled(draw: st.DrawFn, content: RecordDict) -> RecordDict:
    """Draws a content in which some records, fields and bytes of arrays are others."""
    other = copied(content)
    for _ in range(draw(st.integers(1, 4))):
        if not other:
            break
        name = draw(st.sampled_from(sorted(other)))
        _mangle(draw, other, name)
    return other


def _mangle(draw: st.DrawFn, content: RecordDict, name: str) -> None:
    """Changes one record: away, another kind, another field, or an array of other bytes."""
    what = draw(st.sampled_from(["field"] * 6 + ["away", "kind", "new"]))
    record: Any = content[name]
    if what == "away":
        del content[name]
    elif what == "kind":
        del content[name]
        content[name] = draw(st.sampled_from([ArrayRecord, ConfigRecord, MetricRecord]))()
    elif isinstance(record, ArrayRecord):
        key = draw(st.sampled_from([*record, "0", "new"]))
        record[key] = draw(_arrays(record.get(key)))
    else:
        key = draw(st.sampled_from(["new"] if what == "new" or not record else sorted(record)))
        try:
            record[key] = draw(_VALUES)
        except TypeError:
            del content[name]  # no metric, so it cannot be sent


@st.composite
def _arrays(draw: st.DrawFn, array: Array | None) -> Array:
    kinds = ["<f4", "<f8", "<i8", "<u8", ">u8", "<i4", "|u1", "|b1", "<c8", "<U2", "|V3", "<M8[s]", "<f2"]
    if array is None or draw(st.booleans()):
        shape = draw(st.sampled_from([(), (0,), (1,), (2,), (2, 3), (0, 5)]))
        kind = np.dtype(draw(st.sampled_from(kinds)))
        content = draw(st.binary(min_size=64 * kind.itemsize, max_size=64 * kind.itemsize))
        return filed(np.frombuffer(content, kind)[: math.prod(shape)].reshape(shape))
    data, at = bytearray(array.data), draw(st.integers(0, max(len(array.data) - 1, 0)))
    if not data or draw(st.booleans()):
        return Array(array.dtype, array.shape, array.stype, bytes(data[:at]))
    data[at] = draw(st.integers(0, 255))
    stype = draw(st.sampled_from([array.stype, array.stype, "pickle", ""]))
    return Array(array.dtype, array.shape, stype, bytes(data))
