"""Low-rank adapters beside frozen kernels: W + alpha / rank * A B (Hu et al. 2022, https://arxiv.org/abs/2106.09685).

A kernel of several axes, as attention has them, is taken as the matrix W (inputs, outputs) from all
its inputs to all its outputs; A is (inputs, rank), B (rank, outputs). (Keras' own `enable_lora`
adapts the last axis only: for GPT-2's attention that is six times the weights for a narrower class
of updates.) B starts at zero, so that an untrained adapter is the frozen model, bit for bit.
"""

import math
import zlib
from collections.abc import Sequence

import keras
import tensorflow as tf

TARGETS = (
    "query",
    "key",
    "value",
    "attention_output",
    "feedforward_intermediate_dense",
    "feedforward_output_dense",
)
"""Layers of a block whose kernels can be adapted, as KerasHub names them."""


def check_targets(targets: str) -> list[str]:
    """Returns the names of layers in a string, separated by blanks; ValueError for an unknown name, or for none."""
    names = targets.split()
    wrong = [name for name in names if name not in TARGETS]
    if wrong or not names:
        raise ValueError(f"Expected {targets=} to name some of: {' '.join(TARGETS)}.")
    return names


def target_kernels(variables: Sequence[keras.Variable], targets: Sequence[str]) -> list[keras.Variable]:
    """Returns the kernels of the named layers, in Keras order."""
    return [v for v in variables if v.path.endswith(tuple(f"/{name}/kernel" for name in targets))]


class Adapter(keras.layers.Layer):
    """The adapter of one kernel; called with nothing, it returns the kernel with its adapter.

    Args:
      kernel: the frozen kernel, which does not change.
      rank: columns of A, rows of B.
      alpha: scale, divided by the rank.
      train_a: False keeps A, drawn the same for every run, and trains B only (FFA-LoRA, Sun et al.
        2024, https://arxiv.org/abs/2403.12313): then the mean of adapters is the adapter of the
        mean, and noise is not squared.
    """

    def __init__(self, kernel: keras.Variable, rank: int, alpha: float, *, train_a: bool = True) -> None:
        super().__init__(name=kernel.path.replace("/", "_"))
        self._kernel, self._scale = kernel, alpha / rank
        outputs = kernel.shape[-1:] if "/attention_output/" in kernel.path else kernel.shape[1:]
        columns = math.prod(outputs)
        rows = math.prod(kernel.shape) // columns
        # on the scale of PyTorch's linear layers, as in the paper's code: uniform within 1 / sqrt(rows)
        seed = None if train_a else zlib.crc32(kernel.path.encode())
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
        self.a = self.add_weight(shape=(rows, rank), initializer=start, name="a_kernel", trainable=train_a)
        self.b = self.add_weight(shape=(rank, columns), initializer="zeros", name="b_kernel")
        self.built = True

    @property
    def kernel(self) -> keras.Variable:
        """The frozen kernel."""
        return self._kernel

    def merged(self) -> tf.Tensor:
        """Returns the kernel with its adapter."""
        product = tf.matmul(tf.convert_to_tensor(self.a), tf.convert_to_tensor(self.b))
        return tf.convert_to_tensor(self._kernel) + self._scale * tf.reshape(product, self._kernel.shape)
