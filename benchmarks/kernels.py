"""The parts of an LSTM's step on one thread: our kernels against TensorFlow's own products and loops, interleaved.

    python -m benchmarks.kernels [--units 256] [--batch 10] [--steps 80] [--repeats 10]

Rates are per second of processor time, the first quartile of the repetitions; of a recurrence only
the products count. Each part runs eight times in one graph, so that memory is reused as in
training. The maximum of each result, which keeps XLA from dropping it, is part of the time. XLA may
transpose a matrix once for all eight runs; the kernels do so each time.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.measure import processor, table

TIMES = 8
Parts = dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]]


def parts(steps: int, batch: int, units: int) -> Parts:
    """Returns what is measured: a function of arrays, and their shapes."""
    import tensorflow as tf

    from fedlm.layers.fused_lstm import fused_lstm
    from fedlm.layers.kernels.custom_call import matmul

    rows, wide = steps * batch, 4 * units

    def back(x: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(weights[1])
            h = fused_lstm(x, *weights)
        return tape.gradient(h, weights[1], h)

    def transposed(**which: bool) -> Callable[..., Any]:
        return lambda a, b: matmul(a, b, **which)

    weights = [(1, wide), (units, wide), (wide,)]
    return {
        "input projection": (matmul, [(rows, units), (units, wide)]),
        "gradient of the input": (transposed(transpose_b=True), [(rows, wide), (units, wide)]),
        "gradient of weights": (transposed(transpose_a=True), [(rows, units), (rows, wide)]),
        "recurrence": (fused_lstm, [(batch, steps, 1), *weights]),
        "recurrence, back, and gradient": (back, [(batch, steps, 1), *weights]),
    }


def repeated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what calls a function TIMES times, each with an input that the last result has changed, so that no call can be left out."""
    import tensorflow as tf

    def graph(first: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
        place = [[0] * len(first.shape)]

        def turn(n: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return n + 1, tf.tensor_scatter_nd_update(x, place, tf.reduce_max(function(x, *others))[None])

        return tf.while_loop(lambda n, _: n < TIMES, turn, (0, first))[1]

    return graph


def seconds(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    """Returns the processor time of each call."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, times in zip(calls, taken, strict=True):
            started = time.process_time()
            call()
            times.append(time.process_time() - started)
    return [float(np.quantile(t[1:], 0.25)) for t in taken]


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("units", 256), ("batch", 10), ("steps", 80), ("repeats", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    from fedlm.training.tensorflow import load_tensorflow

    load_tensorflow()
    import tensorflow as tf

    from fedlm.layers.device import compiled

    tf.get_logger().setLevel("ERROR")  # it takes the parts for one function that is traced again
    rng, body = np.random.default_rng(0), []
    for name, (function, shapes) in parts(args.steps, args.batch, args.units).items():
        arrays = [tf.constant(rng.normal(size=s) / np.sqrt(s[0]), tf.float32) for s in shapes]
        signature = [tf.TensorSpec(s, tf.float32) for s in shapes]
        again = repeated(function)
        graphs = (tf.function(again, signature, jit_compile=True), compiled(again, signature))
        theirs, ours = seconds([partial(graph, *arrays) for graph in graphs], args.repeats)
        operations = 8 * args.units**2 * args.batch * args.steps * (3 if name.endswith("gradient") else 1)
        rates = [TIMES * operations / t / 1e9 for t in (theirs, ours)]
        body.append((name, f"{rates[0]:.0f}", f"{rates[1]:.0f}", f"{theirs / ours:.2f}"))
    print(table(("part", "TensorFlow, GFLOP/s", "kernels, GFLOP/s", "ratio"), body))
    print(processor())


if __name__ == "__main__":
    main()
