"""An LSTM layer whose training path on the CPU is one custom gradient (see `fused.py`).

Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), gates in Keras' order i, f, c, o:

  z_t = x_t W + h_(t-1) U + b;  i, f, o = sigmoid(z);  g = tanh(z);  c_t = f c_(t-1) + i g;  h_t = o tanh(c_t)

`kernels/recurrence.py` has the equations of the gradient dz_t. From it follow, as products over all
steps:

  dW = X^T dZ;   dU = H^T dZ, where row t of H is h_(t-1);   db = sum of dz_t;   dx_t = dz_t W^T

The recurrence is a kernel where kernels serve; else `forward` and `backward` here, loops of
TensorFlow's.
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from fedlm.layers.fused import FusedLayer, Tensors, fused
from fedlm.layers.kernels import custom_call
from fedlm.layers.kernels.custom_call import matmul, serve


@fused
def fused_lstm(x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, mask: tf.Tensor | None) -> Any:
    """Runs an LSTM from zero states.

    Args:
      x: (batch, steps, inputs).
      kernel: (inputs, 4 units). recurrent: (units, 4 units). bias: (4 units,).
      mask: see `fused`.

    Returns:
      States h (batch, steps, units).
    """
    units, inputs = recurrent.shape[0], x.shape[2]
    by_time = tf.transpose(x, (1, 0, 2))
    rows = tf.reshape(by_time, (-1, inputs))  # (steps * batch, inputs)
    shape = by_time.shape if x.shape.is_fully_defined() else tf.shape(by_time)
    projected = tf.reshape(matmul(rows, kernel), (shape[0], shape[1], 4 * units))
    served = mask is None and serve(projected, bias, recurrent)  # kernels know no recurrent dropout
    ahead: Any = custom_call.forward if served else partial(forward, mask=mask)
    back: Any = custom_call.backward if served else partial(backward, mask=mask)
    gates, h, *cells = ahead(projected, bias, recurrent)
    h = tf.ensure_shape(h, (projected.shape[0], projected.shape[1], units))  # loops forget the number of steps

    def gradient(dh: tf.Tensor) -> Tensors:
        dz = back(gates, *cells, tf.transpose(dh, (1, 0, 2)), recurrent)
        flat = tf.reshape(tf.ensure_shape(dz, projected.shape), (-1, 4 * units))
        dx = tf.transpose(tf.reshape(matmul(flat, kernel, transpose_b=True), shape), (1, 0, 2))
        h_before = tf.concat((tf.zeros_like(h[:1]), h[:-1]), axis=0)
        h_before = tf.reshape(h_before if mask is None else h_before * mask, (-1, units))
        d_kernel, d_recurrent = (matmul(left, flat, transpose_a=True) for left in (rows, h_before))
        return dx, d_kernel, d_recurrent, tf.reduce_sum(flat, axis=0)

    return tf.transpose(h, (1, 0, 2)), gradient


@keras.saving.register_keras_serializable(package="fedlm")
class FusedLSTM(FusedLayer, keras.layers.LSTM):
    """`keras.layers.LSTM` with the same weights, names and configuration."""

    plain = keras.layers.LSTM
    run = staticmethod(fused_lstm)


def forward(
    projected: tf.Tensor, bias: tf.Tensor, recurrent: tf.Tensor, mask: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Runs all steps.

    Args:
      projected: x_t W, (steps, batch, 4 units).
      bias: (4 units,). recurrent: (units, 4 units).
      mask: multiplies h_(t-1) where it meets `recurrent`, (batch, units).

    Returns:
      Gates (steps, batch, 4 units), h and c (steps, batch, units).

    One array holds a step's projection, then its gates, then their gradient: each replaces the one
    before it. Three arrays of this size would push each other out of the processor's cache.
    """
    units = recurrent.shape[0]
    steps, batch = tf.shape(projected)[0], tf.shape(projected)[1]
    zero = tf.zeros((batch, units), projected.dtype)
    # sigmoid(z) = tanh(z / 2) / 2 + 1 / 2: one function for all gates, which XLA then computes in
    # place.
    scale = tf.repeat(tf.constant((0.5, 0.5, 1, 0.5), projected.dtype), units)
    shift = tf.repeat(tf.constant((0.5, 0.5, 0, 0.5), projected.dtype), units)

    def step(t: tf.Tensor, h: tf.Tensor, c: tf.Tensor, *kept: tf.TensorArray) -> Any:
        z_all, h_all, c_all = kept
        z = z_all.read(t) + bias + tf.matmul(h if mask is None else h * mask, recurrent)
        z_all = z_all.write(t, tf.tanh(z * scale) * scale + shift)
        i, f, g, o = tf.split(z_all.read(t), 4, axis=1)
        c = f * c + i * g
        h = o * tf.tanh(c)
        return t + 1, h, c, z_all, h_all.write(t, h), c_all.write(t, c)

    empty = (_array(tf.zeros((steps, batch, units), projected.dtype)) for _ in range(2))
    ended = _loop(lambda t, *_: t < steps, step, (tf.constant(0), zero, zero, _array(projected), *empty))
    gates, h, c = (kept.stack() for kept in ended[3:])
    return gates, h, c


def backward(gates: tf.Tensor, c: tf.Tensor, dh: tf.Tensor, recurrent: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Returns the gradient of `projected` from that of h, `dh` (steps, batch, units)."""
    transposed, steps = tf.transpose(recurrent), tf.shape(gates)[0]
    zero = tf.zeros_like(c[0])

    def step(t: tf.Tensor, dz: tf.Tensor, dh_next: tf.Tensor, dc_next: tf.Tensor, kept: tf.TensorArray) -> Any:
        # dz of step t + 1 is written here, not at its own end: XLA copies an array that is written
        # while a value of it is still needed.
        kept = kept.write(tf.minimum(t + 1, steps - 1), dz)
        here = tf.maximum(t, 0)
        i, f, g, o = tf.split(kept.read(here), 4, axis=1)
        tanh_c = tf.tanh(c[here])
        dh_t = dh[here] + dh_next
        dc = dc_next + dh_t * o * (1 - tanh_c * tanh_c)
        c_last = tf.where(here > 0, c[tf.maximum(t - 1, 0)], 0)
        dz = tf.concat(
            (dc * g * i * (1 - i), dc * c_last * f * (1 - f), dc * i * (1 - g * g), dh_t * tanh_c * o * (1 - o)),
            axis=1,
        )
        dh_last = tf.matmul(dz, transposed)
        return t - 1, dz, dh_last if mask is None else dh_last * mask, dc * f, kept

    start = (steps - 1, gates[-1], zero, zero, _array(gates))
    return _loop(lambda t, *_: t >= -1, step, start)[4].stack()


def _array(values: tf.Tensor) -> tf.TensorArray:
    array = tf.TensorArray(values.dtype, tf.shape(values)[0], clear_after_read=False, element_shape=values.shape[1:])
    return array.unstack(values)


def _loop(condition: Any, body: Any, start: Any) -> Any:
    return tf.while_loop(condition, body, start, parallel_iterations=1)
