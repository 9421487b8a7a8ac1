"""Where a model runs, and how its graphs are compiled for it."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fedlm.layers.kernels.custom_call import with_kernels


def on_cpu() -> bool:
    """Returns whether there is no GPU: then graphs go through XLA, which would keep Keras from its cuDNN path there."""
    return not tf.config.list_physical_devices("GPU")


def compiled(function: Callable[..., Any], signature: Sequence[Any]) -> Any:
    """Returns a graph of a function, compiled when it is first called: on the CPU by XLA, with our kernels."""

    def traced(*arguments: Any) -> Any:
        with with_kernels():
            return function(*arguments)

    # AutoGraph would write source files into TMPDIR
    plain = {"input_signature": signature, "autograph": False}
    return tf.function(traced, jit_compile=True, **plain) if on_cpu() else tf.function(function, **plain)
