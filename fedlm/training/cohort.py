"""A node's part of a round: its clients are trained, and each goes through algorithm and mechanism into one exact sum.

    client's text -> algorithm.train -> update -> mechanism.contribute -> sum

Where both do nothing special, the clients of a chunk go through one compiled program (`chunk.py`), with the same bits.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedlm.aggregation.exact import ExactSum
from fedlm.algorithms.base import Algorithm, Arrays, ClientStates, LocalResult, LocalTask
from fedlm.errors import ConfigError, PluginFailure, VaultError
from fedlm.plugins.kinds import label_of
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
      broadcast: the public numbers that the mechanism's server part sent to all nodes.
      proximal_mu: FedProx' mu, if not the configuration's.
      vectors: what the algorithm's server part sent beside the weights.
      noise: of a client by its pseudonym, where the node draws noise.
    """

    server_round: int
    weights: Weights
    broadcast: Mapping[str, float]
    proximal_mu: float | None = None
    vectors: Mapping[str, Weights] = field(default_factory=dict)
    noise: Callable[[int], Source] = field(default=lambda client: _no_noise, repr=False)


@dataclass(frozen=True)
class CohortClient:
    """One client of a chunk.

    Attributes:
      pseudonym: who.
      open: returns its training text; raises a VaultError, or a KeyError where the vault does not hold the client
        (forgotten since the run began, or invented).
    """

    pseudonym: int
    open: Callable[[], list[str]] = field(repr=False)


def train_cohort(
    trainer: LocalTrainer,
    algorithm: Algorithm,
    mechanism: Mechanism,
    task: CohortTask,
    clients: Sequence[CohortClient],
    states: ClientStates | None = None,
) -> tuple[ExactSum, TextMetrics]:
    """Trains a node's clients.

    Under a mechanism, whatever fails while one client is opened, prepared or trained is that client's failure, and the
    others' sum is as without it: the sensitivity is that to one client.

    Args:
      trainer: of the run's configuration.
      algorithm, mechanism: of the run.
      task: the round.
      clients: opened one after the other.
      states: where clients keep what the algorithm remembers.

    Returns:
      The exact sum, and the training figures of the clients in it, as far as the mechanism lets them leave the node.

    Raises:
      ConfigError: the algorithm keeps state per client, and this node does not store it; or the server sent a value
        that the run's noise and privacy statement do not cover.
    """
    if algorithm.keeps_state and states is None:
        raise ConfigError("The algorithm keeps state per client, which this node does not store.")
    mechanism.receive(task.broadcast)
    if algorithm.is_plain and mechanism.is_plain:
        return _plain(trainer, task, clients)
    total, metrics = _one_by_one(trainer, algorithm, mechanism, task, clients, states)
    return mechanism.reply(total, metrics, len(clients))


def _shard(trainer: LocalTrainer, task: CohortTask, client: CohortClient) -> Shard | None:
    """Returns a client prepared for training; None if its text did not open."""
    try:
        documents = client.open()
    except (VaultError, KeyError):  # it fails alone
        return None
    stream = Stream(trainer.config.seed, Purpose.TRAINING, task.server_round, client.pseudonym)
    return Shard.of(trainer, documents, stream)


def _plain(trainer: LocalTrainer, task: CohortTask, clients: Iterable[CohortClient]) -> tuple[ExactSum, TextMetrics]:
    failed = 0

    def shards() -> Iterator[Shard]:
        nonlocal failed
        for client in clients:
            if (shard := _shard(trainer, task, client)) is None:
                failed += 1
            else:
                yield shard

    size = trainer.config.cohort_size
    total, metrics = train_chunk(trainer, task.weights, shards(), size, task.server_round, task.proximal_mu)
    total.failed += failed
    total.unopened += failed
    return total, metrics


def _one_by_one(
    trainer: LocalTrainer,
    algorithm: Algorithm,
    mechanism: Mechanism,
    task: CohortTask,
    clients: Sequence[CohortClient],
    states: ClientStates | None,
) -> tuple[ExactSum, TextMetrics]:
    total, metrics = ExactSum.zeros_like(task.weights, further=algorithm.sends), TextMetrics()
    start = trainer.begin(task.weights)
    kept = states if algorithm.keeps_state else None
    for client in clients:
        shard, result = None, None
        try:
            if (shard := _shard(trainer, task, client)) is not None:
                state = {} if kept is None else kept.load(client.pseudonym)
                result = algorithm.train(_local_task(trainer, start, task, shard, state))
                _check(result, algorithm, task.weights)
        except Exception as error:  # under a mechanism, no failure of one client may cost another its place
            if mechanism.is_plain:
                raise
            result = None
            _tell(error)
        added = _add(total, mechanism, task, client, shard, result, trainer.config.cohort_size)
        if added and result is not None:
            metrics += result.metrics
            if kept is not None:
                kept.save(client.pseudonym, result.state)
    return total, metrics


def _local_task(
    trainer: LocalTrainer, start: GlobalWeights, task: CohortTask, shard: Shard, state: Arrays
) -> LocalTask:
    round_, mu = task.server_round, task.proximal_mu
    return LocalTask(trainer, start, shard.client, shard.rng, round_, mu, task.vectors, state)


def _check(result: LocalResult, algorithm: Algorithm, weights: Weights) -> None:
    """Refuses a result that cannot be added to the others.

    Raises:
      PluginFailure: the update has other shapes than the model, or the further sums are not those that the algorithm sends.
    """
    problem = ""
    if [np.shape(u) for u in result.update] != [w.shape for w in weights]:
        problem = "the update does not have the shapes of the model's weights"
    elif set(result.further) != set(algorithm.sends):
        problem = f"the names of its further sums are {sorted(result.further)}, and those of `sends` {sorted(algorithm.sends)}"
    if problem:
        raise PluginFailure(f"The algorithm {label_of(algorithm)} failed in train(): {problem}.")


def _add(
    total: ExactSum,
    mechanism: Mechanism,
    task: CohortTask,
    client: CohortClient,
    shard: Shard | None,
    result: LocalResult | None,
    cohort_size: int,
) -> bool:
    """Adds a client to the sum; returns whether it is in it."""
    total.unopened += shard is None
    weight, update = (0, None) if shard is None or result is None else (shard.weight, result.update)
    if not mechanism.is_plain:
        return mechanism.contribute(total, update, weight, task.noise(client.pseudonym))
    if update is None or result is None:
        total.failed += 1
        return False
    return total.add(update, weight, cohort_size, result.further)


def _tell(error: Exception) -> None:
    """Names an error and its place in the node's own log; its text could quote a client's."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    sys.stderr.write(f"A client counts as failed: {type(error).__name__} at {place.filename}:{place.lineno}\n")
    sys.stderr.flush()


def _no_noise(_count: int) -> bytes:
    raise ConfigError("This task draws no noise.")
