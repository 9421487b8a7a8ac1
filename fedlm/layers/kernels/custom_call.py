"""The kernels as operations of a graph that XLA compiles.

While a graph is traced inside `with_kernels`, `matmul` and the others compile a kernel for the
shapes at hand, register its address with XLA under a name, and put an XlaCustomCallV2 operation
with that name into the graph. XLA's program then calls the address with those of its arrays. On
another processor or with an untried TensorFlow graphs use TensorFlow's own operations instead
(`unavailable` says why).

Kernels have no gradients: a custom gradient calls them, after `serve` has said that they can take
its arrays.
"""

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import tensorflow as tf

from fedlm.layers.kernels.machine import Machine, machine
from fedlm.layers.kernels.product import PARTS, Distance, Product, compile_distance, compile_product
from fedlm.layers.kernels.recurrence import Recurrence, compile_backward, compile_forward
from fedlm.layers.kernels.versions import is_tried

Shape = tuple[int, ...]
_wanted: ContextVar[Machine | None] = ContextVar("_wanted", default=None)


def unavailable() -> str:
    """Returns why this process has no kernels; empty if it has them."""
    if not is_tried(tf.__version__):
        return f"TensorFlow {tf.__version__} was not tried"
    if machine() is None:
        return "this processor has neither AVX-512 nor AVX2 with FMA"
    return "" if registry() is not None else "this build of TensorFlow hides its registry of custom calls"


@contextlib.contextmanager
def with_kernels() -> Iterator[None]:
    """Traces graphs with kernels inside, if there are any; then only XLA on the CPU can run them."""
    token = _wanted.set(None if unavailable() else machine())
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
    """Returns a @ b (rows, columns) of matrices stored as they are or transposed: by a kernel where kernels serve."""
    if not serve(a, b):
        return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    rows, depth = a.shape[::-1] if transpose_a else a.shape
    deep, columns = b.shape[::-1] if transpose_b else b.shape
    if depth != deep:
        raise ValueError(f"Expected a and b of one depth, not {depth} and {deep}.")
    spec = Product(rows, columns, depth, transpose_a, transpose_b)
    return _call(compile_product, spec, ((a, a.shape), (b, b.shape)), [(rows, columns)])[0]


def squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the squares of a - b, () float32, from arrays of one shape."""
    spec = Distance(a.shape.num_elements())
    return tf.reduce_sum(_call(compile_distance, spec, ((a, a.shape), (b, a.shape)), [(PARTS,)])[0])


def forward(projected: tf.Tensor, bias: tf.Tensor, recurrent: tf.Tensor) -> list[tf.Tensor]:
    """Returns gates (steps, batch, 4 units), h, c and tanh(c) (steps, batch, units) of an LSTM; see `recurrence.py`."""
    spec = _recurrence(projected)
    wide, state = (*projected.shape[:2], 4 * spec.units), (spec.steps, spec.batch, spec.units)
    inputs = ((projected, wide), (bias, wide[2:]), (recurrent, (spec.units, wide[2])))
    return _call(compile_forward, spec, inputs, [wide, state, state, state])


def backward(gates: tf.Tensor, c: tf.Tensor, tanh_c: tf.Tensor, dh: tf.Tensor, recurrent: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of `projected`, (steps, batch, 4 units)."""
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
    """Writes a call of a kernel into the graph.

    Args:
      compile_it: returns the kernel's address.
      spec: what it is compiled for.
      inputs: arrays, each with the shape that the kernel assumes.
      outputs: shapes; the scratch array, if the kernel needs one, comes after them and is dropped.

    Raises:
      ValueError: an array has another shape: the kernel would read beyond it.
    """
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops  # not among TensorFlow's public names

    here = _wanted.get()
    if here is None:
        raise ValueError("A kernel can be called only inside with_kernels().")
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
    """Compiles a kernel, registers it with XLA and returns its name.

    The name holds the address: XLA would end the process over one name with two addresses, which
    two threads could otherwise register.
    """
    address, register = compile_it(spec, here), registry()
    if register is None:
        raise ValueError(unavailable())
    name = f"fedlm {compile_it.__name__} {spec} {address:x}"
    register(name, address)
    return name


# xla::CustomCallTargetRegistry::Global() and ::Register(const std::string& name, void* address,
# const std::string& platform)
_GLOBAL = "_ZN3xla24CustomCallTargetRegistry6GlobalEv"
_REGISTER = "_ZN3xla24CustomCallTargetRegistry8RegisterERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPvS8_"


class _String(ctypes.Structure):
    """A std::string of libstdc++ that is only read: address of its characters, their number, a buffer that is not used."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("buffer", ctypes.c_char * 16))

    def __init__(self, text: str) -> None:
        super().__init__(text.encode(), len(text.encode()))


@functools.cache
def registry() -> Callable[[str, int], None] | None:
    """Returns what registers an address under a name, once for each name; None if TensorFlow has no such function."""
    if not is_tried(tf.__version__):
        return None
    try:
        name = str(Path(tf.__file__).parent / "libtensorflow_cc.so.2")
        library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)  # the one that this process runs
        instance, register = library[_GLOBAL], library[_REGISTER]
    except (OSError, AttributeError):
        sys.stderr.write(
            f"TensorFlow {tf.__version__} hides its registry of custom calls here: fedlm trains without its own kernels, "
            "so speed and the last bits of all figures may differ.\n"
        )
        return None
    instance.restype = ctypes.c_void_p
    register.argtypes = (ctypes.c_void_p, ctypes.POINTER(_String), ctypes.c_void_p, ctypes.POINTER(_String))
    register.restype = None
    return lambda name, address: register(instance(), _String(name), address, _String("Host"))
