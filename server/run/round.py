"""`CohortStrategy` wraps one of Flower's strategies: our cohorts, our exact sums, Flower's aggregation.

A strategy that accepts a mean sees one reply a round, the exact mean of the cohort with weight 1; any other sees one
reply per client. Its own messages are dropped; what it puts into its configuration (`proximal-mu`) goes to the nodes.
"""

from collections.abc import Iterable

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedlm.aggregation.exact import ExactSum
from fedlm.errors import CohortError, error_of_code
from fedlm.messages import wire
from fedlm.messages.records import arrays_in, config_in, metrics_in
from fedlm.messages.replies import checked_evaluation
from fedlm.types import Pseudonyms, TextMetrics, Weights
from server.run.participation import as_pseudonyms
from server.run.population import Population
from server.run.private import PrivateRounds
from server.run.sampling import split_chunks, split_packs
from server.run.strategies import accepts_mean, as_reply, hands_back, told_to_clients


class CohortStrategy:
    """One round of federated training over a cohort.

    Args:
      inner: Flower's strategy that turns replies into the next global weights.
      settings: the run's configuration as JSON, for the nodes.
      population: all clients, whose counts balance the chunks.
      private: differential privacy, or None.
      drift: whether nodes are asked for the sum of unit updates too.
      batch_shape: rows and tokens of a row.
    """

    def __init__(
        self,
        inner: Strategy,
        settings: str,
        population: Population,
        private: PrivateRounds | None = None,
        *,
        drift: bool = False,
        batch_shape: tuple[int, int] = (1, 1),
    ) -> None:
        self.inner, self._settings, self._population, self._private = inner, settings, population, private
        self.refused, self._drift, self._batch_shape = 0, drift, batch_shape
        self.absent: frozenset[int] = frozenset()  # failures to replay: not asked in the next round
        self.lost: frozenset[int] | None = frozenset()  # of the last round, see `Participation`
        self._mean = accepts_mean(inner)

    def train_round(
        self, grid: Grid, server_round: int, weights: Weights, cohort: Pseudonyms, timeout: float
    ) -> tuple[Weights, ExactSum, TextMetrics]:
        """Trains a cohort and returns the next weights, the exact sum and the training figures.

        Raises:
          CohortError: not one client of the cohort could be trained (under differential privacy: its noise goes on).
          BudgetError: the round would pass the privacy budget.
        """
        if self._private is not None:
            return self._train_privately(self._private, grid, server_round, weights, cohort, timeout)
        record = wire.weights_record(weights)
        config = told_to_clients(self.inner, server_round, record)
        parts, metrics = list[ExactSum](), TextMetrics()
        replies, reasons, usable = [], list[str | None](), list[Message]()
        requests = self._requests(grid, MessageType.TRAIN, server_round, record, cohort, config)
        answers = list(grid.send_and_receive(requests, timeout=timeout))
        for reply in answers:
            if reply.has_error():
                reasons.append(reply.error.reason)
                continue
            try:
                part, figures = wire.checked_sum(reply.content, weights, len(cohort))
            except ValueError as error:
                self.refused += 1
                reasons.append(f"a node's reply was refused: {error}.")
                continue
            if part.clients and not self._mean:
                replies.append(as_reply(part.mean(weights), part.weight, figures))
            usable.append(reply)
            parts.append(part)
            metrics += figures
        total = ExactSum.of(parts, weights, drift=self._drift)
        self.lost = _lost(requests, answers, usable, self.absent)
        total.failed = len(cohort) - total.clients
        if total.clients == 0:
            reason = reasons[0] if reasons else "no text opened, or no update was usable (not finite, or too large)."
            raise CohortError(f"Round {server_round}: none of {len(cohort)} clients could be trained: {reason}")
        return self._next(server_round, total.mean(weights), replies, metrics), total, metrics

    def _train_privately(
        self,
        private: PrivateRounds,
        grid: Grid,
        server_round: int,
        weights: Weights,
        cohort: Pseudonyms,
        timeout: float,
    ) -> tuple[Weights, ExactSum, TextMetrics]:
        """Charges, sums, noises. A chunk that fails is asked again client by client: one client never costs another."""
        record = wire.weights_record(weights)
        config = told_to_clients(self.inner, server_round, record)
        config["clip-norm"] = private.clip_norm
        event = private.charge(server_round, cohort)
        parts, metrics = list[ExactSum](), list[TextMetrics]()
        requests = self._requests(grid, MessageType.TRAIN, server_round, record, cohort, config)
        failed: list[Message] = []
        for request, reply in _pairs(requests, grid.send_and_receive(requests, timeout=timeout)):
            if reply is None or not self._take(reply, weights, len(cohort), parts, metrics):
                failed += _one_by_one(request)
        again = list(grid.send_and_receive(failed, timeout=timeout)) if failed else []
        usable = [reply for reply in again if self._take(reply, weights, len(cohort), parts, metrics)]
        self.lost = _lost(failed, again, usable, self.absent)
        total = ExactSum.of(parts, weights)
        total.failed = len(cohort) - total.clients
        mean = private.mean(event, total, weights)
        return self._next(server_round, mean, [], TextMetrics()), total, sum(metrics, TextMetrics())

    def _next(self, server_round: int, mean: Weights, replies: list[Message], metrics: TextMetrics) -> Weights:
        """Returns what the inner strategy makes of the replies; without any, of the mean as the only one."""
        if not replies and hands_back(self.inner):
            return mean
        replies = sorted(replies, key=_bits_of)  # Flower adds floats in their order, which follows chunks and nodes
        arrays, _ = self.inner.aggregate_train(server_round, replies or [as_reply(mean, 1, metrics)])
        return mean if arrays is None else wire.record_weights(arrays)

    def _take(
        self, reply: Message, weights: Weights, clients: int, parts: list[ExactSum], figures: list[TextMetrics]
    ) -> bool:
        """Takes a chunk's sum and figures; False if the reply is an error, or is refused for its form."""
        if reply.has_error():
            return False
        try:
            part, metrics = wire.checked_sum(reply.content, weights, clients)
        except ValueError:
            self.refused += 1
            return False
        parts.append(part)
        figures.append(metrics)
        return True

    def _requests(
        self,
        grid: Grid,
        message_type: str,
        server_round: int,
        weights: ArrayRecord,
        clients: Pseudonyms,
        config: ConfigRecord,
    ) -> list[Message]:
        chunks, drawn = [], len(clients)
        if message_type == MessageType.TRAIN and self.absent:
            clients = np.setdiff1d(clients, as_pseudonyms(self.absent))
        evaluates = message_type == MessageType.EVALUATE
        split = split_packs if evaluates else split_chunks
        for nodes, own in self._population.by_vault(clients, list(grid.get_node_ids())):
            people = self._population
            work = people.evaluating(own) if evaluates else people.training(own, *self._batch_shape)
            chunks += list(zip(nodes, split(own, work, len(nodes)), strict=True))
        if message_type == MessageType.TRAIN and not self._mean:
            chunks = [(node, chunk[i : i + 1]) for node, chunk in chunks for i in range(len(chunk))]
        return [
            Message(wire.request(weights, c, self._settings, server_round, drawn, config), node, message_type)
            for node, c in chunks
            if len(c)
        ]

    def evaluate(
        self, grid: Grid, server_round: int, weights: Weights, clients: Pseudonyms, timeout: float
    ) -> dict[int, TextMetrics]:
        """Returns held-out sums per client, or per node where a node tells no more.

        Raises:
          FedLMError: a node could not evaluate its clients, with the exit code that the reason has there: a client whose
            held-out text does not open is never left out of a figure.
          CohortError: a node's reply is not that of an evaluation of its clients.
        """
        record = wire.weights_record(weights)
        requests = self._requests(grid, MessageType.EVALUATE, server_round, record, clients, ConfigRecord())
        asked = {m.metadata.dst_node_id: _clients_of(m) for m in requests}  # a node is asked once
        figures: dict[int, TextMetrics] = {}
        for reply in grid.send_and_receive(requests, timeout=timeout):
            failed, node = f"Evaluation after round {server_round} failed:", reply.metadata.src_node_id
            if reply.has_error():
                kind = type(error_of_code(reply.error.code, ""))
                raise kind(f"{failed} {reply.error.reason}")
            try:
                figures |= checked_evaluation(reply.content, node, asked.get(node, as_pseudonyms([])))
            except ValueError as error:
                raise CohortError(f"{failed} the reply of node {node} was refused: {error}.") from None
        return figures


