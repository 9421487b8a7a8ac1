"""The kernels: against NumPy in float64, with the same bits whatever a vector's width, and inside their arrays."""

from collections.abc import Callable
from itertools import product as product_of
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.layers import fused_lstm
from fedlm.layers.dense import FusedDense
from fedlm.layers.device import compiled
from fedlm.layers.fused_gru import FusedGRU
from fedlm.layers.fused_lstm import FusedLSTM
from fedlm.layers.fused_rnn import FusedRNN
from fedlm.layers.kernels import custom_call
from fedlm.layers.kernels.custom_call import registry
from fedlm.layers.kernels.machine import NARROW, WIDE, machine
from fedlm.layers.kernels.product import PARTS, Distance, Product, compile_distance, compile_product
from fedlm.layers.kernels.recurrence import Recurrence, compile_backward, compile_forward
from fedlm.layers.kernels.tiles import SMALL
from tests.support.guarded import Guarded, call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(machine() is None, reason="no kernels are written for this processor"),
]
MACHINES = [NARROW, WIDE] if machine() == WIDE else [NARROW]
Array = npt.NDArray[np.float32]


def run(compile_it: Callable[..., int], spec: Any, inputs: list[Array], shapes: list[tuple[int, ...]]) -> list[Array]:
    """Calls a kernel for each machine, with arrays at either end of their pages: the bits are the same."""
    found = []
    for here, at_end in product_of(MACHINES, (False, True)):
        scratch = [(spec.scratch(here),)] if hasattr(spec, "scratch") else []
        outputs = [Guarded(np.full(s, np.nan, np.float32), at_end=at_end) for s in [*shapes, *scratch]]
        given = [Guarded(np.ascontiguousarray(i, np.float32), at_end=at_end) for i in inputs]
        call(compile_it(spec, here), outputs, given)
        for guarded, values in zip(given, inputs, strict=True):
            np.testing.assert_array_equal(guarded.values, values)
        found.append([o.values.copy() for o in outputs[: len(shapes)]])
        for guarded in outputs + given:
            guarded.free()
    for other in found[1:]:
        assert [o.tobytes() for o in other] == [o.tobytes() for o in found[0]]
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
    [(1, 1, 600), (14, 32, 256), (15, 33, 257), (29, 1100, 256), (13, 1025, 511)],
    ids=["deep", "a tile", "one more", "a large block", "two large blocks"],
)
@pytest.mark.parametrize("transposed", [*product_of((False, True), repeat=2)])
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


def test_the_large_blocks_are_large() -> None:
    blocks = [Product(*s) for s in ((29, 1100, 256), (13, 1025, 511))]
    assert all(p.shape(here, p.block).size > SMALL for p in blocks for here in MACHINES)
    assert not Product(15, 33, 257).shape(NARROW, 256).size > SMALL


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (4, 7, 16), (3, 29, 33), (2, 1, 300)])
def test_recurrence_is_that_of_the_loops_in_float64(shape: tuple[int, int, int]) -> None:
    steps, batch, units = shape
    rng = np.random.default_rng(units)
    sizes = ((steps, batch, 4 * units), (4 * units,), (units, 4 * units), shape)
    inputs = [rng.normal(size=s).astype("float32") for s in sizes]
    inputs[2] /= np.sqrt(units)
    found = recurrence(*inputs)
    projected, bias, recurrent, dh = (tf.constant(i, tf.float64) for i in inputs)
    gates, h, c = fused_lstm.forward(projected, bias, recurrent, None)
    dz = fused_lstm.backward(gates, c, dh, recurrent, None)
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


@pytest.mark.parametrize("gate", range(4))
def test_what_is_not_a_number_stays_in_its_sequence(gate: int) -> None:
    """Over steps, and on the way back."""
    rng = np.random.default_rng(gate)
    shapes = ((4, 5, 4 * 6), (4 * 6,), (6, 4 * 6), (4, 5, 6))
    inputs = [rng.normal(size=s).astype("float32") for s in shapes]
    inputs[0][1, 3, gate * 6 + 2] = np.nan
    _, h, *_, dz = recurrence(*inputs)
    others = np.arange(5) != 3
    assert np.isfinite(h[:, others]).all() and np.isfinite(dz[:, others]).all()
    assert np.isfinite(h[0]).all() and np.isnan(h[2:, 3]).all() and np.isnan(dz[0, 3]).any()


