"""One round of federated training, the same for every algorithm, aggregation and mechanism.

    plan      the release stage draws the cohort, which is split into one chunk a node      RoundPlan, Chunks
    dispatch  each chunk goes out as a message; what comes back is read                      Answers
    collect   the aggregation opens the answers                                              RoundResult
    step      release (noise, if any), algorithm, Flower's strategy, schedule               next weights

What is special about a plug-in is behind its interface; nothing here knows one by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, Message

from fedlm.aggregation.base import Aggregation, Answer, Chunk, RoundPlan, RoundResult
from fedlm.algorithms.base import Algorithm
from fedlm.errors import CohortError
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest, read_payload
from fedlm.privacy.accounting import Release
from fedlm.types import Pseudonyms, Weights
from server.engines.base import Engine, replies_to
from server.run.chunks import split_chunks
from server.run.population import Population
from server.run.release import ReleaseStage
from server.run.strategies import ServerOptimizer

_NOTHING = "no client's text opened, or no update was usable (not finite, or too large)."


@dataclass(frozen=True)
class Stages:
    """What a run is made of.

    Attributes:
      algorithm: what clients compute, and what the server does with it.
      aggregation: how sums become one.
      release: what the mean is released as, and what that costs.
      optimizer: Flower's strategy, and the server's schedule.
    """

    algorithm: Algorithm
    aggregation: Aggregation
    release: ReleaseStage
    optimizer: ServerOptimizer


@dataclass(frozen=True)
class Setting:
    """What all messages of a run say, and how its chunks are balanced.

    Attributes:
      settings: the run's configuration as JSON.
      batch_size, seq_len: of the rows that a client's work is counted in.
      timeout: seconds that an exchange may take.
    """

    settings: str
    batch_size: int
    seq_len: int
    timeout: float


@dataclass(frozen=True)
class Prepared:
    """A planned round with what its messages carry.

    Attributes:
      plan: the round.
      event: what it was charged as; None without a privacy budget.
      arrays: the global weights as one record for all messages.
      strategy, mechanism, vectors: what strategy, mechanism and algorithm tell the nodes.
    """

    plan: RoundPlan
    event: Release | None
    arrays: ArrayRecord
    strategy: Mapping[str, object]
    mechanism: Mapping[str, float]
    vectors: Mapping[str, ArrayRecord]


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
        """Trains a cohort; returns the next weights and what the round brought.

        Args:
          server_round: the round, from 1.
          weights: the global weights; not modified.
          cohort: who was drawn.
          absent: clients of it that are not asked, since their loss is replayed.

        Raises:
          CohortError: not one client could be trained, and nothing was charged for the round.
          BudgetError: the round would pass the privacy budget.
        """
        prepared = self._plan(server_round, weights, cohort, absent)
        chunks = self._stages.aggregation.chunks(self._chunks(prepared.plan))
        answers = self._dispatch(prepared, chunks)
        result = self._collect(prepared, answers)
        return self._step(prepared, result), result

    def _plan(self, server_round: int, weights: Weights, cohort: Pseudonyms, absent: frozenset[int]) -> Prepared:
        stages, arrays = self._stages, weights_record(weights)
        plan = RoundPlan(server_round, weights, cohort, absent, stages.algorithm.sends)
        strategy = stages.optimizer.begin(server_round, arrays)
        mechanism = stages.release.told()  # before the charge: it is this round's clip norm that the event names
        event = stages.release.charge(server_round, cohort)
        vectors = {name: weights_record(vector) for name, vector in stages.algorithm.vectors().items()}
        return Prepared(plan, event, arrays, strategy, mechanism, vectors)

    def _chunks(self, plan: RoundPlan) -> list[Chunk]:
        """Returns the cohort by nodes: each vault's clients over the nodes that open it, by training work."""
        asked, chunks = plan.cohort, list[Chunk]()
        if plan.absent:
            asked = np.setdiff1d(asked, np.array(sorted(plan.absent), np.uint64))
        for nodes, own in self._population.by_vault(asked, self._engine.nodes):
            work = self._population.training(own, self._setting.batch_size, self._setting.seq_len)
            chunks += [Chunk(n, c) for n, c in zip(nodes, split_chunks(own, work, len(nodes)), strict=True) if len(c)]
        return chunks

    def _dispatch(self, prepared: Prepared, chunks: Sequence[Chunk]) -> Sequence[Answer]:
        """Returns an answer for each chunk.

        Where rounds are charged, a chunk that fails is asked again client by client: sensitivity is counted for one
        client, so that one may not decide whether others are in the sum.
        """
        answers = self._ask(prepared, chunks)
        if self._stages.release.charges and (failed := [a.chunk for a in answers if a.payload is None]):
            singles = [Chunk(c.node, c.clients[i : i + 1]) for c in failed for i in range(len(c.clients))]
            answers = [a for a in answers if a.payload is not None] + self._ask(prepared, singles)
        return self._stages.aggregation.complete(prepared.plan, answers, lambda c: self._ask(prepared, c))

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
            len(plan.cohort),
            prepared.arrays,
            prepared.strategy,
            prepared.mechanism,
            prepared.vectors,
        )
        return Message(request.content(), chunk.node, request.kind)

    def _answer(self, plan: RoundPlan, chunk: Chunk, reply: Message) -> Answer:
        """Returns what a reply is worth: nothing if it is an error, does not read, or is refused by the aggregation."""
        if reply.has_error():
            return Answer(chunk, None, str(reply.error.reason))
        try:
            payload = read_payload(reply.content, plan.weights)
            self._stages.aggregation.check(plan, chunk, payload)
        except ValueError as error:
            return Answer(chunk, None, f"a node's reply was refused: {error}.", is_refused=True)
        return Answer(chunk, payload)

    def _collect(self, prepared: Prepared, answers: Sequence[Answer]) -> RoundResult:
        plan = prepared.plan
        result = self._stages.aggregation.open(plan, answers)
        if result.total.clients == 0 and not self._stages.release.charges:
            reason = result.problems[0] if result.problems else _NOTHING
            raise CohortError(
                f"Round {plan.server_round}: none of {len(plan.cohort)} clients could be trained: {reason}"
            )
        return result

    def _step(self, prepared: Prepared, result: RoundResult) -> Weights:
        plan = prepared.plan
        mean = self._stages.release.mean(prepared.event, result.total, plan.weights)
        mean = self._stages.algorithm.step(plan, result, mean)
        metrics = None if self._stages.release.charges else result.metrics
        return self._stages.optimizer.step(plan, mean, result.singles, metrics)