def _bits_of(reply: Message) -> tuple[list[bytes], list[tuple[str, str]]]:
    """Returns what orders replies of single clients; only equal ones can change places, on a grid that mixes them too."""
    arrays, figures = arrays_in(reply.content), metrics_in(reply.content)
    return [a.data for a in arrays.values()], sorted((k, repr(v)) for k, v in figures.items())


def _lost(
    requests: list[Message], replies: list[Message], usable: list[Message], absent: frozenset[int]
) -> frozenset[int] | None:
    """Returns the clients whose messages brought nothing usable, those not asked included; None if that cannot be told."""
    nodes = [m.metadata.dst_node_id for m in requests]
    if len(usable) == len(requests):
        return absent
    if [r.metadata.src_node_id for r in replies] == nodes:
        good = {id(r) for r in usable}
        failed = [m for m, r in zip(requests, replies, strict=True) if id(r) not in good]
    elif len(set(nodes)) == len(nodes):
        answered = {r.metadata.src_node_id for r in usable}
        failed = [m for m in requests if m.metadata.dst_node_id not in answered]
    else:
        return None
    return absent | {int(c) for m in failed for c in _clients_of(m)}


def _clients_of(request: Message) -> Pseudonyms:
    return wire.bytes_pseudonyms(config_in(request.content)["clients"])


def _pairs(requests: list[Message], replies: Iterable[Message]) -> list[tuple[Message, Message | None]]:
    """Returns each request with its reply; None where none came."""
    by_node = {reply.metadata.src_node_id: reply for reply in replies}
    return [(request, by_node.get(request.metadata.dst_node_id)) for request in requests]


def _one_by_one(request: Message) -> list[Message]:
    """Returns a chunk's message as one message a client."""
    content, made = request.content, []
    for client in _clients_of(request):
        config = ConfigRecord(dict(config_in(content)))
        config["clients"] = wire.pseudonym_bytes(np.array([client], np.uint64))
        alone = RecordDict({"arrays": arrays_in(content), "config": config})
        made.append(Message(alone, request.metadata.dst_node_id, MessageType.TRAIN))
    return made
