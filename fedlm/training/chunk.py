"""The clients of a chunk: each is trained from the global weights, and their updates are summed exactly.

Clients whose local rule is fixed steps go through the compiled program together, up to BLOCK
batches a call (`program.py`). Two kinds of clients are trained one by one instead, with
`LocalTrainer.train` and `ExactSum.add`: all of them, where a client may stop early; and those whose
update the program's check refused, since `ExactSum.add` looks closer. Sums are the same bits either
way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from fedlm.aggregation.exact import LIMIT, SCALE, ExactSum
from fedlm.rng import Purpose, Stream
from fedlm.spec import Spec
from fedlm.training import blocks
from fedlm.training.batches import PreparedClient
from fedlm.training.blocks import BlockResult, GlobalWeights, Piece, RunBlock
from fedlm.training.trainer import LocalTrainer
from fedlm.types import TextMetrics, Weights

_CHARACTERS = 64  # of a client's text that are prepared for each token that it may be trained on


@dataclass(frozen=True)
class Shard:
    """One client of a chunk.

    Attributes:
      client: its training text, prepared by the trainer.
      stream: of its training in this round.
      weight: its whole-number weight in the sum.
    """

    client: PreparedClient
    stream: Stream
    weight: int

    @classmethod
    def of(cls, trainer: LocalTrainer, documents: list[str], stream: Stream) -> Self:
        """Prepares a client's text for training, and weighs the client as the run's configuration says."""
        config = trainer.config
        prepared = trainer.prepare(usable(documents, config.max_client_tokens, stream))
        most = config.max_client_tokens or prepared.num_tokens
        return cls(prepared, stream, client_weight(config.spec("weighting"), min(prepared.num_tokens, most)))

    @property
    def rng(self) -> np.random.Generator:
        """The client's stream, from its beginning."""
        return self.stream.generator()


def usable(documents: list[str], most_tokens: int, stream: Stream) -> list[str]:
    """Returns the documents of a client, or of a very long one as much as a round can use.

    With max_client_tokens, a client of more than 64 times as many characters has its documents drawn in an order of the
    round's own until there are so many; of the last one, the beginning is kept. That bounds the work of tokenising and
    cutting rows, as the bound itself does that of training. Unsealing is not bounded: it reads the whole client.

    Args:
      documents: of one client.
      most_tokens: max_client_tokens; 0 returns all documents.
      stream: of the client's training in this round.
    """
    left = _CHARACTERS * most_tokens
    if not left or sum(len(d) + 1 for d in documents) <= left:  # a document is a row, even an empty one
        return documents
    drawn = list[str]()
    for place in replace(stream, purpose=Purpose.LONG_TEXT).generator().permutation(len(documents)):
        drawn.append(documents[place][:left])
        left -= len(documents[place]) + 1
        if left <= 0:
            break
    return drawn


def client_weight(weighting: Spec, num_tokens: int) -> int:
    """Returns a client's whole-number weight in the mean: its tokens, min(tokens, cap), or 1.

    >>> client_weight(Spec("capped", {"tokens": 100}), 250)
    100
    """
    if weighting.name == "uniform":
        return 1
    return min(num_tokens, weighting.options["tokens"]) if weighting.name == "capped" else num_tokens


def train_chunk(
    trainer: LocalTrainer,
    weights: Weights | GlobalWeights,
    shards: Iterable[Shard],
    cohort_size: int,
    server_round: int = 1,
    proximal_mu: float | None = None,
) -> tuple[ExactSum, TextMetrics]:
    """Trains clients from the global weights.

    Args:
      trainer: of the run's configuration.
      weights: global weights; not modified.
      shards: the clients, read one after the other, so that memory holds the text of a few at a time.
      cohort_size: the largest cohort, which bounds a contribution; see `ExactSum.add`.
      server_round, proximal_mu: see `LocalTrainer.train`.

    Returns:
      The exact sum of the updates, and the sums of the training loss of the clients in it.
    """
    start, config = trainer.begin(weights), trainer.config
    if config.client_patience:
        chunk = _Chunk(ExactSum.zeros_like(start.arrays), refused=shards)
    else:
        run_block = trainer.steps_from(start, server_round, proximal_mu)
        chunk = _train_together(trainer, start, run_block, shards, float(LIMIT // max(cohort_size, 1)))
    for shard in chunk.refused:
        update, metrics = trainer.train(start, shard.client, shard.rng, server_round, proximal_mu)
        if chunk.total.add(update, shard.weight, cohort_size):
            chunk.metrics += metrics
    return chunk.total, chunk.metrics


@dataclass
class _Chunk:
    """The clients summed so far.

    Attributes:
      total: their sum.
      metrics: sums of their training loss.
      refused: clients that are in neither, and are to be trained one by one.
    """

    total: ExactSum
    metrics: TextMetrics = field(default_factory=TextMetrics)
    refused: Iterable[Shard] = ()


@dataclass(frozen=True)
class _Part:
    """A piece, and the client that it belongs to."""

    shard: Shard
    piece: Piece


def _train_together(
    trainer: LocalTrainer, start: GlobalWeights, run_block: RunBlock, shards: Iterable[Shard], limit: float
) -> _Chunk:
    """Trains clients block by block; the program keeps the sums, which are read once at the end."""
    chunk, refused, own, is_first = _Chunk(ExactSum(())), list[Shard](), TextMetrics(), True
    for block in _blocks(trainer, shards, limit):
        result: BlockResult = run_block([part.piece for part in block], first=is_first)
        for part, found in zip(block, result.pieces, strict=True):
            own = found.metrics if part.piece.begins else own + found.metrics  # a long client has several pieces
            if found.added:
                chunk.metrics += own
                chunk.total.weight += part.shard.weight
                chunk.total.clients += 1
            elif part.piece.scale is not None:
                refused.append(part.shard)
        is_first = False
    chunk.total.sums = ExactSum.zeros_like(start.arrays).sums if is_first else trainer.update_sums
    if refused:  # `ExactSum.add` writes in place, and these arrays are the program's own
        chunk.total.sums = tuple(s.copy() for s in chunk.total.sums)
        chunk.refused = refused
    return chunk


def _blocks(trainer: LocalTrainer, shards: Iterable[Shard], limit: float) -> Iterator[list[_Part]]:
    """Yields the clients' batches by as many as one call takes: BLOCK pieces, and BLOCK batches together.

    A client is cut where a block is full; only its last piece has a scale, and adds its update.
    """
    block = list[_Part]()
    for shard in shards:
        inputs, targets, seeds = trainer.batches_of(shard.client, shard.rng)
        at, begins = 0, True
        while begins or at < len(inputs):  # a client without text is one piece without batches: its update is 0
            until = min(at + blocks.BLOCK - _num_batches(block), len(inputs))
            scale = shard.weight * SCALE if until == len(inputs) else None
            block.append(_Part(shard, Piece(inputs[at:until], targets[at:until], seeds, begins, scale, limit)))
            at, begins = until, False
            if blocks.BLOCK in (len(block), _num_batches(block)):
                yield block
                block = []
    if block:
        yield block


def _num_batches(block: Sequence[_Part]) -> int:
    return sum(len(part.piece.inputs) for part in block)
