"""The kernels as operations of a graph that XLA compiles; on another processor, or with another TensorFlow, graphs go without.

They have no gradients: a custom gradient calls them, after `serve` has said that they may be.
"""

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import tensorflow as tf

from fedlm.layers.kernels.machine import Machine, machine
from fedlm.layers.kernels.product import PARTS, Distance, Product, compile_distance, compile_product
from fedlm.layers.kernels.recurrence import Recurrence, compile_backward, compile_forward

Shape = tuple[int, ...]
_wanted: ContextVar[Machine | None] = ContextVar("_wanted", default=None)


@contextlib.contextmanager
def with_kernels() -> Iterator[None]:
    """Inside, a graph is traced with kernels, if there are any: only XLA on the CPU can run it then."""
    token = _wanted.set(machine() if registry() is not None else None)
    try:
        yield
    finally:
        _wanted.reset(token)


def serve(*arrays: tf.Tensor) -> bool:
    """Returns whether a graph is being traced with kernels, and they can take these arrays."""
    return (
        _wanted.get() is not None
        and not tf.executing_eagerly()
        and all(a.dtype == tf.float32 and a.shape.is_fully_defined() and a.shape.num_elements() for a in arrays)
    )


def matmul(a: tf.Tensor, b: tf.Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> tf.Tensor:
    """Returns a @ b of matrices, stored as they are or transposed: by a kernel where they serve."""
    if not serve(a, b):
        return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    (rows, depth), (deep, columns) = (s[::-1] if t else s for s, t in ((a.shape, transpose_a), (b.shape, transpose_b)))
    if depth != deep:
        raise ValueError(f"Expected a and b of one depth, not {depth} and {deep}.")
    spec = Product(rows, columns, depth, transpose_a, transpose_b)
    return _call(compile_product, spec, ((a, a.shape), (b, b.shape)), [(rows, columns)])[0]


def squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the sum of squares of a - b, a float32."""
    spec = Distance(a.shape.num_elements())
    return tf.reduce_sum(_call(compile_distance, spec, ((a, a.shape), (b, a.shape)), [(PARTS,)])[0])


def forward(projected: tf.Tensor, bias: tf.Tensor, recurrent: tf.Tensor) -> list[tf.Tensor]:
    """Returns gates, h, c and tanh(c) of an LSTM; see `recurrence.py`."""
    spec = _recurrence(projected)
    wide, state = (*projected.shape[:2], 4 * spec.units), (spec.steps, spec.batch, spec.units)
    inputs = ((projected, wide), (bias, wide[2:]), (recurrent, (spec.units, wide[2])))
    return _call(compile_forward, spec, inputs, [wide, state, state, state])


def backward(gates: tf.Tensor, c: tf.Tensor, tanh_c: tf.Tensor, dh: tf.Tensor, recurrent: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of `projected`."""
    spec = _recurrence(gates)
    wide, state = (*gates.shape[:2], 4 * spec.units), (spec.steps, spec.batch, spec.units)
    inputs = ((gates, wide), (c, state), (tanh_c, state), (dh, state), (recurrent, (spec.units, wide[2])))
    return _call(compile_backward, spec, inputs, [wide])[0]


def _recurrence(gates: tf.Tensor) -> Recurrence:
    steps, batch, width = gates.shape
    return Recurrence(steps, batch, width // 4)


def _call(
    compile_it: Callable[[Any, Machine], int],
    spec: Any,
    inputs: Sequence[tuple[tf.Tensor, Shape]],
    outputs: list[Shape],
) -> list[tf.Tensor]:
    """Writes a call of a kernel.

    Args:
      compile_it: returns the kernel's address.
      spec: what it is compiled for.
      inputs: arrays, and the shapes that the kernel takes them for.
      outputs: shapes; scratch comes after them.

    Raises:
      ValueError: an array has another shape: the kernel would read beside it.
    """
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops  # not of TensorFlow's public names: only where it was tried

    here = _wanted.get()
    assert here is not None
    for array, shape in inputs:
        if tuple(array.shape) != tuple(shape):
            raise ValueError(f"Expected an array {tuple(shape)}, not {tuple(array.shape)}, for {spec}.")
    shapes = [*outputs, (spec.scratch(here),)] if hasattr(spec, "scratch") else outputs
    found = gen_xla_ops.xla_custom_call_v2(
        [array for array, _ in inputs],
        _registered(compile_it, spec, here),
        "",
        False,
        [tf.float32] * len(shapes),
        [tf.TensorShape(s) for s in shapes],
    )
    return list(found[: len(outputs)])


@functools.cache
def _registered(compile_it: Callable[[Any, Machine], int], spec: Any, here: Machine) -> str:
    """Returns the name that XLA finds a kernel by. A name has one address: given another, XLA would end the process."""
    address, register = compile_it(spec, here), registry()
    assert register is not None
    name = f"fedlm {compile_it.__name__} {spec} {address:x}"
    register(name, address)
    return name


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
