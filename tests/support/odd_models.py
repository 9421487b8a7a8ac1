"""Models that are none: other outputs than logits (batch, seq_len, vocab_size)."""

from typing import Any


def narrow(*, vocab_size: int, seq_len: int) -> Any:
    return _model(seq_len, vocab_size - 1)


def last_only(*, vocab_size: int, seq_len: int) -> Any:
    import keras

    inputs = keras.Input((seq_len,), dtype="int32")
    hidden = keras.layers.Embedding(vocab_size, 2)(inputs)
    return keras.Model(inputs, keras.layers.Dense(vocab_size)(keras.layers.Flatten()(hidden)))


def two_outputs(*, vocab_size: int, seq_len: int) -> Any:
    import keras

    model = _model(seq_len, vocab_size)
    return keras.Model(model.input, [model.output, model.output])


def nothing(*, vocab_size: int, seq_len: int) -> Any:
    return None


def _model(seq_len: int, width: int) -> Any:
    import keras

    inputs = keras.Input((seq_len,), dtype="int32")
    return keras.Model(inputs, keras.layers.Dense(width)(keras.layers.Embedding(9, 2)(inputs)))
