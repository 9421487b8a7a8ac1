"""A node's part of a round: its clients are trained, and each goes through algorithm and mechanism into one exact sum.

    client's text -> algorithm.train -> update -> mechanism.contribute -> sum

Where both do nothing special, the clients of a chunk go through one compiled program (`chunk.py`), with the same bits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fedlm.aggregation.exact import ExactSum
from fedlm.algorithms.base import Algorithm, Arrays, ClientStates, LocalResult, LocalTask
from fedlm.errors import ConfigError
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.noise import Source
from fedlm.rng import Purpose, Stream
from fedlm.training.blocks import GlobalWeights
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
      told: what the mechanism's server half told its nodes.
      proximal_mu: FedProx' mu, if not the configuration's.
      vectors: what the algorithm's server half sent beside the weights.
      noise: of a client by its pseudonym, where the node draws noise.
    """

    server_round: int
    weights: Weights
    cohort: int
    told: Mapping[str, float]
    proximal_mu: float | None = None
    vectors: Mapping[str, Weights] = field(default_factory=dict)
    noise: Callable[[int], Source] = field(default=lambda client: _no_noise, repr=False)


@dataclass(frozen=True)
class CohortClient:
    """One client of a chunk.

    Attributes:
      pseudonym: who.
      documents: its training text; None if it did not open.
    """

    pseudonym: int
    documents: list[str] | None = field(repr=False)


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
      ConfigError: the algorithm keeps state per client, and this node has no place for it; or the mechanism was told
        what the run's noise and statement are not for.
    """
    if algorithm.keeps_state and states is None:
        raise ConfigError("The algorithm keeps state per client, which this node does not store.")
    mechanism.hear(task.told)
    if algorithm.is_plain and mechanism.is_plain:
        return _plain(trainer, task, clients)
    return _one_by_one(trainer, algorithm, mechanism, task, clients, states)


def _shard(trainer: LocalTrainer, task: CohortTask, client: CohortClient) -> Shard | None:
    """Returns a client prepared for training; None if its text did not open."""
    if client.documents is None:
        return None
    stream = Stream(trainer.config.seed, Purpose.TRAINING, task.server_round, client.pseudonym)
    return Shard.of(trainer, client.documents, stream)


def _plain(trainer: LocalTrainer, task: CohortTask, clients: Iterable[CohortClient]) -> tuple[ExactSum, TextMetrics]:
    failed = 0

    def shards() -> Iterator[Shard]:
        nonlocal failed
        for client in clients:
            if (shard := _shard(trainer, task, client)) is None:
                failed += 1
            else:
                yield shard

    total, metrics = train_chunk(trainer, task.weights, shards(), task.cohort, task.server_round, task.proximal_mu)
    total.failed += failed
    return total, metrics


def _one_by_one(
    trainer: LocalTrainer,
    algorithm: Algorithm,
    mechanism: Mechanism,
    task: CohortTask,
    clients: Iterable[CohortClient],
    states: ClientStates | None,
) -> tuple[ExactSum, TextMetrics]:
    total, metrics = ExactSum.zeros_like(task.weights, further=algorithm.sends), TextMetrics()
    start = trainer.begin(task.weights)
    for client in clients:
        shard, result = _shard(trainer, task, client), None
        if shard is not None:
            state = states.load(client.pseudonym) if algorithm.keeps_state and states is not None else {}
            result = algorithm.train(_local_task(trainer, start, task, shard, state))
        added = _add(total, mechanism, task, client, shard, result)
        if added and result is not None:
            metrics += result.metrics
            if algorithm.keeps_state and states is not None:
                states.save(client.pseudonym, result.state)
    return total, metrics


def _local_task(
    trainer: LocalTrainer, start: GlobalWeights, task: CohortTask, shard: Shard, state: Arrays
) -> LocalTask:
    round_, mu = task.server_round, task.proximal_mu
    return LocalTask(trainer, start, shard.client, shard.rng, round_, mu, task.vectors, state)


def _add(
    total: ExactSum,
    mechanism: Mechanism,
    task: CohortTask,
    client: CohortClient,
    shard: Shard | None,
    result: LocalResult | None,
) -> bool:
    """Adds a client to the sum; returns whether it is in it."""
    weight, update = (0, None) if shard is None or result is None else (shard.weight, result.update)
    if not mechanism.is_plain:
        return mechanism.contribute(total, update, weight, task.noise(client.pseudonym))
    if update is None or result is None:
        total.failed += 1
        return False
    return total.add(update, weight, task.cohort, result.further)


def _no_noise(count: int) -> bytes:
    raise ConfigError("This task draws no noise.")
