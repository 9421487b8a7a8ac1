"""An LSTM layer whose training path on the CPU is one custom gradient (see `fused.py`).

Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), gates in Keras' order i, f, c, o:

  z_t = x_t W + h_(t-1) U + b;  i, f, o = sigmoid(z);  g = tanh(z);  c_t = f c_(t-1) + i g;  h_t = o tanh(c_t)
"""

from typing import Any

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_optimization_barrier

from fedlm.models.fused import FusedLayer, Tensors


@keras.saving.register_keras_serializable(package="fedlm")
class FusedLSTM(FusedLayer, keras.layers.LSTM):
    """`keras.layers.LSTM` with the same weights, names and configuration."""

    plain = keras.layers.LSTM

    def run(self, x: tf.Tensor, weights: Tensors, mask: tf.Tensor | None) -> tf.Tensor:
        """Returns states (batch, steps, units)."""
        kernel, recurrent, bias = weights
        return fused_lstm(x, kernel, recurrent, bias, mask)


def fused_lstm(
    x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Runs an LSTM from zero states.

    Args:
      x: (batch, steps, inputs).
      kernel: (inputs, 4 units). recurrent: (units, 4 units). bias: (4 units,).
      mask: multiplies h_(t-1) where it meets `recurrent`, (batch, units); no gradient flows into it.

    Returns:
      States h (batch, steps, units).
    """

    @tf.custom_gradient
    def run(x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor) -> Any:
        return _run(x, kernel, recurrent, bias, mask)

    return run(x, kernel, recurrent, bias)


def _run(x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, mask: tf.Tensor | None) -> Any:
    """Returns the states and the gradient function."""
    units = recurrent.shape[0]
    batch, steps, inputs = tf.shape(x)[0], tf.shape(x)[1], x.shape[2]
    by_time = tf.transpose(x, (1, 0, 2))  # (steps, batch, inputs)
    projected = tf.reshape(tf.matmul(tf.reshape(by_time, (-1, inputs)), kernel) + bias, (steps, batch, 4 * units))
    zero = tf.zeros((batch, units), x.dtype)

    def forward(state: Tensors, z_x: tf.Tensor) -> Tensors:
        h, c, _ = state
        z = z_x + tf.matmul(h if mask is None else h * mask, recurrent)
        i, f, g, o = tf.split(z, 4, axis=1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        return o * tf.tanh(c), c, tf.concat((i, f, g, o), axis=1)

    h, c, gates = tf.scan(forward, projected, (zero, zero, tf.zeros((batch, 4 * units), x.dtype)))

    def gradient(dh: tf.Tensor) -> Tensors:
        dh_by_time = tf.transpose(dh, (1, 0, 2))
        c_before = tf.concat((zero[None], c[:-1]), axis=0)
        h_before = tf.concat((zero[None], h[:-1]), axis=0)
        h_before = h_before if mask is None else h_before * mask
        transposed = tf.transpose(recurrent)

        def backward(state: Tensors, step: Tensors) -> Tensors:
            dh_next, dc_next, _ = state
            dh_t, c_t, c_last, gates_t = step
            i, f, g, o = tf.split(gates_t, 4, axis=1)
            tanh_c = tf.tanh(c_t)
            dh_t += dh_next
            dc = dc_next + dh_t * o * (1 - tanh_c * tanh_c)
            dz = tf.concat(
                (dc * g * i * (1 - i), dc * c_last * f * (1 - f), dc * i * (1 - g * g), dh_t * tanh_c * o * (1 - o)),
                axis=1,
            )
            dh_last = tf.matmul(dz, transposed)
            return dh_last if mask is None else dh_last * mask, dc * f, dz

        start = (zero, zero, tf.zeros((batch, 4 * units), x.dtype))
        dz = tf.scan(backward, (dh_by_time, c, c_before, gates), start, reverse=True)[2]
        flat = tf.reshape(dz, (-1, 4 * units))
        dx = tf.transpose(tf.reshape(tf.matmul(flat, kernel, transpose_b=True), tf.shape(by_time)), (1, 0, 2))
        d_kernel = tf.matmul(_turned(tf.reshape(by_time, (-1, inputs))), flat)
        d_recurrent = tf.matmul(_turned(tf.reshape(h_before, (-1, units))), flat)
        return dx, d_kernel, d_recurrent, tf.reduce_sum(flat, axis=0)

    return tf.transpose(h, (1, 0, 2)), gradient


def _turned(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the transpose as a matrix of its own: XLA would fold it into the product, which then runs at half the speed."""
    return xla_optimization_barrier([tf.transpose(matrix)])[0]
