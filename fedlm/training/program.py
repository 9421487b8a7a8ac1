"""The compiled program of local training: clients in turn, and the exact sum of their updates.

For each client k of a chunk, with the global weights w, its batches b_1 ... b_n and an optimizer
step S on a fresh state:

  w_k = S(... S(S(w, b_1), b_2) ..., b_n)                 float32
  u_k = w_k - w                                           the update, float32
  T  += rint(a_k 2**24 u_k)    if |u_k|**2 <= L_k**2      int64; a_k is the client's weight, a whole number

Why one program. A client costs its steps and three passes over the weights: begin, norm, sum. With
a call of its own, its update as an array and the sum outside, it would cost 6 ms more (2 x 256
units). A client may have any number of batches, so a call takes up to BLOCK batches of one or
several clients (pieces), and a longer client continues in the next call.

Where arrays lie. Weights, optimizer state, dropout seeds and the sums T are TensorFlow variables
that stay between calls. A call brings w (tensors that are made once a message) and a `Block` of
ids. Only the last update, losses and counts return.

Why T has the bits of `fedlm.aggregation.exact.ExactSum.add`:

  1. x = a_k 2**24 u_k is taken in float64, where the product is exact: u_k has 24 bits, a_k fewer
     than 29.
  2. |x| < 2**51 after the check below, so x + 1.5 * 2**52 lies in [2**52, 2**53). There float64
     holds exactly the whole numbers. So the addition itself rounds x to a whole number, half to
     even, as rint does; and the bits of these numbers, read as int64, count upwards by one.
     Subtracting the bits of 1.5 * 2**52 leaves rint(x), at a third of what a cast costs.
  3. Integers are added, in any order.

The check: no coordinate is longer than the norm, so |u_k| <= L_k = limit / (2 a_k 2**24) keeps all
|x| within half of `limit`; the other half covers the rounding of the norm, a float32. The check
refuses some updates that `ExactSum.add` would take. `chunk.py` trains those clients again and lets
`ExactSum.add` decide, coordinate by coordinate.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedlm.layers.device import compiled
from fedlm.training import blocks
from fedlm.training.blocks import Block, BlockResult, Figures, Piece, PieceResult
from fedlm.training.step import OptimizerStep
from fedlm.types import IntSums, TextMetrics

_WHOLE = 1.5 * 2.0**52  # see 2. above
_WHOLE_BITS = int(np.float64(_WHOLE).view(np.int64))


class TrainingProgram:
    """Trains blocks of clients, and sums their updates.

    Args:
      step: one optimizer step of the model.
    """

    def __init__(self, step: OptimizerStep) -> None:
        self._step = step
        self._sums = [tf.Variable(tf.zeros(v.shape, tf.int64)) for v in step.variables]
        self._graphs: dict[bool, Any] = {}

    def run(
        self, start: Sequence[tf.Tensor], pieces: Sequence[Piece], *, first: bool = False, rate: float, mu: float
    ) -> BlockResult:
        """Makes a step on each batch, and adds the updates of the clients that end here.

        Args:
          start: the global weights w, in Keras order.
          pieces: at most BLOCK, with at most BLOCK batches together.
          first: the sum starts from zero.
          rate: learning rate.
          mu: FedProx' mu; 0 leaves its term out.
        """
        block = Block.of(pieces, first=first, rate=rate, mu=mu)
        update, figures = self._graph(proximal=mu > 0)(start, block)
        noted = zip(*(np.asarray(f)[: len(pieces)] for f in figures), strict=True)
        results = [PieceResult(bool(a), TextMetrics(float(loss), *map(int, counts))) for a, loss, counts in noted]
        return BlockResult(update, results)

    @property
    def sums(self) -> IntSums:
        """The sum T of the updates added since the last `first`; not to be changed in place."""
        return tuple(np.asarray(t.value()) for t in self._sums)  # not `numpy()`, which copies

    def _graph(self, *, proximal: bool) -> Callable[..., tuple[list[tf.Tensor], Figures]]:
        """Returns the graph with FedProx' term or without it; each is compiled once a process."""
        if proximal not in self._graphs:

            def train(start: list[tf.Tensor], block: Block) -> tuple[list[tf.Tensor], Figures]:
                return self._train_block(start, block, proximal=proximal)

            weights = [tf.TensorSpec(v.shape, v.dtype) for v in self._step.variables]
            signature = Block.signature(self._step.shape, len(self._step.seeds))
            graph = compiled(train, [weights, signature])
            self._graphs[proximal] = graph.get_concrete_function()  # looking it up costs 0.7 ms per call
        found: Callable[..., tuple[list[tf.Tensor], Figures]] = self._graphs[proximal]
        return found

    # What follows is traced into the graph.

    def _train_block(self, start: list[tf.Tensor], block: Block, *, proximal: bool) -> tuple[list[tf.Tensor], Figures]:
        """Trains the first `count` pieces; returns the last update, and figures for all BLOCK."""
        _if(block.first, lambda: [total.assign(tf.zeros_like(total)) for total in self._sums])
        places = tf.range(blocks.BLOCK)

        def piece(k: tf.Tensor, figures: Figures) -> tuple[tf.Tensor, Figures]:
            self._step.begin(start, block.seeds[k], block.begins[k])
            loss, counts = self._train_piece(start, block, k, proximal=proximal)
            adds = self._add_update(start, block, k)
            here = places == k
            return k + 1, Figures(
                added=tf.where(here, adds, figures.added),
                losses=tf.where(here, loss, figures.losses),
                counts=tf.where(here[:, None], counts, figures.counts),
            )

        _, figures = _loop(lambda k, _: k < block.count, piece, (tf.constant(0), Figures.zeros()))
        return self._step.moved(start), figures

    def _train_piece(
        self, start: list[tf.Tensor], block: Block, k: tf.Tensor, *, proximal: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes a step on each batch of piece k; returns its loss () float64 and counts (3,) int64."""
        anchors = start if proximal else None  # FedProx pulls towards w

        def step(batch: tf.Tensor, loss_sum: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            loss, seen = self._step(anchors, block.inputs[batch], block.targets[batch], block.rate, block.mu)
            return batch + 1, loss_sum + tf.cast(loss, tf.float64), counts + seen

        nothing = (block.bounds[k], tf.constant(0, tf.float64), tf.zeros(3, tf.int64))
        _, loss_sum, counts = _loop(lambda batch, *_: batch < block.bounds[k + 1], step, nothing)
        return loss_sum, counts

    def _add_update(self, start: list[tf.Tensor], block: Block, k: tf.Tensor) -> tf.Tensor:
        """Adds rint(scale u_k) to the sums if u_k passes the check; returns whether it did, () bool."""
        squared_norm = tf.cast(self._step.squared_norm(start), tf.float64)
        passes = squared_norm <= block.squared_limits[k]  # NaN compares false

        def add() -> None:
            for total, u in zip(self._sums, self._step.moved(start), strict=True):
                shifted = tf.cast(u, tf.float64) * block.scales[k] + _WHOLE
                total.assign_add(tf.bitcast(shifted, tf.int64) - _WHOLE_BITS)

        _if(passes, add)
        return passes


def _if(condition: tf.Tensor, body: Callable[[], Any]) -> None:
    """Runs a body that changes variables, or does not run it.

    A loop of one turn or none: for a `tf.cond` XLA would copy the variables, 7 MB of sums a client.
    """
    turns = tf.cast(condition, tf.int32)

    def once(turn: tf.Tensor) -> tuple[tf.Tensor]:
        body()
        return (turn + 1,)

    _loop(lambda turn: turn < turns, once, (tf.constant(0),))


def _loop(condition: Callable[..., tf.Tensor], body: Callable[..., Any], start: Any) -> Any:
    return tf.while_loop(condition, body, start, parallel_iterations=1)
