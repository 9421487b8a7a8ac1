"""Elman network: h_t = tanh(W x_t + U h_(t-1) + b), o_t = V h_t + c, the softmax of o_t over the next symbol.

Elman, Finding Structure in Time, Cognitive Science 14, 1990.
"""

import keras

from fedlm.layers.fused_rnn import FusedRNN
from fedlm.layers.stack import build_stack, check_rates, check_sizes


def build(
    *,
    vocab_size: int,
    seq_len: int,
    units: int = 256,
    layers: int = 2,
    embedding: int = 8,
    projection: int = 0,
    tied: bool = False,
    input_dropout: float = 0.0,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> keras.Model:
    """Returns a model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32."""
    check_sizes(units=units, layers=layers, embedding=embedding)
    check_rates(recurrent_dropout=recurrent_dropout)
    return build_stack(
        lambda: FusedRNN(units, return_sequences=True, recurrent_dropout=recurrent_dropout),
        vocab_size=vocab_size,
        seq_len=seq_len,
        layers=layers,
        embedding=embedding,
        projection=projection,
        tied=tied,
        input_dropout=input_dropout,
        dropout=dropout,
    )
