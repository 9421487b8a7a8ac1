"""Where a model runs, and how its graphs are compiled for it."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fedlm.layers.kernels.custom_call import unavailable, with_kernels
from fedlm.layers.kernels.machine import machine


def on_cpu() -> bool:
    """Returns whether there is no GPU. On the CPU, graphs go through XLA; on a GPU, Keras uses cuDNN where it can."""
    return not tf.config.list_physical_devices("GPU")


def status() -> str:
    """Returns what this process trains with, for a run's summary: the last bits of its figures depend on it.

    For example "llvm kernels, avx512", "XLA without kernels: TensorFlow 2.22.0 was not tried" or
    "Keras layers, GPU".
    """
    if not on_cpu():
        return "Keras layers, GPU"
    if (reason := unavailable()) or (here := machine()) is None:
        return f"XLA without kernels: {reason}"
    return f"llvm kernels, {here.name}"


def compiled(function: Callable[..., Any], signature: Sequence[Any]) -> Any:
    """Returns a graph of a function, compiled when it is first called: on the CPU by XLA, with our kernels."""

    def traced(*arguments: Any) -> Any:
        with with_kernels():
            return function(*arguments)

    # AutoGraph would write source files into TMPDIR
    plain = {"input_signature": signature, "autograph": False}
    return tf.function(traced, jit_compile=True, **plain) if on_cpu() else tf.function(function, **plain)
