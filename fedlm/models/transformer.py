"""Causal decoder with pre-normalisation, from Keras' own layers and operations.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; pre-norm as in GPT-2 (Radford et al. 2019);
rotary positions: Su et al. 2021, https://arxiv.org/abs/2104.09864 (halves of a head are rotated,
not neighbours).

  x = E[ids] (+ P[places])
  x = x + O(attention(norm(x)));  x = x + D(gelu(U(norm(x))))     once a block
  logits = L(norm(x))
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from fedlm.layers.dense import FusedDense
from fedlm.layers.stack import check_rates, check_sizes

POSITIONS = {"positions": "learned"}  # then P has a vector for each place of a row
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


def decoder(model: keras.Model) -> "CachedSteps":
    """Returns what reads the model symbol by symbol; see `fedlm.training.decoding`."""
    return CachedSteps(model)


class CachedSteps:
    """Reads a model of `build` one symbol at a time, with the keys and values of all symbols before it.

    A state is (place, keys, values): the number of symbols read, and two arrays (blocks, heads,
    limit, size).

    Args:
      model: with its weights.

    Attributes:
      count: symbols read so far.
      limit: symbols that a state can hold: seq_len.
    """

    def __init__(self, model: keras.Model) -> None:
        self.count, self.limit = 0, int(model.input_shape[1])
        self._layers = {layer.name: layer for layer in model.layers}
        self._blocks = sum(name.endswith("_query") for name in self._layers)
        # heads are not in a layer's configuration; they are in the shape after the split
        split = next(o for o in model.operations if type(o).__name__ == "Reshape").output.shape
        self._heads, self._size = int(split[2]), int(split[3])
        self._run = tf.function(self._step, autograph=False)

    def start(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns an empty cache."""
        empty = tf.zeros((self._blocks, self._heads, self.limit, self._size))
        return tf.constant(0), empty, empty

    def step(self, state: Any, symbol: int) -> tuple[npt.NDArray[np.float32], Any]:
        """Returns the logits (vocab_size,) after a symbol, and the cache with it."""
        self.count += 1
        logits, after = self._run(tf.constant([[symbol]], tf.int32), *state)
        return logits.numpy()[0, 0], after

    def _step(self, ids: tf.Tensor, place: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Reads ids (1, 1) at a place (); returns logits (1, 1, vocab_size) and the state after it."""
        layers, places = self._layers, tf.reshape(place, (1, 1))
        x = layers["symbols"](ids)  # (1, 1, width)
        if "positions" in layers:
            x += layers["positions"](places)
        caches = []
        for block in range(self._blocks):
            x, cache = self._block(x, f"block_{block}", place, (keys[block][None], values[block][None]))
            caches.append(cache)
        x = layers["norm"](x)
        logits = layers["logits"](x) if "logits" in layers else layers["symbols"](x, reverse=True)
        return logits, (place + 1, tf.stack([key for key, _ in caches]), tf.stack([value for _, value in caches]))

    def _block(
        self, x: tf.Tensor, name: str, place: tf.Tensor, cache: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """Returns a block's output (1, 1, width), and its keys and values with those of this place."""
        layers, everywhere = self._layers, tf.range(self.limit)
        here = tf.reshape(everywhere == place, (1, 1, self.limit, 1))
        seen = tf.reshape(everywhere <= place, (1, 1, 1, self.limit))  # (batch, heads, to, from)
        normed = layers[f"{name}_norm_attention"](x)
        query, key, value = (
            tf.reshape(layers[f"{name}_{part}"](normed), (1, self._heads, 1, self._size))
            for part in ("query", "key", "value")
        )
        if "positions" not in layers:
            angles = rotary_angles(tf.reshape(place, (1, 1)), self._size)[:, None]
            query, key = rotate(query, angles), rotate(key, angles)
        key, value = tf.where(here, key, cache[0]), tf.where(here, value, cache[1])
        attended = tf.reshape(attend(query, key, value, seen), (1, 1, -1))
        x += layers[f"{name}_out"](attended)
        x += layers[f"{name}_down"](layers[f"{name}_up"](layers[f"{name}_norm_feedforward"](x)))
        return x, (key[0], value[0])
