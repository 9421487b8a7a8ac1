"""What models from presets share: a task of KerasHub, frozen or not, between our ids and its tokens, and its adapters."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedlm.errors import ConfigError
from fedlm.layers.lora import Adapter, check_targets, target_kernels
from fedlm.text.presets import Preset

_LOW = 40.0  # nats below the most likely token: the logit of a special symbol that the preset does not have


class Pretrained(keras.layers.Layer):
    """Logits (batch, seq_len, our ids) of a KerasHub task.

    Args:
      task: a causal or masked language model of KerasHub.
      preset: where its weights came from.
      adapters: of the frozen kernels; none for full fine-tuning.
      hides_padding: no place attends to padding. A causal model need not hide it, as padding only
        follows the text.

    Attributes:
      order: the preset's token of each of our ids.
    """

    def __init__(
        self, task: keras.Model, preset: Preset, adapters: Sequence[Adapter], *, hides_padding: bool = False
    ) -> None:
        super().__init__(name="pretrained")
        self._hides_padding = hides_padding
        self.task, self.preset, self.adapters = task, preset, list(adapters)
        self.order = preset.vocabulary.order
        self._seeds = [v for v in task.variables if "seed_generator" in v.path]
        self.built = True

    def tokens(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the preset's tokens of our ids; specials that it does not have become its end token."""
        end = self.order[2]
        return tf.gather(tf.constant([end if t < 0 else t for t in self.order]), ids)

    def adapted(self) -> keras.StatelessScope:
        """Returns a scope in which the task's kernels are W + alpha / rank A B; outside of it they are W."""
        return keras.StatelessScope([(a.kernel, a.merged()) for a in self.adapters])

    def call(self, ids: tf.Tensor, training: bool | None = False) -> tf.Tensor:
        """Returns the logits of every id at every place."""
        inputs = self._inputs(ids)
        with self.adapted() as scope:
            logits = self.task(inputs, training=training)
        for seed in self._seeds:  # dropout has advanced them, but a scope keeps all changes to itself
            if (after := scope.get_current_value(seed)) is not None:
                seed.assign(after)
        return reorder(logits, self.order)

    def compute_output_spec(self, ids: Any, training: bool | None = False) -> keras.KerasTensor:
        """Returns shape and type of the logits."""
        return keras.KerasTensor((*ids.shape, len(self.order)), self.compute_dtype)

    def _inputs(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens = self.tokens(ids)
        every = {
            "token_ids": tokens,
            "padding_mask": tf.cast(ids > 0, tf.int32) if self._hides_padding else tf.ones_like(ids),
            "segment_ids": tf.zeros_like(ids),
            "mask_positions": tf.zeros_like(ids) + tf.range(tf.shape(ids)[1]),
        }
        return {name: every[name] for name in self.task.input}

    def save(self, path: Path) -> None:
        """Writes the task, adapters merged, tokenizer included, as a `.keras` file; `import keras_hub` opens it."""
        kept = [a.kernel.numpy() for a in self.adapters]
        for adapter in self.adapters:
            adapter.kernel.assign(adapter.merged())
        try:
            kind = type(self.task).preprocessor_cls
            self.task.preprocessor = kind.from_preset(str(self.preset.folder))
            self.task.save(path)
        finally:
            self.task.preprocessor = None
            for adapter, kernel in zip(self.adapters, kept, strict=True):
                adapter.kernel.assign(kernel)


@contextmanager
def loading(preset: Preset) -> Iterator[None]:
    """Turns Keras' errors about a preset's weights into one sentence.

    Raises:
      ConfigError: the weights are damaged, or have other shapes than the preset's configuration states.
    """
    try:
        yield
    except (OSError, ValueError, KeyError):
        raise ConfigError(
            f"The weights of the preset {preset.folder.name} do not open, or do not fit its config.json: save or download it again."
        ) from None


def reorder(logits: tf.Tensor, order: Sequence[int]) -> tf.Tensor:
    """Returns logits (..., preset's tokens) as (..., our ids); an id without a token (-1) gets a logit far below all others.

    Consecutive tokens are copied as one slice: that is faster than a gather of tens of thousands of
    single logits.
    """
    places = np.array(order)
    joined = (np.diff(places) == 1) & (places[:-1] >= 0)
    cuts = [0, *(np.flatnonzero(~joined) + 1), len(places)]
    low = tf.reduce_max(logits, -1, keepdims=True) - _LOW
    runs = [low if places[a] < 0 else logits[..., places[a] : places[a] + b - a] for a, b in pairwise(cuts)]
    return tf.concat(runs, -1)


def model_of(
    task: keras.Model,
    preset: Preset,
    *,
    seq_len: int,
    lora_rank: int,
    lora_alpha: float,
    targets: str,
    train_a: bool,
    unfrozen: Sequence[keras.layers.Layer] = (),
    hides_padding: bool = False,
) -> keras.Model:
    """Returns a model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32.

    Args:
      task: a language model of KerasHub, with the preset's weights.
      preset: where it came from.
      seq_len: shape.
      lora_rank: of the adapters; 0 trains every weight instead.
      lora_alpha, targets, train_a: see `lora.py`.
      unfrozen: layers that are trained in addition to the adapters, because the preset has no
        weights for them.
      hides_padding: see `Pretrained`.
    """
    names = check_targets(targets)
    if lora_rank < 0 or not lora_alpha > 0:
        raise ValueError(f"Expected {lora_rank=} >= 0 and {lora_alpha=} > 0.")
    adapters = []
    if lora_rank:
        frozen = task.backbone if unfrozen else task
        frozen.trainable = False
        kernels = target_kernels(task.backbone.variables, names)
        adapters = [Adapter(k, lora_rank, lora_alpha, train_a=train_a) for k in kernels]
    ids = keras.Input((seq_len,), dtype="int32", name="ids")
    return keras.Model(ids, Pretrained(task, preset, adapters, hides_padding=hides_padding)(ids))


def pretrained_part(model: keras.Model) -> Pretrained | None:
    """Returns the pretrained layer of a model; None if it has none."""
    last = model.layers[-1]
    return last if isinstance(last, Pretrained) else None


class PretrainedSteps:
    """Reads a causal model of KerasHub one symbol at a time, by KerasHub's own cache.

    A state is (place, cache): the number of symbols read, and keys and values (1, layers, 2, limit,
    heads, size).

    Args:
      pretrained: of a causal model.
      limit: symbols that a state can hold: seq_len.

    Attributes:
      count: symbols read so far.
    """

    def __init__(self, pretrained: Pretrained, limit: int) -> None:
        self.count, self.limit, self._pretrained = 0, limit, pretrained
        self._run = tf.function(self._step, autograph=False)

    def start(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns an empty cache."""
        backbone = self._pretrained.task.backbone
        size = backbone.hidden_dim // backbone.num_heads
        return tf.constant(0), tf.zeros((1, backbone.num_layers, 2, self.limit, backbone.num_heads, size))

    def step(self, state: Any, symbol: int) -> tuple[npt.NDArray[np.float32], Any]:
        """Returns the logits (vocab_size,) after a symbol, and the cache with it."""
        self.count += 1
        logits, after = self._run(tf.constant([[symbol]], tf.int32), *state)
        return logits.numpy()[0, 0], after

    def _step(self, ids: tf.Tensor, place: tf.Tensor, cache: tf.Tensor) -> tuple[tf.Tensor, Any]:
        with self._pretrained.adapted():
            logits, _, after = self._pretrained.task.call_with_cache(self._pretrained.tokens(ids), cache, place)
        return reorder(logits, self._pretrained.order), (place + 1, after)
