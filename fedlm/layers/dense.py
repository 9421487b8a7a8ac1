"""A dense layer for logits, whose bias is one more row of the kernel where the vocabulary is long:

  x W + b = [x 1] [W; b],     d[W; b] = [x 1]^T dy,     dx = dy W^T

With a vocabulary of 10,000 words the logits of a batch have 13 MB. Added separately, a bias costs
one more pass over them, and its gradient two; this way both are part of the matrix products.
"""

from typing import Any

import keras
import tensorflow as tf

from fedlm.layers.device import on_cpu
from fedlm.layers.kernels.custom_call import matmul, serve

LONG = 1024  # units; fewer logits stay in the processor's cache, where a pass costs less than one more column


@keras.saving.register_keras_serializable(package="fedlm")
class FusedDense(keras.layers.Dense):
    """`keras.layers.Dense` with the same weights, names and configuration."""

    plain = keras.layers.Dense

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns (..., units) from inputs (..., width)."""
        if not (self.use_bias and self.activation is keras.activations.linear and on_cpu()):
            return super().call(inputs, training=training)
        rows = tf.reshape(tf.cast(inputs, self.compute_dtype), (-1, inputs.shape[-1]))
        weights = [tf.convert_to_tensor(w) for w in (self.kernel, self.bias)]
        if self.units < LONG and not serve(rows, *weights):
            return super().call(inputs, training=training)
        outputs = (fused_dense if self.units >= LONG else dense)(rows, *weights)
        return tf.reshape(outputs, (*tf.unstack(tf.shape(inputs)[:-1]), self.units))

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns Keras' own spec."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), self.compute_dtype)


@tf.custom_gradient
def fused_dense(rows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
    """Returns rows @ kernel + bias, (n, units), from rows (n, inputs), kernel (inputs, units) and bias (units,)."""
    with_ones = tf.concat((rows, tf.ones_like(rows[:, :1])), 1)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        both = matmul(with_ones, upstream, transpose_a=True)
        return matmul(upstream, kernel, transpose_b=True), both[:-1], both[-1]

    return matmul(with_ones, tf.concat((kernel, bias[None]), 0)), gradient


@tf.custom_gradient
def dense(rows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
    """Returns what `fused_dense` does, with the bias added separately; faster for few units."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        by_rows, by_kernel = matmul(upstream, kernel, transpose_b=True), matmul(rows, upstream, transpose_a=True)
        return by_rows, by_kernel, tf.reduce_sum(upstream, 0)

    return matmul(rows, kernel) + bias, gradient
