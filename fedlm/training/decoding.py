"""Reads a model one symbol at a time, so that generating a text costs time linear in its length.

A model gives the logits of every place of a whole row. To continue a text symbol by symbol that
would be one pass over the row a symbol, so a reader keeps what the next symbol needs of those
before it:

  logits_t, state_t = step(state_(t-1), symbol_t)

Recurrent layers keep their states h and c (`RecurrentSteps`), attention the keys and values of what
was read (the `decoder` of the model's own file). A model of other layers is run over its whole row
each time (`WindowSteps`).
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from fedlm.models.registry import own_decoder, plain_copy

Logits = npt.NDArray[np.float32]
_KEPT = 64  # states that a reader remembers


class Steps(Protocol):
    """Reads symbols. A step does not modify the state that it starts from, so several texts can continue it.

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
        """Returns the logits (vocab_size,) after a symbol, and the state after it."""


def steps_of(model: keras.Model, spec: str) -> Steps:
    """Returns what reads a model.

    Args:
      model: with its weights.
      spec: that it was built from; its file may contain its own decoder.
    """
    if (own := own_decoder(spec, model)) is not None:
        found: Steps = own
        return found
    kinds = (keras.layers.RNN, keras.layers.Embedding, keras.layers.Dense, keras.layers.Dropout)
    layers = model.layers[1:]  # the first one is the input
    if all(isinstance(layer, kinds) or hasattr(layer, "plain_layer") for layer in layers):
        return RecurrentSteps(plain_copy(model))
    return WindowSteps(model)


class RecurrentSteps:
    """Reads a chain of embedding, recurrent and dense layers.

    A state has, for each recurrent layer, what its cell keeps: h, or h and c, each (1, units).

    Args:
      model: of Keras' own layers.
    """

    limit = None

    def __init__(self, model: keras.Model) -> None:
        self.count = 0
        self._layers = [layer for layer in model.layers[1:] if not isinstance(layer, keras.layers.Dropout)]
        if isinstance(self._layers[0], keras.layers.ReversibleEmbedding):
            self._layers.append(self._layers[0])  # tied: the embeddings make the logits, too
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


class WindowSteps:
    """Runs a model over its whole row for each symbol; a state is the symbols read so far.

    Args:
      model: any, from ids (batch, seq_len) to logits.
    """

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
    """Gives the logits after any text, and reads no beginning twice while it remembers its state.

    Past the model's limit it forgets the oldest symbols, half a limit at a time: what remains is
    read anew, and then as many symbols again until the limit is met. So a symbol is read at most
    twice on average.

    Args:
      steps: reads the model.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._kept: OrderedDict[tuple[int, ...], tuple[Logits, Any]] = OrderedDict()

    def logits(self, ids: Sequence[int]) -> Logits:
        """Returns the logits (vocab_size,) of the symbol after `ids`, of which there is at least one."""
        text = self._within_limit(tuple(ids))
        size = len(text)
        while size and text[:size] not in self._kept:
            size -= 1
        logits, state = self._kept[text[:size]] if size else (np.zeros(0, np.float32), self._steps.start())
        for symbol in text[size:]:
            logits, state = self._steps.step(state, symbol)
        self._remember(text, (logits, state))
        return logits

    def _within_limit(self, text: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the end of a text that the model can hold.

        Its beginning moves by half a limit at a time, so that the next symbols continue a state
        that is remembered.
        """
        limit = self._steps.limit
        if limit is None or len(text) <= limit:
            return text
        half = max(limit // 2, 1)
        halves = -(-(len(text) - limit) // half)
        return text[halves * half :]

    def _remember(self, text: tuple[int, ...], found: tuple[Logits, Any]) -> None:
        self._kept[text] = found
        self._kept.move_to_end(text)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)  # the one that was read longest ago
