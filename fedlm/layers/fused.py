"""What the fused recurrent layers share: when the fused path is taken, and its dropout.

A fused layer is Keras' own layer, with the same weights, names and configuration, but its training
path on the CPU is one custom gradient. Where Keras' loop makes small products at each step and in
each direction, it makes large ones:

  forward    x_t W for all t    one product (steps * batch, inputs) @ (inputs, gates)
             h_t from h_(t-1)   a scan over the steps; only h_(t-1) U is a product of one step
  backward   dz_t from dz_(t+1) a scan; z_t is what enters the gates
             dW, dU, dx         one product each over all steps, e.g. dW = X^T dZ with X (steps * batch, inputs)
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fedlm.layers.device import on_cpu

Tensors = tuple[tf.Tensor, ...]


class FusedLayer:
    """Base of the fused layers, in front of the Keras layer that they replace.

    A subclass has `plain`, that Keras layer, and `run`, the fused path, which `fused` makes. Padding
    masks, given initial states, backward order, other activations and GPUs take Keras' path. Recurrent dropout
    draws one mask a sequence for all gates (Gal and Ghahramani 2016,
    https://arxiv.org/abs/1512.05287); Keras draws one a gate, and for its GRU none at all.
    """

    plain: type[keras.layers.Layer]
    cell: Any
    units: int
    compute_dtype: str

    @staticmethod
    def run(
        x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns states (batch, steps, units) from x (batch, steps, inputs) and the cell's weights."""
        raise NotImplementedError

    def call(
        self, sequences: tf.Tensor, initial_state: Any = None, mask: Any = None, training: bool | None = False
    ) -> tf.Tensor:
        """Returns states (batch, steps, units), or the last one (batch, units)."""
        if initial_state is not None or mask is not None or not self._is_plain():
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)  # type: ignore[misc]
        sequences = tf.cast(sequences, self.compute_dtype)
        if training and self.cell.dropout:
            sequences *= _mask(tf.ones_like(sequences[:, :1]), self.cell.dropout, self.cell)
        kernel, recurrent, bias = (tf.convert_to_tensor(w) for w in self.cell.trainable_variables)
        states = self.run(sequences, kernel, recurrent, bias, recurrent_mask(self.cell, sequences, training))
        return states if self.return_sequences else states[:, -1]  # type: ignore[attr-defined]

    def compute_output_spec(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool | None = False
    ) -> Any:
        """Returns Keras' own spec."""
        return super().compute_output_spec(sequences, initial_state=initial_state, mask=mask, training=training)  # type: ignore[misc]

    def _is_plain(self) -> bool:
        cell, sigmoid = self.cell, keras.activations.sigmoid
        standard = cell.activation is keras.activations.tanh and getattr(cell, "reset_after", True)
        standard = standard and getattr(cell, "recurrent_activation", sigmoid) is sigmoid and cell.use_bias
        options = self.return_state or self.stateful or self.go_backwards  # type: ignore[attr-defined]
        return standard and not options and on_cpu()


def fused(
    states_and_gradient: Callable[..., tuple[tf.Tensor, Callable[[tf.Tensor], Tensors]]],
) -> Callable[..., tf.Tensor]:
    """Returns the fused path of a layer.

    Args:
      states_and_gradient: returns the states (batch, steps, units), and the function from their
        gradient to those of x, kernel, recurrent kernel and bias. Its arguments are these four
        tensors and a mask that multiplies h_(t-1) where it meets the recurrent kernel, (batch,
        units), into which no gradient flows; None masks nothing.
    """

    def run(
        x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        @tf.custom_gradient
        def differentiable(x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor) -> Any:
            return states_and_gradient(x, kernel, recurrent, bias, mask)

        return differentiable(x, kernel, recurrent, bias)

    # Not by functools.wraps: TensorFlow's autograph would follow its `__wrapped__` past the custom gradient.
    run.__name__, run.__doc__ = states_and_gradient.__name__, states_and_gradient.__doc__
    return run


def recurrent_mask(cell: Any, sequences: tf.Tensor, training: bool | None) -> tf.Tensor | None:
    """Returns a dropout mask (batch, units) for h_(t-1), drawn from the cell's seed; None without recurrent dropout."""
    if not (training and cell.recurrent_dropout):
        return None
    return _mask(tf.ones((tf.shape(sequences)[0], cell.units), sequences.dtype), cell.recurrent_dropout, cell)


def _mask(ones: tf.Tensor, rate: float, cell: Any) -> tf.Tensor:
    """Returns 0 with probability `rate`, otherwise 1 / (1 - rate), in the shape of `ones`."""
    return keras.random.dropout(ones, rate, seed=cell.seed_generator)
