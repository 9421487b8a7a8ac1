"""Causal decoder with pre-normalisation, from Keras' own layers and operations.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; pre-norm as in GPT-2 (Radford et al. 2019); rotary positions:
Su et al. 2021, https://arxiv.org/abs/2104.09864 (halves of a head are rotated, not neighbours).

  x = E[ids] (+ P[positions]);  x += O(attention(norm(x)));  x += D(gelu(U(norm(x))));  logits = L(norm(x))
"""

import keras
from keras import ops

from fedlm.layers.dense import FusedDense
from fedlm.layers.stack import check_rates, check_sizes

_HIDDEN = -1e9  # a score that no later position passes


def build(
    *,
    vocab_size: int,
    seq_len: int,
    width: int = 128,
    layers: int = 4,
    heads: int = 4,
    feedforward: int = 0,
    positions: str = "learned",
    tied: bool = False,
    input_dropout: float = 0.0,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32.

    Args:
      vocab_size, seq_len: shapes.
      width: of the residual stream. layers: blocks. heads: per block; they share `width`.
      feedforward: width inside a block; 0 is 4 * width.
      positions: "learned" or "rotary".
      tied: logits are products with the embeddings themselves.
      input_dropout: of embeddings. dropout: of what a block adds.
    """
    check_sizes(width=width, layers=layers, heads=heads, feedforward=feedforward or 1)
    check_rates(input_dropout=input_dropout, dropout=dropout)
    if width % heads or (positions == "rotary" and width // heads % 2):
        raise ValueError(f"Expected {width=} to be a multiple of {heads=} (of twice as many with rotary positions).")
    if positions not in ("learned", "rotary"):
        raise ValueError(f"Expected {positions=} to be 'learned' or 'rotary'.")
    ids = keras.Input((seq_len,), dtype="int32", name="ids")
    places = ops.subtract(ops.cumsum(ops.ones_like(ids), axis=1), 1)  # (batch, seq_len)
    symbols = (keras.layers.ReversibleEmbedding if tied else keras.layers.Embedding)(vocab_size, width, name="symbols")
    x = symbols(ids)
    if positions == "learned":
        x = ops.add(x, keras.layers.Embedding(seq_len, width, name="positions")(places))
    x = _dropped(x, input_dropout)
    for block in range(layers):
        x = _block(x, places, f"block_{block}", heads, feedforward or 4 * width, positions == "rotary", dropout)
    x = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(x)
    logits = symbols(x, reverse=True) if tied else FusedDense(vocab_size, name="logits")(x)
    return keras.Model(ids, logits)


def _block(
    x: keras.KerasTensor,
    places: keras.KerasTensor,
    name: str,
    heads: int,
    feedforward: int,
    rotary: bool,
    dropout: float,
) -> keras.KerasTensor:
    width, seq_len = x.shape[-1], x.shape[1]
    normed = keras.layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm_attention")(x)
    query, key, value = (
        ops.transpose(
            ops.reshape(keras.layers.Dense(width, name=f"{name}_{part}")(normed), (-1, seq_len, heads, width // heads)),
            (0, 2, 1, 3),
        )
        for part in ("query", "key", "value")
    )  # (batch, heads, seq_len, width / heads)
    if rotary:
        angles = rotary_angles(places, width // heads)[:, None]
        query, key = rotate(query, angles), rotate(key, angles)
    seen = ops.expand_dims(ops.greater_equal(places[:, :, None], places[:, None, :]), 1)  # (batch, 1, to, from)
    attended = ops.reshape(ops.transpose(attend(query, key, value, seen), (0, 2, 1, 3)), (-1, seq_len, width))
    x = ops.add(x, _dropped(keras.layers.Dense(width, name=f"{name}_out")(attended), dropout))
    normed = keras.layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm_feedforward")(x)
    inner = keras.layers.Dense(feedforward, activation="gelu", name=f"{name}_up")(normed)
    return ops.add(x, _dropped(keras.layers.Dense(width, name=f"{name}_down")(inner), dropout))


def attend(
    query: keras.KerasTensor, key: keras.KerasTensor, value: keras.KerasTensor, seen: keras.KerasTensor
) -> keras.KerasTensor:
    """Returns softmax(query key' / sqrt(size)) value over the places that are seen; (batch, heads, to, size)."""
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * query.shape[-1] ** -0.5
    return ops.matmul(ops.softmax(ops.where(seen, scores, _HIDDEN)), value)


def rotary_angles(places: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """Returns place * 10000 ** (-2 j / size) for j < size / 2; (batch, seq_len, size / 2)."""
    exponents = ops.cumsum(ops.ones_like(ops.repeat(places[:, :1], size // 2, axis=1)), axis=1) - 1  # 0 ... size/2 - 1
    rates = ops.exp(ops.cast(exponents, "float32") * (-2.0 / size * 9.210340371976184))  # ln 10000
    return ops.cast(places, "float32")[:, :, None] * rates[:, None, :]


def rotate(x: keras.KerasTensor, angles: keras.KerasTensor) -> keras.KerasTensor:
    """Returns x (batch, heads, seq_len, size) with the pairs (j, j + size / 2) turned by angle j."""
    first, second = ops.split(x, 2, axis=-1)
    sine, cosine = ops.sin(angles), ops.cos(angles)
    return ops.concatenate((first * cosine - second * sine, second * cosine + first * sine), axis=-1)


def _dropped(x: keras.KerasTensor, rate: float) -> keras.KerasTensor:
    return keras.layers.Dropout(rate)(x) if rate else x
