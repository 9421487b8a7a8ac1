"""A model read one symbol at a time: state in, state out, so that text costs time linear in its length.

Recurrent models keep their states, transformers the keys and values of what they have read.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from fedlm.layers.pretrained import Pretrained, pretrained_part, reorder
from fedlm.models.registry import plain_copy
from fedlm.models.transformer import attend, rotary_angles, rotate

Logits = npt.NDArray[np.float32]
_KEPT = 64  # states that a reader remembers


class Steps(Protocol):
    """Reads symbols. A state is never changed, so that several texts can go on from one.

    Attributes:
      count: symbols read so far, over all texts.
    """

    count: int

    @property
    def limit(self) -> int | None:
        """Symbols that a state can hold; None is any number."""

    def start(self) -> Any:
        """Returns the state before any symbol."""

    def step(self, state: Any, symbol: int) -> tuple[Logits, Any]:
        """Returns the logits (vocab_size,) after a symbol, and the state."""


def steps_of(model: keras.Model) -> Steps:
    """Returns what reads a model; one of unknown layers is run over its whole window for every symbol."""
    if (pretrained := pretrained_part(model)) is not None:
        return PretrainedSteps(pretrained, int(model.input_shape[1]))
    plain = plain_copy(model)
    kinds = (keras.layers.RNN, keras.layers.Embedding, keras.layers.Dense, keras.layers.Dropout)
    if all(isinstance(layer, kinds) for layer in plain.layers[1:]):
        return RecurrentSteps(plain)
    names = {layer.name for layer in plain.layers}
    return CachedSteps(plain) if {"symbols", "block_0_query"} <= names else WindowSteps(model)


class RecurrentSteps:
    """Reads a chain of embedding, recurrent and dense layers."""

    limit = None

    def __init__(self, model: keras.Model) -> None:
        self.count = 0
        self._layers = [layer for layer in model.layers[1:] if not isinstance(layer, keras.layers.Dropout)]
        if isinstance(self._layers[0], keras.layers.ReversibleEmbedding):
            self._layers.append(self._layers[0])
        self._run = tf.function(self._step, autograph=False)

    def start(self) -> list[list[tf.Tensor]]:
        """Returns zero states."""
        cells = [layer.cell for layer in self._layers if isinstance(layer, keras.layers.RNN)]
        sizes = [cell.state_size if isinstance(cell.state_size, list) else [cell.state_size] for cell in cells]
        return [[tf.zeros((1, size)) for size in group] for group in sizes]

    def step(self, state: Any, symbol: int) -> tuple[Logits, Any]:
        """Returns the logits after a symbol, and the states."""
        self.count += 1
        logits, states = self._run(tf.constant([symbol], tf.int32), state)
        return logits.numpy()[0], states

    def _step(self, x: tf.Tensor, states: list[list[tf.Tensor]]) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        old, new = iter(states), []
        for place, layer in enumerate(self._layers):
            if isinstance(layer, keras.layers.RNN):
                x, after = layer.cell(x, next(old), training=False)
                new.append(list(after))
            else:
                x = layer(x, reverse=True) if place and layer is self._layers[0] else layer(x)
        return x, new


class CachedSteps:
    """Reads a transformer of `transformer.py`; a state is (place, keys, values), each (layers, heads, limit, size)."""

    def __init__(self, model: keras.Model) -> None:
        self.count, self._model, self.limit = 0, model, int(model.input_shape[1])
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

    def step(self, state: Any, symbol: int) -> tuple[Logits, Any]:
        """Returns the logits after a symbol, and the cache."""
        self.count += 1
        logits, after = self._run(tf.constant([[symbol]], tf.int32), *state)
        return logits.numpy()[0, 0], after

    def _step(self, ids: tf.Tensor, place: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, Any]:
        layers, places = self._layers, tf.reshape(place, (1, 1))
        here = tf.reshape(tf.range(self.limit) == place, (1, 1, self.limit, 1))
        seen = tf.reshape(tf.range(self.limit) <= place, (1, 1, 1, self.limit))
        x = layers["symbols"](ids)
        if "positions" in layers:
            x += layers["positions"](places)
        kept_keys, kept_values = [], []
        for block in range(self._blocks):
            name = f"block_{block}"
            normed = layers[f"{name}_norm_attention"](x)
            query, key, value = (
                tf.reshape(layers[f"{name}_{part}"](normed), (1, self._heads, 1, self._size))
                for part in ("query", "key", "value")
            )
            if "positions" not in layers:
                angles = rotary_angles(places, self._size)[:, None]
                query, key = rotate(query, angles), rotate(key, angles)
            key, value = tf.where(here, key, keys[block][None]), tf.where(here, value, values[block][None])
            kept_keys.append(key[0])
            kept_values.append(value[0])
            attended = tf.reshape(attend(query, key, value, seen), (1, 1, -1))
            x += layers[f"{name}_out"](attended)
            x += layers[f"{name}_down"](layers[f"{name}_up"](layers[f"{name}_norm_feedforward"](x)))
        x = layers["norm"](x)
        logits = layers["logits"](x) if "logits" in layers else layers["symbols"](x, reverse=True)
        return logits, (place + 1, tf.stack(kept_keys), tf.stack(kept_values))


class PretrainedSteps:
    """Reads GPT-2 by its own cache; a state is (place, keys and values), (1, layers, 2, limit, heads, size)."""

    def __init__(self, pretrained: Pretrained, limit: int) -> None:
        self.count, self.limit, self._pretrained = 0, limit, pretrained
        self._run = tf.function(self._step, autograph=False)

    def start(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns an empty cache."""
        backbone = self._pretrained.task.backbone
        size = backbone.hidden_dim // backbone.num_heads
        return tf.constant(0), tf.zeros((1, backbone.num_layers, 2, self.limit, backbone.num_heads, size))

    def step(self, state: Any, symbol: int) -> tuple[Logits, Any]:
        """Returns the logits after a symbol, and the cache."""
        self.count += 1
        logits, after = self._run(tf.constant([[symbol]], tf.int32), *state)
        return logits.numpy()[0, 0], after

    def _step(self, ids: tf.Tensor, place: tf.Tensor, cache: tf.Tensor) -> tuple[tf.Tensor, Any]:
        with self._pretrained.adapted():
            logits, _, after = self._pretrained.task.call_with_cache(self._pretrained.tokens(ids), cache, place)
        return reorder(logits, self._pretrained.order), (place + 1, after)


