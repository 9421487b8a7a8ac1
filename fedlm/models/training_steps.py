"""A client's optimizer steps: one compiled graph a process that loops over fixed (batch, sequence) shapes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedlm.models.cross_entropy import cross_entropy, is_first_guess
from fedlm.models.device import on_cpu
from fedlm.models.optimizers import ClientOptimizer
from fedlm.types import TextMetrics, Weights

Batches = npt.NDArray[np.int32]
BLOCK = 16  # batches that one call of the graph can take


@dataclass(frozen=True)
class Objective:
    """What a step makes smaller besides the loss: `l1` and `l2` times the kernels' norms, targets smoothed by a share."""

    l1: float
    l2: float
    label_smoothing: float


class TrainingSteps:
    """Steps on a model's variables.

    Args:
      model: gives logits (batch, seq_len, vocab_size).
      optimizer: of its trainable variables.
      objective: penalties and smoothing.
      shape: (batch, seq_len).
      characters: how many each symbol stands for, (vocab_size,).

    Attributes:
      traces: how often a step was compiled.
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
        self._shape, self._characters = shape, characters
        self._variables = model.trainable_variables
        self._graphs: dict[bool, Any] = {}

    def run(
        self, start: Sequence[tf.Tensor], inputs: Batches, targets: Batches, *, fresh: bool, rate: float, mu: float
    ) -> tuple[Weights, TextMetrics]:
        """Makes a step on each batch, (batches, batch, seq_len).

        Args:
          start: the global weights, where a client begins and which FedProx' term pulls to.
          inputs: symbols.
          targets: the symbols that follow; 0 is not counted.
          fresh: begins at `start`, with an optimizer that remembers nothing; otherwise goes on.
          rate: learning rate.
          mu: FedProx' mu, 0 without the term.

        Returns:
          The weights' way from `start`, and the sums of the loss before each step.
        """
        graph, moved = self._graph(proximal=mu > 0), list[tf.Tensor]()
        numbers = (tf.constant(rate, tf.float32), tf.constant(mu, tf.float32))
        seen = [tf.constant(0, tf.float64), tf.zeros(3, tf.int64)]
        for at in range(0, max(len(inputs), 1), BLOCK):
            rows, nexts = (tf.constant(_block(part[at : at + BLOCK])) for part in (inputs, targets))
            count = tf.constant(len(inputs[at : at + BLOCK]))
            moved, *seen = graph(start, rows, nexts, count, *numbers, tf.constant(fresh and at == 0), *seen)
        loss, counts = (np.asarray(s) for s in seen)
        update = tuple(np.asarray(m) for m in moved)  # not `numpy()`, which copies
        return update, TextMetrics(float(loss), *map(int, counts))

    def _graph(self, *, proximal: bool) -> Any:
        """Returns the graph of a block, with FedProx' term or without; each is compiled once."""
        if proximal not in self._graphs:
            start = [tf.TensorSpec(v.shape, v.dtype) for v in self._variables]
            ids = tf.TensorSpec((BLOCK, *self._shape), tf.int32)
            kinds = (tf.int32, tf.float32, tf.float32, tf.bool, tf.float64)
            numbers = [tf.TensorSpec((), kind) for kind in kinds]
            graph = tf.function(
                partial(self._steps, proximal),
                input_signature=[start, ids, ids, *numbers, tf.TensorSpec((3,), tf.int64)],
                jit_compile=on_cpu(),
                autograph=False,  # AutoGraph would write source files into TMPDIR
            )
            self._graphs[proximal] = graph.get_concrete_function()  # finding it again costs 0.7 ms a call
        return self._graphs[proximal]

    def _steps(
        self,
        proximal: bool,
        start: list[tf.Tensor],
        inputs: tf.Tensor,
        targets: tf.Tensor,
        count: tf.Tensor,
        rate: tf.Tensor,
        mu: tf.Tensor,
        fresh: tf.Tensor,
        loss_sum: tf.Tensor,
        counts: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Steps on the first `count` batches of a block; returns the way from `start` and the sums."""
        for variable, value in zip(self._variables, start, strict=True):
            variable.assign(tf.where(fresh, value, variable.value))
        self._optimizer.reset(fresh)
        anchors = start if proximal else None

        def one(at: tf.Tensor, loss_sum: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            loss, seen = self._step(anchors, inputs[at], targets[at], rate, mu)
            return at + 1, loss_sum + tf.cast(loss, tf.float64), counts + seen

        begin = (tf.constant(0), loss_sum, counts)
        _, loss_sum, counts = tf.while_loop(lambda at, *_: at < count, one, begin, parallel_iterations=1)
        return [v.value - s for v, s in zip(self._variables, start, strict=True)], loss_sum, counts

    def _step(
        self,
        anchors: list[tf.Tensor] | None,
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
            objective = self._smoothed(loss, logits, targets) / float(math.prod(self._shape))
            objective += self._penalty()
            if anchors is not None:
                distances = [tf.nn.l2_loss(v - a) for v, a in zip(self._variables, anchors, strict=True)]
                objective += mu * tf.add_n(distances)
        self._optimizer.apply(tape.gradient(objective, [v.value for v in self._variables]), rate)
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
        kernels: Sequence[tf.Tensor] = [v.value for v in self._variables if v.name.endswith("kernel")]
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


def _block(batches: Batches) -> Batches:
    block = np.zeros((BLOCK, *batches.shape[1:]), np.int32)
    block[: len(batches)] = batches
    return block
