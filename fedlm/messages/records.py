"""Flower's records: NumPy arrays to and from theirs, copied once or not at all, and the records of a content.

`RecordDict.config_records` and its like leave a cycle behind each time they are read, which holds the whole content, with all arrays,
until Python looks for garbage: nothing here or elsewhere asks them.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.common.constant import SType

_HEADER = 128  # bytes of most headers of NumPy's file format
_LAYOUTS = 256  # kept: a model's arrays have the same in every round, and NumPy parses them as Python's source
Kind = TypeVar("Kind")


class Space(Protocol):
    """Memory that somebody else looks after, for the bytes of an array."""

    @property
    def view(self) -> memoryview:
        """Its bytes."""


Allocate = Callable[[int], Space | None]
"""Gives space for so many bytes; None if there is none."""


class LaidArray(Array):
    """An array whose bytes lie in a space; who asks for `data`, as Flower's own code does, gets a copy.

    It equals no `Array` of its bytes, and is not pickled.

    Attributes:
      space: holds what `data` returns.
    """

    def __init__(self, dtype: str, shape: tuple[int, ...], stype: str, space: Space) -> None:
        self.dtype, self.shape, self.stype, self.space = dtype, shape, stype, space

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The bytes."""
        return bytes(self.space.view)


def as_array(values: npt.NDArray[Any], allocate: Allocate | None = None) -> Array:
    """Returns what Flower's `Array(values)` is, which copies the values twice.

    Args:
      values: of any shape, not of objects.
      allocate: where its bytes shall lie, if there is space.
    """
    contiguous = np.asarray(values, order="C")
    header, told = _header(contiguous.dtype, contiguous.shape), (str(contiguous.dtype), contiguous.shape, SType.NUMPY)
    space = None if allocate is None else allocate(len(header) + contiguous.nbytes)
    if space is None:
        return Array(*told, b"".join((header, contiguous.data)))
    written = np.frombuffer(space.view, np.uint8)
    written[: len(header)] = np.frombuffer(header, np.uint8)
    written[len(header) :] = contiguous.reshape(-1).view(np.uint8)
    return LaidArray(*told, space)


def record_of(arrays: Iterable[npt.NDArray[Any]], allocate: Allocate | None = None) -> ArrayRecord:
    """Returns arrays as a record under the names "0", "1", ...; see `as_array`."""
    record = ArrayRecord()
    for name, values in enumerate(arrays):  # `ArrayRecord({...})` would ask for the bytes
        record[str(name)] = as_array(values, allocate)
    return record


@lru_cache(_LAYOUTS)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(np.broadcast_to(np.empty((), dtype), shape)))
    return file.getvalue()


def arrays_of(record: ArrayRecord) -> list[npt.NDArray[Any]]:
    """Returns the arrays of a record, read-only, in its own memory: Flower's `numpy()` copies them piece by piece.

    Raises:
      ValueError: one is not in NumPy's file format, or of objects.
    """
    try:
        return [_view(array) for array in record.values() if array.stype == SType.NUMPY]
    except Exception:  # noqa: BLE001 - whatever a stranger's bytes do to the parser of the header
        raise ValueError("bytes of the arrays are wrong") from None


def records_in(content: RecordDict, kind: type[Kind]) -> dict[str, Kind]:
    """Returns the records of a kind by name."""
    return {name: record for name, record in content.items() if isinstance(record, kind)}


def _view(array: Array) -> npt.NDArray[Any]:
    content = array.space.view.toreadonly() if isinstance(array, LaidArray) else array.data
    try:
        shape, by_columns, dtype, offset = _known_layout(bytes(content[:_HEADER]))
    except (ValueError, EOFError):  # a longer header
        shape, by_columns, dtype, offset = _layout(bytes(content))
    values = np.frombuffer(content, dtype, offset=offset)  # refuses objects
    return values.reshape(shape, order="F" if by_columns else "C")


def _layout(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Returns shape, whether columns come first, type and where the values begin."""
    file = BytesIO(content)
    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    return *read(file), file.tell()


_known_layout = lru_cache(_LAYOUTS)(_layout)
