"""The kernels as operations of a graph that XLA compiles; on another processor, or with another TensorFlow, graphs go without."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from fedlm.models.kernels.distance import PARTS, Distance, compile_distance
from fedlm.models.kernels.machine import Machine, machine
from fedlm.models.kernels.product import Product, compile_product
from fedlm.models.kernels.recurrence import Recurrence, compile_backward, compile_forward
from fedlm.models.kernels.xla_registry import registry

_wanted: ContextVar[bool] = ContextVar("_wanted", default=False)


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """Inside, a graph that XLA compiles for the processor is written with kernels, if there are any."""
    token = _wanted.set(machine() is not None and registry() is not None)
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


@functools.cache
def _registered(compile_it: Callable[[Any, Machine], int], spec: Any) -> str:
    """Returns the name that XLA finds a kernel by; a name can be given only once."""
    name, register = f"fedlm {compile_it.__name__} {spec}", registry()
    assert register is not None
    register(name, compile_it(spec, _machine()))
    return name
