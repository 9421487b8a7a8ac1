"""An Elman layer whose training path on the CPU is one custom gradient (see `fused.py`).

Elman, Finding Structure in Time, Cognitive Science 14, 1990:

  h_t = tanh(z_t),   z_t = x_t W + h_(t-1) U + b
  dz_t = (dh_t + dz_(t+1) U^T) (1 - h_t**2)     dh_t: the gradient by h_t from above
"""

from typing import Any

import keras
import tensorflow as tf

from fedlm.layers.fused import FusedLayer, Tensors, fused
from fedlm.layers.kernels.custom_call import matmul


@fused
def fused_rnn(x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, mask: tf.Tensor | None) -> Any:
    """Runs an Elman network from a zero state.

    Args:
      x: (batch, steps, inputs).
      kernel: (inputs, units). recurrent: (units, units). bias: (units,).
      mask: see `fused`.

    Returns:
      States h (batch, steps, units).
    """
    units = recurrent.shape[0]
    batch, steps, inputs = tf.shape(x)[0], tf.shape(x)[1], x.shape[2]
    by_time = tf.transpose(x, (1, 0, 2))  # (steps, batch, inputs)
    projected = tf.reshape(matmul(tf.reshape(by_time, (-1, inputs)), kernel) + bias, (steps, batch, units))
    zero = tf.zeros((batch, units), x.dtype)

    def forward(h: tf.Tensor, z_x: tf.Tensor) -> tf.Tensor:
        return tf.tanh(z_x + tf.matmul(h if mask is None else h * mask, recurrent))

    h = tf.scan(forward, projected, zero)

    def gradient(dh: tf.Tensor) -> Tensors:
        h_before = tf.concat((zero[None], h[:-1]), axis=0)
        h_before = h_before if mask is None else h_before * mask
        transposed = tf.transpose(recurrent)

        def backward(dz_next: tf.Tensor, step: Tensors) -> tf.Tensor:
            dh_t, h_t = step
            through = tf.matmul(dz_next, transposed)
            return (dh_t + (through if mask is None else through * mask)) * (1 - h_t * h_t)

        dz = tf.scan(backward, (tf.transpose(dh, (1, 0, 2)), h), zero, reverse=True)
        flat = tf.reshape(dz, (-1, units))
        dx = tf.transpose(tf.reshape(matmul(flat, kernel, transpose_b=True), tf.shape(by_time)), (1, 0, 2))
        d_kernel = matmul(tf.reshape(by_time, (-1, inputs)), flat, transpose_a=True)
        d_recurrent = matmul(tf.reshape(h_before, (-1, units)), flat, transpose_a=True)
        return dx, d_kernel, d_recurrent, tf.reduce_sum(flat, axis=0)

    return tf.transpose(h, (1, 0, 2)), gradient


@keras.saving.register_keras_serializable(package="fedlm")
class FusedRNN(FusedLayer, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` with the same weights, names and configuration."""

    plain = keras.layers.SimpleRNN
    run = staticmethod(fused_rnn)
