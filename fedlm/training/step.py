"""One optimizer step on a model's variables, and what begins and ends a client; parts of a graph."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from fedlm.layers.kernels.custom_call import serve, squared_distance
from fedlm.layers.loss import cross_entropy, is_first_guess
from fedlm.training.optimizers import ClientOptimizer


@dataclass(frozen=True)
class Objective:
    """What a step makes smaller besides the loss: `l1` and `l2` times the kernels' norms, targets smoothed by a share."""

    l1: float
    l2: float
    label_smoothing: float


class OptimizerStep:
    """A step on a model's trainable variables.

    Args:
      model: gives logits (batch, seq_len, vocab_size).
      optimizer: of its trainable variables.
      objective: penalties and smoothing.
      shape: (batch, seq_len).
      characters: how many each symbol stands for, (vocab_size,).

    Attributes:
      traces: how often a step was compiled.
      variables: what is trained.
      seeds: the states of the model's dropout generators, (2,) each.
      shape: (batch, seq_len).
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: ClientOptimizer,
        objective: Objective,
        shape: tuple[int, int],
        characters: tf.Tensor,
    ) -> None:
        self.traces = 0
        self._model, self._optimizer, self._objective = model, optimizer, objective
        self.shape, self._characters = shape, characters
        self.variables: Sequence[keras.Variable] = model.trainable_variables
        self.seeds: Sequence[keras.Variable] = [v for v in model.variables if "seed_generator" in v.path]

    def begin(self, start: Sequence[tf.Tensor], seeds: tf.Tensor, fresh: tf.Tensor) -> None:
        """If `fresh`, goes to `start`, takes seeds (generators, 2), and forgets the optimizer's state."""
        for variable, value in zip(self.variables, start, strict=True):
            variable.assign(tf.where(fresh, value, variable.value))
        for place, seed in enumerate(self.seeds):
            seed.assign(tf.where(fresh, tf.cast(seeds[place], seed.dtype), seed.value))
        self._optimizer.reset(fresh)

    def moved(self, start: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the way from `start`."""
        return [v.value - s for v, s in zip(self.variables, start, strict=True)]

    def squared_norm(self, start: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the sum of the squares of `moved`."""
        pairs = [(tf.convert_to_tensor(v.value), s) for v, s in zip(self.variables, start, strict=True)]
        if all(serve(*pair) for pair in pairs):
            return tf.add_n([squared_distance(*pair) for pair in pairs])
        # A product: sums of squares take XLA three times as long.
        flat = [tf.reshape(m, (1, -1)) for m in self.moved(start)]
        return tf.add_n([tf.matmul(f, f, transpose_b=True)[0, 0] for f in flat])

    def __call__(
        self,
        anchors: Sequence[tf.Tensor] | None,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        rate: tf.Tensor,
        mu: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One optimizer step on one batch, (batch, seq_len).

        The loss is the sum over real targets divided by batch * seq_len, as in the published setting: a batch that is
        mostly padding takes a small step, not a noisy one.
        """
        self.traces += 1
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)
            loss, seen = token_sums(logits, targets, self._characters)
            objective = self._smoothed(loss, logits, targets) / float(math.prod(self.shape))
            objective += self._penalty()
            if anchors is not None:
                distances = [tf.nn.l2_loss(v - a) for v, a in zip(self.variables, anchors, strict=True)]
                objective += mu * tf.add_n(distances)
        self._optimizer.apply(tape.gradient(objective, [v.value for v in self.variables]), rate)
        return loss, seen

    def _smoothed(self, loss: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Returns the loss sum against targets mixed with the uniform distribution (Szegedy et al. 2016)."""
        share = self._objective.label_smoothing
        if not share:
            return loss
        uniform = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
        return (1 - share) * loss + share * tf.reduce_sum(tf.where(targets > 0, uniform, 0.0))

    def _penalty(self) -> tf.Tensor | float:
        l1, l2 = self._objective.l1, self._objective.l2
        kernels: Sequence[tf.Tensor] = [v.value for v in self.variables if v.name.endswith("kernel")]
        penalty = l1 * tf.add_n([tf.reduce_sum(tf.abs(k)) for k in kernels]) if l1 else 0.0
        if l2:
            penalty += l2 * tf.add_n([tf.reduce_sum(k * k) for k in kernels])
        return penalty


def token_sums(
    logits: tf.Tensor, targets: tf.Tensor, characters: tf.Tensor, axis: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the loss sum in nats (float32) and [correct, tokens, characters] (int64), of a batch or (-1) of each row."""
    mask = targets > 0
    losses = cross_entropy(logits, targets)
    correct = is_first_guess(logits, targets) & mask
    spanned = tf.where(mask, tf.gather(characters, targets), 0)
    counts = [tf.reduce_sum(tf.cast(m, tf.int64), axis) for m in (correct, mask, spanned)]
    return tf.reduce_sum(tf.where(mask, losses, 0.0), axis), tf.stack(counts, -1)
