"""One optimizer step on a model's variables, and the beginning and end of a client; parts of a graph.

A step minimises, over a batch with targets y > 0 (0 is padding), smoothing s and global weights w_0:

  sum over targets of [(1 - s) CE(logits, y) + s mean_j CE(logits, j)] / (batch * seq_len)
    + l1 sum |k| + l2 sum k**2              over the kernels k
    + mu / 2 |w - w_0|**2                   FedProx, Li et al. 2020, https://arxiv.org/abs/1812.06127
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from fedlm.layers.kernels.custom_call import serve, squared_distance
from fedlm.layers.loss import cross_entropy, is_first_guess
from fedlm.text.vocabulary import UNKNOWN
from fedlm.training.optimizers import ClientOptimizer


@dataclass(frozen=True)
class Objective:
    """What a step minimises besides the cross-entropy.

    Attributes:
      l1: times the sum of |k| over the kernels.
      l2: times the sum of k**2 over the kernels.
      label_smoothing: share s of the uniform distribution in the targets.
    """

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
      characters: how many characters each symbol stands for, (vocab_size,).

    Attributes:
      traces: how often a step was traced for compilation.
      variables: the trained ones.
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
        """Begins a client if `fresh`, () bool; otherwise changes nothing.

        The variables become `start`, the dropout generators get their seeds (generators, 2), the
        optimizer's state is reset.
        """
        for variable, value in zip(self.variables, start, strict=True):
            variable.assign(tf.where(fresh, value, variable.value))
        for place, seed in enumerate(self.seeds):
            seed.assign(tf.where(fresh, tf.cast(seeds[place], seed.dtype), seed.value))
        self._optimizer.reset(fresh)

    def moved(self, start: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the update: the variables minus `start`."""
        return [v.value - s for v, s in zip(self.variables, start, strict=True)]

    def squared_norm(self, start: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the squared L2 norm of the update, all variables together, () float32."""
        pairs = [(tf.convert_to_tensor(v.value), s) for v, s in zip(self.variables, start, strict=True)]
        if all(serve(*pair) for pair in pairs):
            return tf.add_n([squared_distance(*pair) for pair in pairs])
        # u u^T as a matrix product: XLA takes three times as long for a sum of squares.
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
        """Makes one optimizer step on one batch.

        The loss is divided by batch * seq_len, not by the number of targets, as in the published
        setting (Reddi et al. 2021): a batch that is mostly padding takes a small step, not a noisy
        one.

        Args:
          anchors: the global weights that FedProx' term pulls to; None leaves it out.
          inputs, targets: (batch, seq_len) int32; a target 0 is not counted.
          rate, mu: learning rate and FedProx' mu, () float32.

        Returns:
          The loss sum in nats before the step, () float32, and [correct, tokens, characters], (3,)
          int64.
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
        """Returns the loss sum against targets mixed with the uniform distribution.

        Szegedy et al. 2016, section 7, https://arxiv.org/abs/1512.00567. mean_j CE(logits, j) =
        logsumexp - mean.
        """
        share = self._objective.label_smoothing
        if not share:
            return loss
        uniform = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
        return (1 - share) * loss + share * tf.reduce_sum(tf.where(targets > 0, uniform, 0.0))

    def _penalty(self) -> tf.Tensor | float:
        """Returns l1 sum |k| + l2 sum k**2 over the kernels; biases and embeddings are not pulled."""
        l1, l2 = self._objective.l1, self._objective.l2
        kernels: Sequence[tf.Tensor] = [v.value for v in self.variables if v.name.endswith("kernel")]
        penalty = l1 * tf.add_n([tf.reduce_sum(tf.abs(k)) for k in kernels]) if l1 else 0.0
        if l2:
            penalty += l2 * tf.add_n([tf.reduce_sum(k * k) for k in kernels])
        return penalty


def token_sums(
    logits: tf.Tensor, targets: tf.Tensor, characters: tf.Tensor, axis: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the loss sum in nats (float32) and [correct, tokens, characters] (int64); UNKNOWN is never correct.

    Args:
      logits: (batch, seq_len, vocab_size).
      targets: (batch, seq_len); 0 is not counted.
      characters: how many characters each symbol stands for, (vocab_size,).
      axis: None sums over the batch, () and (3,); -1 over each row, (batch,) and (batch, 3).
    """
    mask = targets > 0
    losses = cross_entropy(logits, targets)
    correct = is_first_guess(logits, targets) & mask & (targets != UNKNOWN)
    spanned = tf.where(mask, tf.gather(characters, targets), 0)
    counts = [tf.reduce_sum(tf.cast(m, tf.int64), axis) for m in (correct, mask, spanned)]
    return tf.reduce_sum(tf.where(mask, losses, 0.0), axis), tf.stack(counts, -1)
