"""Stacked gated recurrent units, in the variant that resets after the product (as cuDNN does).

Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, EMNLP 2014.
https://arxiv.org/abs/1406.1078
"""

import keras

from fedlm.layers.fused_gru import FusedGRU
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
        lambda: FusedGRU(units, return_sequences=True, recurrent_dropout=recurrent_dropout),
        vocab_size=vocab_size,
        seq_len=seq_len,
        layers=layers,
        embedding=embedding,
        projection=projection,
        tied=tied,
        input_dropout=input_dropout,
        dropout=dropout,
    )
