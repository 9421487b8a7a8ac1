"""A GRU layer whose training path on the CPU is one custom gradient (see `fused.py`).

Cho et al. 2014, https://arxiv.org/abs/1406.1078, in the variant that resets after the product;
gates in Keras' order z, r, h:

  a_t = x_t W + b;  q_t = h_(t-1) U + d
  z = sigmoid(a_z + q_z);  r = sigmoid(a_r + q_r);  g = tanh(a_h + r q_h);  h_t = z h_(t-1) + (1 - z) g

Backward, with dh the gradient by h_t from above and from step t + 1:

  da_h = dh (1 - z) (1 - g**2);   da_r = da_h q_h r (1 - r);   da_z = dh (h_(t-1) - g) z (1 - z)
  dq   = (da_z, da_r, da_h r);    dh to step t - 1 = dh z + dq U^T
"""

from typing import Any

import keras
import tensorflow as tf

from fedlm.layers.fused import FusedLayer, Tensors, fused
from fedlm.layers.kernels.custom_call import matmul


@fused
def fused_gru(x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, mask: tf.Tensor | None) -> Any:
    """Runs a GRU from a zero state.

    Args:
      x: (batch, steps, inputs).
      kernel: (inputs, 3 units). recurrent: (units, 3 units). bias: (2, 3 units), b and d of the
        equations.
      mask: see `fused`.

    Returns:
      States h (batch, steps, units).
    """
    units = recurrent.shape[0]
    batch, steps, inputs = tf.shape(x)[0], tf.shape(x)[1], x.shape[2]
    by_time = tf.transpose(x, (1, 0, 2))  # (steps, batch, inputs)
    projected = tf.reshape(matmul(tf.reshape(by_time, (-1, inputs)), kernel) + bias[0], (steps, batch, 3 * units))
    zero = tf.zeros((batch, units), x.dtype)

    def forward(state: Tensors, a: tf.Tensor) -> Tensors:
        h = state[0]
        q = tf.matmul(h if mask is None else h * mask, recurrent) + bias[1]
        a_z, a_r, a_h = tf.split(a, 3, axis=1)
        q_z, q_r, q_h = tf.split(q, 3, axis=1)
        z, r = tf.sigmoid(a_z + q_z), tf.sigmoid(a_r + q_r)
        g = tf.tanh(a_h + r * q_h)
        return z * h + (1 - z) * g, tf.concat((z, r, g, q_h), axis=1)  # what `backward` needs, (batch, 4 units)

    h, kept = tf.scan(forward, projected, (zero, tf.zeros((batch, 4 * units), x.dtype)))

    def gradient(dh: tf.Tensor) -> Tensors:
        h_before = tf.concat((zero[None], h[:-1]), axis=0)
        transposed = tf.transpose(recurrent)

        def backward(state: Tensors, step: Tensors) -> Tensors:
            dh_t, h_last, kept_t = step
            z, r, g, q_h = tf.split(kept_t, 4, axis=1)
            dh_t += state[0]
            da_h = dh_t * (1 - z) * (1 - g * g)
            da_r = da_h * q_h * r * (1 - r)
            da_z = dh_t * (h_last - g) * z * (1 - z)
            dq = tf.concat((da_z, da_r, da_h * r), axis=1)
            through = tf.matmul(dq, transposed)
            return dh_t * z + (through if mask is None else through * mask), dq, da_h

        start = (zero, tf.zeros((batch, 3 * units), x.dtype), zero)
        by_step = (tf.transpose(dh, (1, 0, 2)), h_before, kept)
        _, dq, da_h = tf.scan(backward, by_step, start, reverse=True)
        da = tf.reshape(tf.concat((dq[..., : 2 * units], da_h), axis=2), (-1, 3 * units))
        dq = tf.reshape(dq, (-1, 3 * units))
        h_in = h_before if mask is None else h_before * mask
        dx = tf.transpose(tf.reshape(matmul(da, kernel, transpose_b=True), tf.shape(by_time)), (1, 0, 2))
        d_kernel = matmul(tf.reshape(by_time, (-1, inputs)), da, transpose_a=True)
        d_recurrent = matmul(tf.reshape(h_in, (-1, units)), dq, transpose_a=True)
        return dx, d_kernel, d_recurrent, tf.stack((tf.reduce_sum(da, axis=0), tf.reduce_sum(dq, axis=0)))

    return tf.transpose(h, (1, 0, 2)), gradient


@keras.saving.register_keras_serializable(package="fedlm")
class FusedGRU(FusedLayer, keras.layers.GRU):
    """`keras.layers.GRU` with the same weights, names and configuration."""

    plain = keras.layers.GRU
    run = staticmethod(fused_gru)
