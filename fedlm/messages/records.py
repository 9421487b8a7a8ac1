"""NumPy arrays to and from Flower's records, copied at most once, and the records of a message's content.

Never use `RecordDict.array_records`, `config_records` or `metric_records`. Each read of them creates a reference cycle that
keeps the whole content, arrays included, until the garbage collector runs. Use `records_in` instead.
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

from fedlm.spec import SYNTAX_TREES

_HEADER = 128  # bytes; nearly all headers of NumPy's file format have this length
_LAYOUTS = 256  # cached: a model's arrays have the same headers in every round, and parsing one is slow
Kind = TypeVar("Kind")


class MemoryBlock(Protocol):
    """Memory for the bytes of one array, owned by another object."""

    @property
    def view(self) -> memoryview:
        """Its bytes."""


Allocator = Callable[[int], MemoryBlock | None]
"""Returns a block of the given number of bytes; None if none is available."""


class SharedArray(Array):
    """An array whose bytes stay in a block of memory, shared memory for example.

    Reading `data`, as Flower's own code does, copies the bytes. A shared array does not compare
    equal to an `Array` of the same bytes, and it cannot be pickled.

    Attributes:
      block: holds the bytes that `data` returns.
    """

    def __init__(self, dtype: str, shape: tuple[int, ...], stype: str, block: MemoryBlock) -> None:
        self.dtype, self.shape, self.stype, self.block = dtype, shape, stype, block

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The bytes."""
        return bytes(self.block.view)


def as_array(values: npt.NDArray[Any], allocate: Allocator | None = None) -> Array:
    """Returns the same as Flower's `Array(values)`, which would copy the values twice.

    Args:
      values: any shape, any dtype but object.
      allocate: returns the memory to write to; without it, or if it returns None, the array owns its bytes.
    """
    contiguous = np.asarray(values, order="C")
    header, layout = _header(contiguous.dtype, contiguous.shape), (str(contiguous.dtype), contiguous.shape, SType.NUMPY)
    block = None if allocate is None else allocate(len(header) + contiguous.nbytes)
    if block is None:
        return Array(*layout, b"".join((header, contiguous.data)))
    written = np.frombuffer(block.view, np.uint8)  # (header + values,) bytes, written in place
    written[: len(header)] = np.frombuffer(header, np.uint8)
    written[len(header) :] = contiguous.reshape(-1).view(np.uint8)
    return SharedArray(*layout, block)


def record_of(arrays: Iterable[npt.NDArray[Any]], allocate: Allocator | None = None) -> ArrayRecord:
    """Returns arrays as a record under the names "0", "1", ...; see `as_array`."""
    record = ArrayRecord()
    for name, values in enumerate(arrays):  # `ArrayRecord({...})` would read `data`, a copy
        record[str(name)] = as_array(values, allocate)
    return record


@lru_cache(_LAYOUTS)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(np.broadcast_to(np.empty((), dtype), shape)))
    return file.getvalue()


def arrays_of(record: ArrayRecord) -> list[npt.NDArray[Any]]:
    """Returns the arrays of a record, read-only and without a copy: Flower's `numpy()` copies each array.

    Raises:
      ValueError: an array is not in NumPy's file format, or its dtype is object.
    """
    try:
        return [_view(array) for array in record.values() if array.stype == SType.NUMPY]
    except Exception:  # noqa: BLE001 - the header comes from a remote party, and its parser may raise anything
        raise ValueError("the bytes of the arrays are malformed") from None


def records_in(content: RecordDict, kind: type[Kind]) -> dict[str, Kind]:
    """Returns the records of a kind by name."""
    return {name: record for name, record in content.items() if isinstance(record, kind)}


def _view(array: Array) -> npt.NDArray[Any]:
    content = array.block.view.toreadonly() if isinstance(array, SharedArray) else array.data
    try:
        shape, by_columns, dtype, offset = _known_layout(bytes(content[:_HEADER]))
    except (ValueError, EOFError):  # the header is longer than usual
        shape, by_columns, dtype, offset = _layout(bytes(content))
    values = np.frombuffer(content, dtype, offset=offset)  # raises for dtype object
    return values.reshape(shape, order="F" if by_columns else "C")


def _layout(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Returns the shape, whether the order is Fortran's, the dtype, and the offset of the values in bytes."""
    file = BytesIO(content)
    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    with SYNTAX_TREES:  # NumPy reads the header as a Python literal
        shape, by_columns, dtype = read(file)
    if any(size < 0 for size in shape):  # `reshape` would choose a size
        raise ValueError("an array has a negative size")
    return shape, by_columns, dtype, file.tell()


_known_layout = lru_cache(_LAYOUTS)(_layout)
