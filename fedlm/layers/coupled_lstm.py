"""An LSTM layer with coupled input and forget gates (CIFG): i = 1 - f, a quarter fewer weights.

Greff et al. 2017, https://arxiv.org/abs/1503.04069; used by Hard et al. 2018,
https://arxiv.org/abs/1811.03604. Since 1 - sigmoid(z) = sigmoid(-z), it is a Keras LSTM whose input
gate has the forget gate's weights, negated.
"""

from typing import Any

import keras
import tensorflow as tf

from fedlm.layers.fused import recurrent_mask
from fedlm.layers.fused_lstm import fused_lstm


@keras.saving.register_keras_serializable(package="fedlm")
class CoupledLSTM(keras.layers.Layer):
    """States (batch, steps, units) of a CIFG-LSTM; gates in the order f, c, o.

    Args:
      units: width of the state.
      recurrent_dropout: of h_(t-1), one mask a sequence.
    """

    def __init__(self, units: int, recurrent_dropout: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.recurrent_dropout = units, recurrent_dropout
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes the weights: (inputs, 3 units), (units, 3 units), (3 units,)."""
        self.kernel = self.add_weight(shape=(shape[-1], 3 * self.units), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 3 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(3 * self.units,), initializer="zeros", name="bias")

    def call(self, sequences: tf.Tensor, training: bool | None = False) -> tf.Tensor:
        """Returns states (batch, steps, units)."""
        kernel, recurrent, bias = (_four_gates(tf.convert_to_tensor(w)) for w in self.trainable_variables)
        return fused_lstm(sequences, kernel, recurrent, bias, recurrent_mask(self, sequences, training))

    def compute_output_spec(self, sequences: Any, training: bool | None = False) -> keras.KerasTensor:
        """Returns shape and type of the states."""
        return keras.KerasTensor((*sequences.shape[:2], self.units), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the layer again."""
        return {**super().get_config(), "units": self.units, "recurrent_dropout": self.recurrent_dropout}

    def plain_layer(self) -> keras.layers.LSTM:
        """Returns Keras' layer for `plain_weights`."""
        return keras.layers.LSTM(
            self.units, return_sequences=True, recurrent_dropout=self.recurrent_dropout, name=self.name
        )

    def plain_weights(self) -> list[Any]:
        """Returns the weights as those of Keras' LSTM, gates i, f, c, o."""
        return [_four_gates(tf.convert_to_tensor(w)).numpy() for w in self.trainable_variables]


def _four_gates(weight: tf.Tensor) -> tf.Tensor:
    """Returns (..., 4 units) with the input gate in front."""
    forget = weight[..., : weight.shape[-1] // 3]
    return tf.concat((-forget, weight), axis=-1)