class WindowSteps:
    """Runs a model over its whole window; a state is what was read."""

    def __init__(self, model: keras.Model) -> None:
        self.count, self._model, self.limit = 0, model, int(model.input_shape[1])
        self._run = tf.function(lambda rows: model(rows, training=False), autograph=False)

    def start(self) -> tuple[int, ...]:
        """Returns nothing read."""
        return ()

    def step(self, state: tuple[int, ...], symbol: int) -> tuple[Logits, tuple[int, ...]]:
        """Returns the logits after a symbol, and what was read."""
        self.count += 1
        seen = (*state, symbol)
        row = np.zeros((1, self.limit), np.int32)
        row[0, : len(seen)] = seen
        return ops.convert_to_numpy(self._run(row))[0, len(seen) - 1], seen


class Reader:
    """Logits after any text; what it has read it reads only once.

    Past the limit of a model it goes on with the last half of what the model can hold, so that a symbol costs two
    readings at most.

    Args:
      steps: reads the model.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._kept: OrderedDict[tuple[int, ...], tuple[Logits, Any]] = OrderedDict()

    def logits(self, ids: Sequence[int]) -> Logits:
        """Returns the logits (vocab_size,) of the symbol after `ids`, of which there is one at least."""
        known = tuple(ids)
        limit = self._steps.limit
        if limit is not None and len(known) > limit:
            half = max(limit // 2, 1)
            known = known[(len(known) - limit + half - 1) // half * half :]
        size = len(known)
        while size and known[:size] not in self._kept:
            size -= 1
        found = self._kept[known[:size]] if size else (np.zeros(0, np.float32), self._steps.start())
        for place in range(size, len(known)):
            found = self._steps.step(found[1], known[place])
        self._kept[known] = found
        self._kept.move_to_end(known)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found[0]