def test_functions_of_gates_everywhere() -> None:
    """To a few units in the last place, over all numbers that matter."""
    x = np.linspace(-30, 30, 4 * 9973, dtype=np.float32).reshape(1, -1, 4)
    gates, *_ = recurrence(x, np.zeros(4, "float32"), np.zeros((1, 4), "float32"), x[..., :1])
    wide = x.astype("float64")
    for n in (0, 1, 3):
        np.testing.assert_allclose(gates[..., n], 1 / (1 + np.exp(-wide[..., n])), rtol=1e-6)
    np.testing.assert_allclose(gates[..., 2], np.tanh(wide[..., 2]), rtol=1e-6)


def calls(function: Callable[..., Any], *shapes: tuple[int, ...]) -> int:
    """Returns how many kernels a graph of a function calls when it is compiled for this machine."""
    graph = compiled(function, [tf.TensorSpec(s, tf.float32) for s in shapes]).get_concrete_function().graph
    return sum(op.type == "XlaCustomCallV2" for op in graph.get_operations())


def test_graphs_use_kernels_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = custom_call.matmul
    assert calls(matmul, (3, 4), (4, 5)) == 1
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    with custom_call.with_kernels():
        np.testing.assert_array_equal(matmul(tf.constant(a), tf.constant(b)), a @ b)  # outside a graph: none
    assert calls(lambda x, y: matmul(tf.cast(x, tf.float64), tf.cast(y, tf.float64)), (3, 4), (4, 5)) == 0
    assert calls(matmul, (3, 0), (0, 5)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(custom_call, "registry", lambda: None)  # a TensorFlow that hides the registry
        assert calls(matmul, (3, 4), (4, 5)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(custom_call, "machine", lambda: None)  # another processor
        assert calls(matmul, (3, 4), (4, 5)) == 0
    monkeypatch.setattr(tf, "__version__", "2.99.0")
    assert registry.__wrapped__() is None


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (FusedLSTM(3, return_sequences=True), 6),  # four products, the recurrence there and back
        (FusedLSTM(3, return_sequences=True, recurrent_dropout=0.5), 4),
        (FusedGRU(3, return_sequences=True), 4),
        (FusedRNN(3, return_sequences=True), 4),
        (FusedDense(3), 3),
    ],
)
def test_a_layer_makes_its_large_products_by_kernels(layer: Any, expected: int) -> None:
    layer.build((2, 5, 4))

    def step(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True))
        return tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])

    assert calls(step, (2, 5, 4)) == expected


def test_arrays_that_do_not_fit_are_refused() -> None:
    """A kernel would read beside them."""
    wrong = [
        (custom_call.matmul, (3, 4), (7, 5)),
        (custom_call.squared_distance, (3, 4), (1, 5)),
        (custom_call.forward, (2, 3, 8), (1,), (2, 8)),
        (custom_call.forward, (2, 3, 8), (8,), (3, 8)),
        (custom_call.backward, (2, 3, 8), (2, 3, 2), (2, 3, 2), (2, 3, 3), (2, 8)),
    ]
    for function, *shapes in wrong:
        with pytest.raises(ValueError, match="Expected a"):
            calls(function, *shapes)


def test_two_threads_compile_one_kernel() -> None:
    """Each may be first; XLA would end the process over one name with two addresses."""
    found: list[Any] = []
    a, b = np.ones((7, 11), np.float32), np.ones((11, 13), np.float32)
    signature = [tf.TensorSpec(x.shape, tf.float32) for x in (a, b)]
    threads = [Thread(target=lambda: found.append(compiled(custom_call.matmul, signature)(a, b))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for product_found in found:
        np.testing.assert_array_equal(product_found, a @ b)


def test_the_norm_of_an_update_is_that_without_kernels() -> None:
    rng = np.random.default_rng(5)
    a, b = (rng.normal(size=(17, 9)).astype("float32") for _ in range(2))
    signature = [tf.TensorSpec(a.shape, tf.float32)] * 2
    found = compiled(custom_call.squared_distance, signature)(a, b)
    np.testing.assert_allclose(found, ((a.astype("float64") - b) ** 2).sum(), rtol=1e-6)
