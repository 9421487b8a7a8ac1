"""One round of federated training, the same for every algorithm, aggregation and mechanism.

    plan      the release stage samples the cohort, which is split into one chunk per node   RoundPlan, Chunks
    dispatch  each chunk is sent as a message, and its reply is read                         Answers
    collect   the aggregation opens the answers                                              RoundResult
    step      release (noise, if any), algorithm, Flower's strategy, schedule               next weights

Everything specific to a plug-in is behind its interface; no plug-in is named here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import ArrayRecord, Message

from fedlm.aggregation.base import Aggregation, Answer, Chunk, RoundPlan, RoundResult
from fedlm.algorithms.base import Algorithm
from fedlm.errors import CohortError, DivergedError, PluginFailure
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest, read_payload
from fedlm.plugins.kinds import label_of
from fedlm.privacy.accounting import Release
from fedlm.types import Pseudonyms, Weights
from server.engines.base import Engine, replies_to
from server.run.chunks import split_chunks
from server.run.failures import failures_of, in_words
from server.run.population import Population
from server.run.release import ReleaseStage
from server.run.strategies import ServerOptimizer


@dataclass(frozen=True)
class Stages:
    """The plug-ins of a run.

    Attributes:
      algorithm: what clients compute, and what the server does with it.
      aggregation: how the nodes' sums become one.
      release: how the mean is released, and what that costs.
      optimizer: Flower's strategy, and the server's schedule.
    """

    algorithm: Algorithm
    aggregation: Aggregation
    release: ReleaseStage
    optimizer: ServerOptimizer


@dataclass(frozen=True)
class Setting:
    """What all messages of a run have in common, and how its chunks are balanced.

    Attributes:
      settings: the run's configuration as JSON.
      batch_size, seq_len, local_steps: for estimates of a client's training work.
      timeout: for one exchange of messages, in seconds.
    """

    settings: str
    batch_size: int
    seq_len: int
    local_steps: int
    timeout: float


@dataclass(frozen=True)
class Prepared:
    """A planned round with the content of its messages.

    Attributes:
      plan: the round.
      event: the release that was charged; None without differential privacy.
      arrays: the global weights, one record for all messages.
      strategy, mechanism, vectors: what strategy, mechanism and algorithm send to the nodes.
      attempt: of the round; see `ReleaseStage.attempt`.
    """

    plan: RoundPlan
    event: Release | None
    arrays: ArrayRecord
    strategy: Mapping[str, object]
    mechanism: Mapping[str, float]
    vectors: Mapping[str, ArrayRecord]
    attempt: int


class Round:
    """The round loop of a run.

    Args:
      engine: carries messages.
      stages: the run's plug-ins.
      population: all clients.
      setting: what all messages say.
    """

    def __init__(self, engine: Engine, stages: Stages, population: Population, setting: Setting) -> None:
        self._engine, self._stages, self._population, self._setting = engine, stages, population, setting

    def run(
        self, server_round: int, weights: Weights, cohort: Pseudonyms, absent: frozenset[int] = frozenset()
    ) -> tuple[Weights, RoundResult]:
        """Trains a cohort; returns the next weights and the round's result.

        Args:
          server_round: the round, from 1.
          weights: the global weights; not modified.
          cohort: the sampled clients, (clients,).
          absent: clients of the cohort that get no request, because their failure is replayed.

        Raises:
          CohortError: no client could be trained, and the round was not charged.
          DivergedError: the same because all updates, or the new weights, are not finite.
          BudgetError: the round would exceed the privacy budget.
        """
        prepared = self._plan(server_round, weights, cohort, absent)
        planned = self._chunks(prepared.plan)
        chunks = self._stages.aggregation.chunks(planned)
        self._check_clients("chunks", planned, [c for c in chunks if isinstance(c, Chunk)])
        answers = self._dispatch(prepared, chunks)
        result = self._collect(prepared, answers)
        # The sensitivity is that to one client, so no client may decide whether the others of its chunk are in the sum. A
        # charged round that lost a chunk draws no noise and steps nothing.
        if self._stages.release.charges and result.lost - absent:
            return weights, replace(result, is_released=False)
        return self._step(prepared, result), result

    def _plan(self, server_round: int, weights: Weights, cohort: Pseudonyms, absent: frozenset[int]) -> Prepared:
        stages, arrays = self._stages, weights_record(weights)
        strategy = stages.optimizer.begin(server_round, arrays)
        sends, bounds = stages.algorithm.sends, stages.release.bounds()
        plan = RoundPlan(server_round, weights, cohort, absent, sends, bounds)
        mechanism = stages.release.broadcast()  # before the charge: the event must state this round's clip norm
        attempt = stages.release.attempt(server_round)
        event = stages.release.charge(server_round, cohort)
        vectors = {name: weights_record(vector) for name, vector in stages.algorithm.vectors().items()}
        return Prepared(plan, event, arrays, strategy, mechanism, vectors, attempt)

    def _chunks(self, plan: RoundPlan) -> list[Chunk]:
        """Splits the cohort over nodes: each vault's clients over the nodes that open it, balanced by training work."""
        requested, chunks = plan.cohort, list[Chunk]()
        if plan.absent:
            requested = np.setdiff1d(requested, np.array(sorted(plan.absent), np.uint64))
        for nodes, own in self._population.by_vault(requested, self._engine.nodes):
            work = self._population.training(own, self._setting.batch_size, self._setting.seq_len)
            if self._setting.local_steps:
                work = np.ones_like(work)  # as many batches for every client
            chunks += [Chunk(n, c) for n, c in zip(nodes, split_chunks(own, work, len(nodes)), strict=True) if len(c)]
        return chunks

    def _dispatch(self, prepared: Prepared, chunks: Sequence[Chunk]) -> Sequence[Answer]:
        """Returns an answer for each chunk."""
        answers = self._ask(prepared, chunks)
        complete = self._stages.aggregation.complete(prepared.plan, answers, lambda c: self._ask(prepared, c))
        self._check_clients("complete", chunks, [a.chunk for a in complete if isinstance(a, Answer)])
        return complete

    def _check_clients(self, method: str, asked: Sequence[Chunk], found: Sequence[Chunk]) -> None:
        """Refuses chunks of other clients: one that is in none would be neither in the sum nor lost, and one in two counts twice.

        Raises:
          PluginFailure: the aggregation left out a client, or added one.
        """
        before, after = (Counter(int(c) for chunk in chunks for c in chunk.clients) for chunks in (asked, found))
        if before != after:
            raise PluginFailure(
                f"The aggregation {label_of(self._stages.aggregation)} failed in {method}(): of {before.total():,} clients it left "
                f"out {(before - after).total():,} and added {(after - before).total():,}; each client must be in exactly one "
                "chunk, and a lost chunk has an answer without a payload."
            )

    def _ask(self, prepared: Prepared, chunks: Sequence[Chunk]) -> list[Answer]:
        requests = [self._message(prepared, chunk) for chunk in chunks]
        replies = replies_to(self._engine, requests, self._setting.timeout)
        return [self._answer(prepared.plan, c, reply) for c, reply in zip(chunks, replies, strict=True)]

    def _message(self, prepared: Prepared, chunk: Chunk) -> Message:
        plan = prepared.plan
        request = TrainRequest(
            self._setting.settings,
            plan.server_round,
            chunk.clients,
            prepared.arrays,
            prepared.strategy,
            prepared.mechanism,
            prepared.vectors,
            prepared.attempt,
        )
        return Message(request.content(), chunk.node, request.kind)

    def _answer(self, plan: RoundPlan, chunk: Chunk, reply: Message) -> Answer:
        """Returns the answer in a reply; it has no payload if the reply is an error, malformed, or refused by the aggregation."""
        if reply.has_error():
            return Answer(chunk, None, str(reply.error.reason))
        try:
            payload = read_payload(reply.content, plan.weights)
            self._stages.aggregation.check(plan, chunk, payload)
        except PluginFailure as error:  # no reply may end the run
            return Answer(chunk, None, f"a node's reply was refused: {error}", is_refused=True)
        except ValueError as error:
            return Answer(chunk, None, f"a node's reply was refused: {error}.", is_refused=True)
        return Answer(chunk, payload)

    def _collect(self, prepared: Prepared, answers: Sequence[Answer]) -> RoundResult:
        plan = prepared.plan
        result = self._stages.aggregation.open(plan, answers)
        if result.total.clients == 0 and not self._stages.release.charges:
            failures = failures_of(result)
            kind = DivergedError if failures.keys() == {"unusable"} else CohortError
            raise kind(
                f"Round {plan.server_round}: none of {len(plan.cohort)} clients could be trained: {in_words(failures)}."
            )
        return result

    def _step(self, prepared: Prepared, result: RoundResult) -> Weights:
        plan = prepared.plan
        mean = self._stages.release.mean(prepared.event, result.total, plan.weights)
        mean = self._stages.algorithm.step(plan, result, mean)
        # Training figures are not covered by the noise, so the strategy does not see them under differential privacy.
        metrics = None if self._stages.release.charges else result.metrics
        new = self._stages.optimizer.step(plan, mean, result.singles, metrics)
        if problem := _unusable(new, plan.weights):
            kind = DivergedError if problem == _NOT_FINITE else CohortError
            raise kind(
                f"Round {plan.server_round}: the algorithm or the strategy returned weights that {problem}: "
                "lower the learning rates, or correct the plug-in; the weights of the last checkpoint are kept."
            )
        return new


_NOT_FINITE = "are not finite"


def _unusable(new: Weights, old: Weights) -> str:
    """Returns what makes new weights unusable, or "": a plug-in computed them, so they may be anything."""
    if [np.shape(w) for w in new] != [w.shape for w in old]:
        return "do not have the model's shapes"
    return "" if all(np.isfinite(w).all() for w in new) else _NOT_FINITE
