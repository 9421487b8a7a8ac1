"""The kernels: against NumPy in float64, with the same bits whatever a vector's width, and inside their arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.models import lstm_loops
from fedlm.models.device import compiled
from fedlm.models.kernels import custom_call
from fedlm.models.kernels.distance import PARTS, Distance, compile_distance
from fedlm.models.kernels.machine import NARROW, WIDE, called, machine
from fedlm.models.kernels.product import Product, compile_product
from fedlm.models.kernels.recurrence import Recurrence, compile_backward, compile_forward

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(machine() is None, reason="no kernels are written for this processor"),
]
MACHINES = [NARROW, WIDE] if machine() == WIDE else [NARROW]
GUARD = 97
Array = npt.NDArray[np.float32]


def run(compile_it: Callable[..., int], spec: Any, inputs: list[Array], shapes: list[tuple[int, ...]]) -> list[Array]:
    """Calls a kernel for each machine: the bits are the same, and nothing beside the outputs is written."""
    found = []
    for here in MACHINES:
        sizes = [*map(np.prod, shapes), *([spec.scratch(here)] if hasattr(spec, "scratch") else [])]
        outputs = [np.full(int(size) + 2 * GUARD, 7, np.float32) for size in sizes]
        held = [np.ascontiguousarray(i, np.float32) for i in inputs]
        called(
            compile_it(spec, here),
            [o.ctypes.data + 4 * GUARD for o in outputs],
            [i.ctypes.data for i in held],
        )
        for output in outputs:
            assert (output[:GUARD] == 7).all() and (output[-GUARD:] == 7).all()
        found.append([o[GUARD:-GUARD].reshape(s) for o, s in zip(outputs, shapes, strict=False)])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    return found[0]


def product(a: Array, b: Array, *, a_transposed: bool = False, b_transposed: bool = False) -> Array:
    spec = Product(len(a), b.shape[1], len(b), a_transposed, b_transposed)
    inputs = [a.T if a_transposed else a, b.T if b_transposed else b]
    return run(compile_product, spec, inputs, [(len(a), b.shape[1])])[0]


@settings(max_examples=25, deadline=None)
@given(*[st.integers(1, 40)] * 3, st.booleans(), st.booleans(), st.integers(0, 9))
def test_products_of_whole_numbers_are_exact(rows: int, columns: int, depth: int, a: bool, b: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-9, 10, (rows, depth)), rng.integers(-9, 10, (depth, columns))
    found = product(left.astype("float32"), right.astype("float32"), a_transposed=a, b_transposed=b)
    np.testing.assert_array_equal(found, left @ right)


@pytest.mark.parametrize(
    ("rows", "columns", "depth"),
    [(1, 1, 600), (14, 32, 256), (15, 33, 257), (29, 1100, 256), (3, 1100, 513)],
    ids=["deep", "a tile", "one more", "a wide b", "a wide and deep b"],
)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
def test_products_of_any_numbers(rows: int, columns: int, depth: int, transposed: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(depth)
    a, b = (rng.normal(size=s).astype("float32") for s in ((rows, depth), (depth, columns)))
    found = product(a, b, a_transposed=transposed[0], b_transposed=transposed[1])
    np.testing.assert_allclose(found, a.astype("float64") @ b, atol=1e-6 * depth)


def test_a_sum_goes_over_the_depth_in_order() -> None:
    """1 + 2**-24 is 1 in float32: after 1, all the small terms are lost, and before it they count."""
    depth = 500
    small = np.full((1, depth), 2.0**-24, np.float32)
    first, last = small.copy(), small.copy()
    first[0, 0] = last[0, -1] = 1
    ones = np.ones((depth, 1), np.float32)
    assert product(first, ones)[0, 0] == 1
    assert product(last, ones)[0, 0] == np.float32(1 + (depth - 1) * 2.0**-24)


def test_what_is_not_a_number_stays_in_its_row_and_column() -> None:
    a, b = np.ones((20, 8), np.float32), np.ones((8, 50), np.float32)
    a[3, 2], b[5, 40] = np.nan, np.inf
    found = product(a, b)
    odd = ~np.isfinite(found)
    assert odd[3].all() and odd[:, 40].all() and odd.sum() == 50 + 20 - 1


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
def test_distance_of_whole_numbers_is_exact(size: int) -> None:
    rng = np.random.default_rng(size)
    a, b = rng.integers(-20, 20, (2, size))
    sums = run(compile_distance, Distance(size), [a, b], [(PARTS,)])[0]
    assert sums.sum() == ((a - b) ** 2).sum()


def recurrence(projected: Array, bias: Array, recurrent: Array, dh: Array) -> tuple[Array, Array, Array, Array, Array]:
    steps, batch, units = dh.shape
    spec, state = Recurrence(steps, batch, units), dh.shape
    shapes = [projected.shape, state, state, state]
    gates, h, c, tanh_c = run(compile_forward, spec, [projected, bias, recurrent], shapes)
    dz = run(compile_backward, spec, [gates, c, tanh_c, dh, recurrent], [projected.shape])[0]
    return gates, h, c, tanh_c, dz


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (4, 7, 16), (3, 29, 33), (2, 1, 300)])
def test_recurrence_is_that_of_the_loops_in_float64(shape: tuple[int, int, int]) -> None:
    steps, batch, units = shape
    rng = np.random.default_rng(units)
    sizes = ((steps, batch, 4 * units), (4 * units,), (units, 4 * units), shape)
    inputs = [rng.normal(size=s).astype("float32") for s in sizes]
    inputs[2] /= np.sqrt(units)
    found = recurrence(*inputs)
    projected, bias, recurrent, dh = (tf.constant(i, tf.float64) for i in inputs)
    gates, h, c = lstm_loops.forward(projected, bias, recurrent, None)
    dz = lstm_loops.backward(gates, c, dh, recurrent, None)
    for ours, expected in zip(found, (gates, h, c, tf.tanh(c), dz), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_gates_of_huge_numbers_and_of_none() -> None:
    """Gates end at 0, 1 and -1; small numbers keep their digits; what is not a number stays one, in its row."""
    rows = np.array([1e30, -1e30, np.inf, -np.inf, 0, 1e-6, -88, np.nan], np.float32)
    projected = np.repeat(rows[None, :, None], 4, axis=2)  # one step, one unit
    gates, h, c, *_ = recurrence(
        projected, np.zeros(4, "float32"), np.zeros((1, 4), "float32"), np.zeros((1, 8, 1), "float32")
    )
    wide = rows.astype("float64")
    with np.errstate(over="ignore"):
        sigmoid, tanh = 1 / (1 + np.exp(-wide)), np.tanh(wide)
    np.testing.assert_allclose(gates[0, :, 0], sigmoid, rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(gates[0, :, 2], tanh, rtol=1e-6)
    np.testing.assert_allclose(c[0, :, 0], sigmoid * tanh, rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(h[0, :, 0], sigmoid * np.tanh(sigmoid * tanh), rtol=1e-6, atol=1e-37)


def test_functions_of_gates_everywhere() -> None:
    """To a few units in the last place, over all numbers that matter."""
    x = np.linspace(-30, 30, 4 * 9973, dtype=np.float32).reshape(1, -1, 4)
    gates, *_ = recurrence(x, np.zeros(4, "float32"), np.zeros((1, 4), "float32"), x[..., :1])
    wide = x.astype("float64")
    for n in (0, 1, 3):
        np.testing.assert_allclose(gates[..., n], 1 / (1 + np.exp(-wide[..., n])), rtol=1e-6)
    np.testing.assert_allclose(gates[..., 2], np.tanh(wide[..., 2]), rtol=1e-6)


def uses_kernels() -> bool:
    """Returns whether a graph that is compiled for this machine calls kernels."""
    signature = [tf.TensorSpec((3, 4), tf.float32), tf.TensorSpec((4, 5), tf.float32)]
    graph = compiled(custom_call.matmul, signature).get_concrete_function().graph
    return any(op.type == "XlaCustomCallV2" for op in graph.get_operations())


def test_graphs_use_kernels_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uses_kernels()
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    with custom_call.kernels():
        assert not custom_call.serve(tf.constant(a, tf.float64))
    np.testing.assert_array_equal(custom_call.matmul(tf.constant(a), tf.constant(b)), a @ b)  # outside a graph: none
    monkeypatch.setattr(custom_call, "registry", lambda: None)  # a TensorFlow that hides the registry
    assert not uses_kernels()
    monkeypatch.undo()
    monkeypatch.setattr(custom_call, "machine", lambda: None)  # another processor
    assert not uses_kernels()
