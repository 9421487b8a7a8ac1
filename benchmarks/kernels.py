"""The parts of an LSTM's step on one thread: our kernels against TensorFlow's own products and loops, interleaved.

    python -m benchmarks.kernels [--units 256] [--batch 10] [--steps 80] [--repeats 40]

Rates are of processor time, the quarter of the repetitions that was fastest; a recurrence counts its products only.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measure import processor, table

Parts = dict[str, tuple[Callable[..., object], list[tuple[int, ...]]]]


def parts(steps: int, batch: int, units: int) -> Parts:
    """Returns what is measured: a function of arrays, and their shapes."""
    import tensorflow as tf

    from fedlm.models.fused_lstm import fused_lstm
    from fedlm.models.kernels.custom_call import matmul

    rows, wide = steps * batch, 4 * units

    def back(x: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            h = fused_lstm(x, *weights)
        return tape.gradient(h, x, h)

    def transposed(**which: bool) -> Callable[..., object]:
        return lambda a, b: matmul(a, b, **which)

    weights = [(1, wide), (units, wide), (wide,)]
    return {
        "input projection": (matmul, [(rows, units), (units, wide)]),
        "gradient of the input": (transposed(transpose_b=True), [(rows, wide), (units, wide)]),
        "gradient of weights": (transposed(transpose_a=True), [(rows, units), (rows, wide)]),
        "recurrence": (fused_lstm, [(batch, steps, 1), *weights]),
        "recurrence and back": (back, [(batch, steps, 1), *weights]),
    }


def seconds(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    """Returns the processor time of each call."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, times in zip(calls, taken, strict=True):
            started = time.process_time()
            call()
            times.append(time.process_time() - started)
    return [float(np.quantile(t[1:], 0.25)) for t in taken]


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("units", 256), ("batch", 10), ("steps", 80), ("repeats", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    from clients.worker import load_tensorflow

    load_tensorflow()
    import tensorflow as tf

    from fedlm.models.device import compiled

    rng, body = np.random.default_rng(0), []
    for name, (function, shapes) in parts(args.steps, args.batch, args.units).items():
        arrays = [tf.constant(rng.normal(size=s) / np.sqrt(s[0]), tf.float32) for s in shapes]
        signature = [tf.TensorSpec(s, tf.float32) for s in shapes]
        graphs = (tf.function(function, signature, jit_compile=True), compiled(function, signature))
        theirs, ours = seconds([lambda g=g, a=arrays: g(*a) for g in graphs], args.repeats)  # type: ignore[misc]
        operations = 8 * args.units**2 * args.batch * args.steps * (2 if name.endswith("back") else 1)
        rates = [operations / t / 1e9 for t in (theirs, ours)]
        body.append((name, f"{rates[0]:.0f}", f"{rates[1]:.0f}", f"{theirs / ours:.2f}"))
    print(table(("part", "TensorFlow, GFLOP/s", "kernels, GFLOP/s", "ratio"), body))
    print(processor())


if __name__ == "__main__":
    main()
