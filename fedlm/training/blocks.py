"""What goes into a call of the compiled program, and what comes out of it (see `program.py`).

A client's batches are cut into pieces; a block is the pieces of one call, as tensors of fixed shapes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedlm.types import Batches, Seeds, TextMetrics, Weights

BLOCK = 16  # batches, and pieces, of one call


@dataclass(frozen=True)
class GlobalWeights:
    """The global weights of a message, made into tensors once for all of its clients.

    Attributes:
      arrays: as they came, in Keras order.
      tensors: the same, for the compiled program.
    """

    arrays: Weights = field(repr=False)
    tensors: list[tf.Tensor] = field(repr=False)


@dataclass(frozen=True)
class Piece:
    """Batches of one client: all of them, or as many as one call takes.

    Attributes:
      inputs, targets: (batches, batch, seq_len); a target 0 is not counted.
      seeds: of the dropout generators at the client's first step, (generators, 2).
      begins: the client begins here, from the global weights; otherwise it continues the piece before.
      scale: a_k 2**24 where the client ends here and its update is to be added; None adds nothing.
      limit: the largest |a_k 2**24 u_k| that a coordinate may have.
    """

    inputs: Batches
    targets: Batches
    seeds: Seeds
    begins: bool = True
    scale: float | None = None
    limit: float = 2.0**51

    @property
    def squared_limit(self) -> float:
        """L_k**2, up to which the squared norm of the update may go; -1 where nothing is to be added."""
        if self.scale is None:
            return -1.0
        if self.scale == 0:
            return 1e30  # adds zeros; below the largest float32, so that an infinite norm fails the check
        return min((min(self.limit, 2.0**51) / self.scale / 2) ** 2, 1e30)


@dataclass(frozen=True)
class PieceResult:
    """What one piece gave.

    Attributes:
      added: the update went into the sum.
      metrics: sums of the loss before each step of this piece.
    """

    added: bool
    metrics: TextMetrics


@dataclass(frozen=True)
class BlockResult:
    """What one call gave.

    Attributes:
      update: w_k - w of the last client, as far as it went, in Keras order.
      pieces: one result for each piece of the call.
    """

    update: list[tf.Tensor]
    pieces: list[PieceResult]


class Block(NamedTuple):
    """The pieces of one call as tensors of fixed shapes; what there is less of is filled up with zeros."""

    inputs: tf.Tensor  # (BLOCK, batch, seq_len) int32
    targets: tf.Tensor  # (BLOCK, batch, seq_len) int32
    bounds: tf.Tensor  # (BLOCK + 1,) int32; piece k has the batches bounds[k] ... bounds[k + 1] - 1
    count: tf.Tensor  # () int32, pieces
    begins: tf.Tensor  # (BLOCK,) bool
    scales: tf.Tensor  # (BLOCK,) float64
    squared_limits: tf.Tensor  # (BLOCK,) float64
    seeds: tf.Tensor  # (BLOCK, generators, 2) int32
    first: tf.Tensor  # () bool, the sum starts from zero
    rate: tf.Tensor  # () float32, learning rate
    mu: tf.Tensor  # () float32, FedProx' mu

    @classmethod
    def of(cls, pieces: Sequence[Piece], *, first: bool, rate: float, mu: float) -> "Block":
        """Returns at most BLOCK pieces with at most BLOCK batches together as tensors."""
        bounds = np.cumsum([0, *(len(p.inputs) for p in pieces)], dtype=np.int32)
        return cls(
            inputs=_filled(np.concatenate([p.inputs for p in pieces]), BLOCK),
            targets=_filled(np.concatenate([p.targets for p in pieces]), BLOCK),
            bounds=_filled(bounds, BLOCK + 1),
            count=tf.constant(np.int32(len(pieces))),
            begins=_filled(np.array([p.begins for p in pieces]), BLOCK),
            scales=_filled(np.array([p.scale or 0.0 for p in pieces]), BLOCK),
            squared_limits=_filled(np.array([p.squared_limit for p in pieces]), BLOCK),
            seeds=_filled(np.array([p.seeds for p in pieces]).astype(np.int32), BLOCK),
            first=tf.constant(first),
            rate=tf.constant(np.float32(rate)),
            mu=tf.constant(np.float32(mu)),
        )

    @classmethod
    def signature(cls, ids: tuple[int, int], generators: int) -> "Block":
        """Returns the shapes and types, for ids (batch, seq_len) and that many dropout generators."""
        return cls(
            inputs=tf.TensorSpec((BLOCK, *ids), tf.int32),
            targets=tf.TensorSpec((BLOCK, *ids), tf.int32),
            bounds=tf.TensorSpec((BLOCK + 1,), tf.int32),
            count=tf.TensorSpec((), tf.int32),
            begins=tf.TensorSpec((BLOCK,), tf.bool),
            scales=tf.TensorSpec((BLOCK,), tf.float64),
            squared_limits=tf.TensorSpec((BLOCK,), tf.float64),
            seeds=tf.TensorSpec((BLOCK, generators, 2), tf.int32),
            first=tf.TensorSpec((), tf.bool),
            rate=tf.TensorSpec((), tf.float32),
            mu=tf.TensorSpec((), tf.float32),
        )


class Figures(NamedTuple):
    """What the graph notes of each piece."""

    added: tf.Tensor  # (BLOCK,) bool
    losses: tf.Tensor  # (BLOCK,) float64, in nats
    counts: tf.Tensor  # (BLOCK, 3) int64: correct, tokens, characters

    @classmethod
    def zeros(cls) -> "Figures":
        """Returns the figures before any piece."""
        return cls(tf.zeros(BLOCK, tf.bool), tf.zeros(BLOCK, tf.float64), tf.zeros((BLOCK, 3), tf.int64))


RunBlock = Callable[..., BlockResult]
"""`TrainingProgram.run` from given global weights, at a round's learning rate: takes pieces, and `first=`."""


def _filled(values: npt.NDArray[Any], size: int) -> tf.Tensor:
    """Returns an array (n, ...) as a tensor (size, ...), filled up with zeros."""
    filled = np.zeros((size, *values.shape[1:]), values.dtype)
    filled[: len(values)] = values
    return tf.constant(filled)
