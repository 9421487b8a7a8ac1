"""Arrays between guard pages: a kernel that reads or writes beyond an array ends the process."""

import ctypes
import mmap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_LIBC = ctypes.CDLL(None)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_PAGE = mmap.PAGESIZE


class Guarded:
    """An array of float32 that begins at a guard's end, or ends at the next one's beginning.

    Attributes:
      address: where it begins.
      values: the array.
    """

    def __init__(self, values: npt.NDArray[np.float32], *, at_end: bool) -> None:
        inside = -(-values.nbytes // _PAGE) * _PAGE
        self._size = inside + 2 * _PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._start = _LIBC.mmap(None, self._size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        for guard in (self._start, self._start + _PAGE + inside):
            _LIBC.mprotect(guard, _PAGE, 0)
        self.address = self._start + _PAGE + (inside - values.nbytes if at_end else 0)
        memory = (ctypes.c_float * values.size).from_address(self.address)
        self.values = np.ctypeslib.as_array(memory).reshape(values.shape)
        self.values[...] = values

    def free(self) -> None:
        """Unmaps the memory."""
        _LIBC.munmap(self._start, self._size)


def call(address: int, outputs: Sequence[Guarded], inputs: Sequence[Guarded]) -> None:
    """Calls a kernel as XLA does: several outputs come as a list, one as it is."""
    kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_size_t, ctypes.c_void_p)(address)
    written, read = ((ctypes.c_void_p * len(a))(*(g.address for g in a)) for a in (outputs, inputs))
    kernel(outputs[0].address if len(outputs) == 1 else written, read, None, 0, None)
