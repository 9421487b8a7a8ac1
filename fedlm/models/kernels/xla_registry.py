"""XLA's registry of custom calls.

XLA finds a custom call by its name here. TensorFlow has an operation that makes one but no Python name for the registry, so its C++
function is called as it stands in the library, of the versions that were tried (`clients/worker.py` has the same for XLA's switches).
"""

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

TRIED = "2.21."  # a function called in another way would end the process
_GLOBAL = "_ZN3xla24CustomCallTargetRegistry6GlobalEv"
_REGISTER = "_ZN3xla24CustomCallTargetRegistry8RegisterERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPvS8_"


class _String(ctypes.Structure):
    """A std::string of libstdc++ that is only read: where its characters are, how many, and room that is not used."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("room", ctypes.c_char * 16))

    def __init__(self, text: str) -> None:
        super().__init__(text.encode(), len(text.encode()))


@functools.cache
def registry() -> Callable[[str, int], None] | None:
    """Returns what registers the address of a function under a name, once for each name; None if TensorFlow has no such registry."""
    if not tf.__version__.startswith(TRIED):
        return None
    try:
        name = str(Path(tf.__file__).parent / "libtensorflow_cc.so.2")
        library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)  # the one that this process runs
        instance, register = library[_GLOBAL], library[_REGISTER]
    except (OSError, AttributeError):
        return None
    instance.restype = ctypes.c_void_p
    register.argtypes = (ctypes.c_void_p, ctypes.POINTER(_String), ctypes.c_void_p, ctypes.POINTER(_String))
    register.restype = None
    return lambda name, address: register(instance(), _String(name), address, _String("Host"))
