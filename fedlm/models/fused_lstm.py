"""An LSTM layer whose training path on the CPU is one custom gradient (see `fused.py`).

Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), gates in Keras' order i, f, c, o:

  z_t = x_t W + h_(t-1) U + b;  i, f, o = sigmoid(z);  g = tanh(z);  c_t = f c_(t-1) + i g;  h_t = o tanh(c_t)
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from fedlm.models import lstm_loops
from fedlm.models.fused import FusedLayer, Tensors
from fedlm.models.kernels import custom_call
from fedlm.models.kernels.custom_call import matmul, serve


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
    units, inputs = recurrent.shape[0], x.shape[2]
    by_time = tf.transpose(x, (1, 0, 2))
    rows = tf.reshape(by_time, (-1, inputs))  # (steps * batch, inputs)
    shape = by_time.shape if x.shape.is_fully_defined() else tf.shape(by_time)
    projected = tf.reshape(matmul(rows, kernel), (shape[0], shape[1], 4 * units))
    served = mask is None and serve(projected, bias, recurrent)
    forward: Any = custom_call.forward if served else partial(lstm_loops.forward, mask=mask)
    backward: Any = custom_call.backward if served else partial(lstm_loops.backward, mask=mask)
    gates, h, *cells = forward(projected, bias, recurrent)
    h = tf.ensure_shape(h, (projected.shape[0], projected.shape[1], units))  # loops forget the number of steps

    def gradient(dh: tf.Tensor) -> Tensors:
        dz = backward(gates, *cells, tf.transpose(dh, (1, 0, 2)), recurrent)
        flat = tf.reshape(tf.ensure_shape(dz, projected.shape), (-1, 4 * units))
        dx = tf.transpose(tf.reshape(matmul(flat, kernel, transpose_b=True), shape), (1, 0, 2))
        h_before = tf.concat((tf.zeros_like(h[:1]), h[:-1]), axis=0)
        h_before = tf.reshape(h_before if mask is None else h_before * mask, (-1, units))
        d_kernel, d_recurrent = (matmul(left, flat, transpose_a=True) for left in (rows, h_before))
        return dx, d_kernel, d_recurrent, tf.reduce_sum(flat, axis=0)

    return tf.transpose(h, (1, 0, 2)), gradient
