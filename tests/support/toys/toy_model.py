"""A model in one file outside fedlm: the next symbol from this one and the one before it (a neural trigram).

x_t = tanh(E[ids_t] + F E[ids_(t-1)]),   logits_t = L x_t
"""

import keras


def build(*, vocab_size: int, seq_len: int, units: int = 16, dropout: float = 0.0) -> keras.Model:
    """Returns a model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32."""
    ids = keras.Input((seq_len,), dtype="int32", name="ids")
    here = keras.layers.Embedding(vocab_size, units)(ids)  # (batch, seq_len, units)
    before = keras.layers.Cropping1D((0, 1))(keras.layers.ZeroPadding1D((1, 0))(here))
    both = keras.layers.Add()([here, keras.layers.Dense(units)(before)])
    states = keras.layers.Activation("tanh")(both)
    if dropout:
        states = keras.layers.Dropout(dropout)(states)
    return keras.Model(ids, keras.layers.Dense(vocab_size, name="logits")(states))
