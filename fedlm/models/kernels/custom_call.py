"""The kernels as operations of a graph that XLA compiles.

XLA finds a custom call by name in a registry of functions; TensorFlow has an operation for it but no Python name for the registry, so
its C++ function is called as it stands in the library. Without it, or on another processor, graphs go without kernels.
"""

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from fedlm.models.kernels.distance import PARTS, Distance, compile_distance
from fedlm.models.kernels.machine import Machine, machine
from fedlm.models.kernels.product import Product, compile_product
from fedlm.models.kernels.recurrence import Recurrence, compile_backward, compile_forward

_STRING = "ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_GLOBAL = "_ZN3xla24CustomCallTargetRegistry6GlobalEv"
_REGISTER = f"_ZN3xla24CustomCallTargetRegistry8Register{_STRING}PvS8_"
_wanted: ContextVar[bool] = ContextVar("_wanted", default=False)


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """Inside, a graph that XLA compiles for the processor is written with kernels, if there are any."""
    token = _wanted.set(machine() is not None and _registry() is not None)
    try:
        yield
    finally:
        _wanted.reset(token)


def serve(*arrays: tf.Tensor) -> bool:
    """Returns whether a graph is being written with kernels, and they can take these arrays."""
    return _wanted.get() and all(a.dtype == tf.float32 and a.shape.is_fully_defined() for a in arrays)


def matmul(a: tf.Tensor, b: tf.Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> tf.Tensor:
    """Returns a @ b of matrices, stored as they are or transposed: by a kernel where they serve."""
    if not serve(a, b):
        return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    rows, depth = reversed(a.shape) if transpose_a else a.shape
    spec = Product(rows, b.shape[0 if transpose_b else 1], depth, transpose_a, transpose_b)
    name = _registered(compile_product, spec)
    return _call(name, (a, b), ((spec.rows, spec.columns), (spec.scratch(_machine()),)))[0]


def squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the sum of squares of a - b, a float32."""
    spec = Distance(a.shape.num_elements())
    return tf.reduce_sum(_call(_registered(compile_distance, spec), (a, b), ((PARTS,),))[0])


def forward(projected: tf.Tensor, bias: tf.Tensor, recurrent: tf.Tensor) -> list[tf.Tensor]:
    """Returns gates, h, c and tanh(c) of an LSTM; see `recurrence.py`."""
    spec = _recurrence(projected)
    state, scratch = (spec.steps, spec.batch, spec.units), (spec.scratch(_machine()),)
    inputs, outputs = (projected, bias, recurrent), (projected.shape, state, state, state, scratch)
    return _call(_registered(compile_forward, spec), inputs, outputs)[:-1]


def backward(gates: tf.Tensor, c: tf.Tensor, tanh_c: tf.Tensor, dh: tf.Tensor, recurrent: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of `projected`."""
    spec = _recurrence(gates)
    inputs, outputs = (gates, c, tanh_c, dh, recurrent), (gates.shape, (spec.scratch(_machine()),))
    return _call(_registered(compile_backward, spec), inputs, outputs)[0]


def _recurrence(gates: tf.Tensor) -> Recurrence:
    steps, batch, width = gates.shape
    return Recurrence(steps, batch, width // 4)


def _machine() -> Machine:
    here = machine()
    assert here is not None
    return here


def _call(name: str, inputs: tuple[tf.Tensor, ...], shapes: tuple[Any, ...]) -> list[tf.Tensor]:
    return gen_xla_ops.xla_custom_call_v2(  # type: ignore[no-any-return]
        inputs, name, "", False, [tf.float32] * len(shapes), [tf.TensorShape(s) for s in shapes]
    )


class _String(ctypes.Structure):
    """A std::string of libstdc++ that is only read: where its characters are, how many, and room that long ones do not use."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("room", ctypes.c_char * 16))

    def __init__(self, text: str) -> None:
        super().__init__(text.encode(), len(text.encode()))


@functools.cache
def _registered(compile_it: Callable[[Any, Machine], int], spec: Any) -> str:
    """Returns the name that XLA finds a kernel by; a name can be given only once."""
    name, registry = f"fedlm {compile_it.__name__} {spec}", _registry()
    assert registry is not None
    registry(_String(name), compile_it(spec, _machine()), _String("Host"))
    return name


@functools.cache
def _registry() -> Callable[[_String, int, _String], None] | None:
    """Returns the registry's function, or None if the library has none of that name."""
    library = ctypes.CDLL(str(Path(tf.__file__).parent / "libtensorflow_cc.so.2"))
    try:
        instance, register = library[_GLOBAL], library[_REGISTER]
    except AttributeError:
        return None
    instance.restype = ctypes.c_void_p
    register.argtypes = (ctypes.c_void_p, ctypes.POINTER(_String), ctypes.c_void_p, ctypes.POINTER(_String))
    register.restype = None
    return lambda name, address, platform: register(instance(), name, address, platform)
