"""Stacked LSTM over symbols; the default is the Shakespeare model: embedding 8, two layers of 256 units.

McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS
2017, https://arxiv.org/abs/1602.05629. The StackOverflow model of Reddi et al. 2021
(https://arxiv.org/abs/2003.00295) is `lstm(units=670, layers=1, embedding=96, projection=96)` at
10,004 words.
"""

import keras

from fedlm.layers.coupled_lstm import CoupledLSTM
from fedlm.layers.fused_lstm import FusedLSTM
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
    cifg: bool = False,
    input_dropout: float = 0.0,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> keras.Model:
    """Returns a model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32."""
    check_sizes(units=units, layers=layers, embedding=embedding)
    check_rates(recurrent_dropout=recurrent_dropout)

    def recurrent() -> keras.layers.Layer:
        if cifg:
            return CoupledLSTM(units, recurrent_dropout=recurrent_dropout)
        return FusedLSTM(units, return_sequences=True, recurrent_dropout=recurrent_dropout)

    return build_stack(
        recurrent,
        vocab_size=vocab_size,
        seq_len=seq_len,
        layers=layers,
        embedding=embedding,
        projection=projection,
        tied=tied,
        input_dropout=input_dropout,
        dropout=dropout,
    )
