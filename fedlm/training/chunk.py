"""The clients of a chunk: each is trained from the global weights, and their updates are summed exactly."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedlm.aggregation.exact import LIMIT, SCALE, ExactSum
from fedlm.training import program
from fedlm.training.program import Piece
from fedlm.training.trainer import LocalTrainer
from fedlm.types import TextMetrics, Weights


@dataclass(frozen=True)
class Shard:
    """One client of a chunk.

    Attributes:
      documents: its training text.
      seed: of its `default_rng`: (seed, purpose, round, client).
      weight: its whole-number weight.
    """

    documents: list[str] = field(repr=False)
    seed: Sequence[int]
    weight: int


def train_chunk(
    trainer: LocalTrainer,
    weights: Weights,
    shards: Iterable[Shard],
    cohort_size: int,
    server_round: int = 1,
    proximal_mu: float | None = None,
) -> tuple[ExactSum, TextMetrics]:
    """Trains clients from the global weights.

    Args:
      trainer: of the run's configuration.
      weights: global weights; not modified.
      shards: the clients, opened one after the other.
      cohort_size: clients drawn this round, see `ExactSum.add`.
      server_round, proximal_mu: see `LocalTrainer.train`.

    Returns:
      The exact sum of the updates, and the sums of the training loss of the clients in it: what `LocalTrainer.train` and
      `ExactSum.add` give client by client, with the same bits of the sum.
    """
    if trainer.config.client_patience:  # a client may end early
        total, metrics, apart = ExactSum.zeros_like(weights), TextMetrics(), shards
    else:
        total, metrics, apart = _train_together(trainer, weights, shards, cohort_size, server_round, proximal_mu)
    for shard in apart:
        rng = np.random.default_rng(shard.seed)
        update, figures = trainer.train(weights, shard.documents, rng, server_round, proximal_mu)
        if total.add(update, shard.weight, cohort_size):
            metrics += figures
    return total, metrics


def _train_together(
    trainer: LocalTrainer,
    weights: Weights,
    shards: Iterable[Shard],
    cohort_size: int,
    server_round: int,
    proximal_mu: float | None,
) -> tuple[ExactSum, TextMetrics, Iterable[Shard]]:
    """Returns the sum, the figures of the clients in it, and clients whose update may not go into it."""
    total, metrics, own, apart = ExactSum(()), TextMetrics(), TextMetrics(), list[Shard]()
    step, limit = trainer.steps_from(weights, server_round, proximal_mu), float(LIMIT // max(cohort_size, 1))
    first = True
    for block in _blocks(trainer, shards, limit):
        _, told = step([piece for _, piece in block], first=first)
        for (shard, piece), (added, figures) in zip(block, told, strict=True):
            own = figures if piece.begins else own + figures
            if added:
                metrics += own
                total.weight += shard.weight
                total.clients += 1
            elif piece.scale is not None:
                apart.append(shard)
        first = False
    total.sums = ExactSum.zeros_like(weights).sums if first else trainer.update_sums
    if apart:  # something may be added yet, and the program's own arrays are not to be written
        total.sums = tuple(s.copy() for s in total.sums)
    return total, metrics, apart


def _blocks(trainer: LocalTrainer, shards: Iterable[Shard], limit: float) -> Iterator[list[tuple[Shard, Piece]]]:
    """Yields the clients' batches by as many as a call of the compiled program takes; a long client is cut."""
    block, room = list[tuple[Shard, Piece]](), program.BLOCK
    for shard in shards:
        inputs, targets, seeds = trainer.batches_of(shard.documents, np.random.default_rng(shard.seed))
        at, begins = 0, True
        while begins or at < len(inputs):
            until = min(at + room, len(inputs))
            scale = shard.weight * SCALE if until == len(inputs) else None
            block.append((shard, Piece(inputs[at:until], targets[at:until], seeds, begins, scale, limit)))
            at, begins, room = until, False, room - (until - at)
            if room == 0 or len(block) == program.BLOCK:
                yield block
                block, room = [], program.BLOCK
    if block:
        yield block
