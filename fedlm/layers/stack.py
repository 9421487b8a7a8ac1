"""What the recurrent models share: embedding, a stack of recurrent layers, projection, logits."""

from collections.abc import Callable

import keras

from fedlm.layers.dense import FusedDense


def build_stack(
    recurrent: Callable[[], keras.layers.Layer],
    *,
    vocab_size: int,
    seq_len: int,
    layers: int,
    embedding: int,
    projection: int,
    tied: bool,
    input_dropout: float,
    dropout: float,
) -> keras.Model:
    """Returns a model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32.

    Args:
      recurrent: makes one recurrent layer that returns sequences.
      vocab_size, seq_len: shapes.
      layers: recurrent layers.
      embedding: width of a symbol's vector.
      projection: width of a linear layer after the last state; 0 is none, or `embedding` for tied
        embeddings.
      tied: logits are products with the embeddings themselves, without bias (Press and Wolf 2017).
      input_dropout: of embeddings. dropout: of every recurrent layer's states (Zaremba et al. 2014).
    """
    check_rates(input_dropout=input_dropout, dropout=dropout)
    if tied and projection not in (0, embedding):
        raise ValueError(f"Expected {projection=} to be 0 or {embedding=} with tied embeddings.")
    ids = keras.Input((seq_len,), dtype="int32", name="ids")
    kind = keras.layers.ReversibleEmbedding if tied else keras.layers.Embedding
    symbols = kind(vocab_size, embedding)
    states = _dropped(symbols(ids), input_dropout)  # (batch, seq_len, embedding)
    for _ in range(layers):
        states = _dropped(recurrent()(states), dropout)  # (batch, seq_len, units)
    if projection or tied:
        states = keras.layers.Dense(projection or embedding, name="projection")(states)
    if tied:
        return keras.Model(ids, symbols(states, reverse=True))
    return keras.Model(ids, FusedDense(vocab_size, name="logits")(states))


def check_sizes(**sizes: int) -> None:
    """Raises ValueError for a size below 1."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"Expected {name}={value} >= 1.")


def check_rates(**rates: float) -> None:
    """Raises ValueError for a dropout rate outside [0, 1)."""
    for name, value in rates.items():
        if not 0 <= value < 1:
            raise ValueError(f"Expected 0 <= {name}={value} < 1.")


def _dropped(states: keras.KerasTensor, rate: float) -> keras.KerasTensor:
    return keras.layers.Dropout(rate)(states) if rate else states
