"""A node's part of a round: its clients are trained, and each goes through algorithm and mechanism into one exact sum.

    client's text -> algorithm.train -> update -> mechanism.contribute -> sum

Where both do nothing special, the clients of a chunk go through one compiled program (`chunk.py`), with the same bits.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fedlm.aggregation.exact import ExactSum
from fedlm.algorithms.base import Algorithm, Arrays, ClientStates, LocalResult, LocalTask
from fedlm.errors import ConfigError
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.noise import Source
from fedlm.training.chunk import Shard, train_chunk
from fedlm.training.trainer import LocalTrainer
from fedlm.types import TextMetrics, Weights


@dataclass(frozen=True)
class CohortTask:
    """What a node is to do in a round.

    Attributes:
      server_round: the round, from 1.
      weights: the global weights.
      cohort: clients drawn in the whole round; it bounds each contribution.
      proximal_mu: FedProx' mu, if not the configuration's.
      vectors: what the algorithm's server half sent beside the weights.
      noise: of a client by its pseudonym, where the node draws noise.
    """

    server_round: int
    weights: Weights
    cohort: int
    proximal_mu: float | None = None
    vectors: Mapping[str, Weights] = field(default_factory=dict)
    noise: Callable[[int], Source] = field(default=lambda client: _no_noise, repr=False)


@dataclass(frozen=True)
class CohortClient:
    """One client of a chunk.

    Attributes:
      pseudonym: who.
      shard: its text and weight; None if the text did not open.
    """

    pseudonym: int
    shard: Shard | None


def train_cohort(
    trainer: LocalTrainer,
    algorithm: Algorithm,
    mechanism: Mechanism,
    task: CohortTask,
    clients: Iterable[CohortClient],
    states: ClientStates | None = None,
) -> tuple[ExactSum, TextMetrics]:
    """Trains a node's clients.

    Args:
      trainer: of the run's configuration.
      algorithm, mechanism: of the run.
      task: the round.
      clients: opened one after the other.
      states: where clients keep what the algorithm remembers.

    Returns:
      The exact sum, and the training figures of the clients in it.

    Raises:
      ConfigError: the algorithm keeps state per client, and this node has no place for it.
    """
    if algorithm.keeps_state and states is None:
        raise ConfigError("The algorithm keeps state per client, which this node does not store.")
    if algorithm.is_plain and mechanism.is_plain:
        return _plain(trainer, task, clients)
    total, metrics = ExactSum.zeros_like(task.weights, further=algorithm.sends), TextMetrics()
    for client in clients:
        state = states.load(client.pseudonym) if algorithm.keeps_state and states is not None else {}
        result = _trained(trainer, algorithm, task, client, state)
        if not _add(total, mechanism, task, client, result):
            continue
        if result is not None:
            metrics += result.metrics
            if algorithm.keeps_state and states is not None:
                states.save(client.pseudonym, result.state)
    return total, metrics


def _plain(trainer: LocalTrainer, task: CohortTask, clients: Iterable[CohortClient]) -> tuple[ExactSum, TextMetrics]:
    failed = 0

    def shards() -> Iterable[Shard]:
        nonlocal failed
        for client in clients:
            if client.shard is None:
                failed += 1
            else:
                yield client.shard

    total, metrics = train_chunk(trainer, task.weights, shards(), task.cohort, task.server_round, task.proximal_mu)
    total.failed += failed
    return total, metrics


def _trained(
    trainer: LocalTrainer, algorithm: Algorithm, task: CohortTask, client: CohortClient, state: Arrays
) -> LocalResult | None:
    """Returns what a client computed; None if its text did not open."""
    if client.shard is None:
        return None
    rng = np.random.default_rng(client.shard.seed)
    local = LocalTask(
        trainer,
        task.weights,
        client.shard.documents,
        rng,
        task.server_round,
        task.proximal_mu,
        task.vectors,
        state,
    )
    return algorithm.train(local)


def _add(
    total: ExactSum, mechanism: Mechanism, task: CohortTask, client: CohortClient, result: LocalResult | None
) -> bool:
    """Adds a client to the sum; returns whether it is in it."""
    if not mechanism.is_plain:
        update, weight = (None, 0) if result is None or client.shard is None else (result.update, client.shard.weight)
        return mechanism.contribute(total, update, weight, task.noise(client.pseudonym))
    if result is None or client.shard is None:
        total.failed += 1
        return False
    return total.add(result.update, client.shard.weight, task.cohort, result.further)


def _no_noise(count: int) -> bytes:
    raise ConfigError("This task draws no noise.")
