"""Clients in turn, and the exact sum of their updates: one compiled graph a process.

A client costs its steps and a few passes over the weights. As a call of its own, with its update as an array and the sum outside, it
would cost 6 ms more (2 x 256 units). The sum has the bits of `fedlm.aggregation.exact.ExactSum.add`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedlm.layers.device import compiled
from fedlm.training.step import OptimizerStep
from fedlm.types import Batches, IntSums, Seeds, TextMetrics

BLOCK = 16  # batches that one call of the graph can take

# In [2**52, 2**53) doubles are the whole numbers, in the order of their bits: adding this rounds half to even, and makes an integer
# of a double at a third of what a conversion costs.
_WHOLE = 1.5 * 2.0**52
_WHOLE_BITS = int(np.float64(_WHOLE).view(np.int64))


@dataclass(frozen=True)
class Piece:
    """Batches of one client: all of them, or those that one call takes.

    Attributes:
      inputs, targets: (batches, batch, seq_len); a target 0 is not counted.
      seeds: of dropout, for the client's first step, (generators, 2).
      begins: the client begins here, at the global weights with an optimizer that remembers nothing; otherwise it goes on.
      scale: what its update is multiplied by in the sum; None adds nothing, because more of it comes or it is not wanted.
      limit: what a coordinate of the update times `scale` may be.
    """

    inputs: Batches
    targets: Batches
    seeds: Seeds
    begins: bool = True
    scale: float | None = None
    limit: float = 2.0**51

    @property
    def longest(self) -> float:
        """The square of the norm up to which an update is added: no coordinate is longer, and half leaves room for rounding."""
        if self.scale is None:
            return -1.0
        return min((min(self.limit, 2.0**51) / self.scale / 2) ** 2 if self.scale else np.inf, 1e30)


class TrainingSteps:
    """Steps on the batches of clients.

    Args:
      step: one of them.
    """

    def __init__(self, step: OptimizerStep) -> None:
        self._step = step
        self._totals = [tf.Variable(tf.zeros(v.shape, tf.int64)) for v in step.variables]
        self._graphs: dict[bool, Any] = {}

    def run(
        self, start: Sequence[tf.Tensor], pieces: Sequence[Piece], *, first: bool = False, rate: float, mu: float
    ) -> tuple[list[tf.Tensor], list[tuple[bool, TextMetrics]]]:
        """Makes a step on each batch, and adds the updates of clients to the sum.

        Args:
          start: the global weights, where a client begins and which FedProx' term pulls to.
          pieces: of clients, at most BLOCK with together at most BLOCK batches.
          first: the sum begins anew.
          rate: learning rate.
          mu: FedProx' mu, 0 without the term.

        Returns:
          The way from `start` of the last client, and for each piece whether an update was added and the sums of the loss
          before each step. Besides pieces without a scale, an update that is not finite or may be too large is not added.
        """
        rows, nexts = (_filled(np.concatenate([getattr(p, part) for p in pieces])) for part in ("inputs", "targets"))
        bounds = np.cumsum([0, *(len(p.inputs) for p in pieces)], dtype=np.int32)
        moved, added, losses, counts = self._graph(proximal=mu > 0)(
            start,
            *map(tf.constant, (rows, nexts, _filled(bounds, BLOCK + 1), np.int32(len(pieces)))),
            tf.constant(_filled(np.array([p.begins for p in pieces]))),
            tf.constant(_filled(np.array([p.scale or 0.0 for p in pieces]))),
            tf.constant(_filled(np.array([p.longest for p in pieces]))),
            tf.constant(_filled(np.array([p.seeds for p in pieces]).astype(np.int32))),
            *map(tf.constant, (first, np.float32(rate), np.float32(mu))),
        )
        told = zip(np.asarray(added), np.asarray(losses), np.asarray(counts), strict=True)
        return moved, [(bool(a), TextMetrics(float(loss), *map(int, n))) for a, loss, n in told][: len(pieces)]

    @property
    def sums(self) -> IntSums:
        """The sum of the updates added since the last `first`."""
        return tuple(np.asarray(t.value()) for t in self._totals)  # not `numpy()`, which copies

    def _graph(self, *, proximal: bool) -> Any:
        """Returns the graph of a call, with FedProx' term or without; each is compiled once."""
        if proximal not in self._graphs:
            ids, generators = tf.TensorSpec((BLOCK, *self._step.shape), tf.int32), len(self._step.seeds)
            graph = compiled(
                partial(self._clients, proximal),
                [
                    [tf.TensorSpec(v.shape, v.dtype) for v in self._step.variables],
                    ids,
                    ids,
                    tf.TensorSpec((BLOCK + 1,), tf.int32),
                    tf.TensorSpec((), tf.int32),
                    *(tf.TensorSpec((BLOCK,), kind) for kind in (tf.bool, tf.float64, tf.float64)),
                    tf.TensorSpec((BLOCK, generators, 2), tf.int32),
                    *(tf.TensorSpec((), kind) for kind in (tf.bool, tf.float32, tf.float32)),
                ],
            )
            self._graphs[proximal] = graph.get_concrete_function()  # finding it again costs 0.7 ms a call
        return self._graphs[proximal]

    def _clients(
        self,
        proximal: bool,
        start: list[tf.Tensor],
        inputs: tf.Tensor,
        targets: tf.Tensor,
        bounds: tf.Tensor,
        count: tf.Tensor,
        begins: tf.Tensor,
        scales: tf.Tensor,
        longest: tf.Tensor,
        seeds: tf.Tensor,
        first: tf.Tensor,
        rate: tf.Tensor,
        mu: tf.Tensor,
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor, tf.Tensor]:
        """Steps on the batches of the first `count` pieces; returns what `run` does, for all BLOCK."""
        _if(first, lambda: [t.assign(tf.zeros_like(t)) for t in self._totals])
        anchors, places = start if proximal else None, tf.range(BLOCK)

        def step(at: tf.Tensor, loss_sum: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            loss, seen = self._step(anchors, inputs[at], targets[at], rate, mu)
            return at + 1, loss_sum + tf.cast(loss, tf.float64), counts + seen

        def client(at: tf.Tensor, added: tf.Tensor, losses: tf.Tensor, counts: tf.Tensor) -> Any:
            self._step.begin(start, seeds[at], begins[at])
            nothing = (bounds[at], tf.constant(0, tf.float64), tf.zeros(3, tf.int64))
            _, loss, seen = _loop(lambda batch, *_: batch < bounds[at + 1], step, nothing)
            norm = tf.cast(self._step.squared_norm(start), tf.float64)
            adds, here = norm <= longest[at], places == at  # NaN compares false
            _if(adds, lambda: self._add(self._step.moved(start), scales[at]))
            kept = tf.where(here, adds, added), tf.where(here, loss, losses), tf.where(here[:, None], seen, counts)
            return at + 1, *kept

        begin = (tf.constant(0), tf.zeros(BLOCK, tf.bool), tf.zeros(BLOCK, tf.float64), tf.zeros((BLOCK, 3), tf.int64))
        _, added, losses, counts = _loop(lambda at, *_: at < count, client, begin)
        return self._step.moved(start), added, losses, counts

    def _add(self, moved: list[tf.Tensor], scale: tf.Tensor) -> None:
        """Adds rint(scale * moved)."""
        for total, m in zip(self._totals, moved, strict=True):
            total.assign_add(tf.bitcast(tf.cast(m, tf.float64) * scale + _WHOLE, tf.int64) - _WHOLE_BITS)


def _if(condition: tf.Tensor, body: Any) -> None:
    """Runs what changes variables, or does not; XLA copies them for a `cond`, and not for a loop of one turn or none."""
    turns = tf.cast(condition, tf.int32)

    def once(turn: tf.Tensor) -> tuple[tf.Tensor]:
        body()
        return (turn + 1,)

    _loop(lambda turn: turn < turns, once, (tf.constant(0),))


def _loop(condition: Any, body: Any, start: Any) -> Any:
    return tf.while_loop(condition, body, start, parallel_iterations=1)


def _filled(values: npt.NDArray[Any], size: int = 0) -> npt.NDArray[Any]:
    """Returns an array filled up with zeros to BLOCK, or `size`."""
    filled = np.zeros((size or BLOCK, *values.shape[1:]), values.dtype)
    filled[: len(values)] = values
    return filled
