"""Held-out figures of the global model: one message per node, sums per client."""

from collections.abc import Sequence

from flwr.app import Message

from fedlm.errors import CohortError, error_of_code
from fedlm.messages.evaluation import EvaluateRequest, read_figures
from fedlm.messages.fields import Malformed, weights_record
from fedlm.types import Pseudonyms, TextMetrics, Weights
from server.engines.base import Engine, replies_to
from server.run.chunks import split_packs
from server.run.population import Population


def evaluate_clients(
    engine: Engine,
    population: Population,
    settings: str,
    server_round: int,
    weights: Weights,
    clients: Pseudonyms,
    timeout: float,
) -> dict[int, TextMetrics]:
    """Returns held-out sums per client, or per node where a node reports only its total.

    Args:
      engine: carries messages.
      population: used to balance the work of nodes.
      settings: the run's configuration as JSON.
      server_round, weights: the model to evaluate.
      clients: on whose held-out text, (clients,).
      timeout: in seconds.

    Raises:
      FedLMError: a node could not evaluate its clients; the exit code is that of the node's error. A client whose held-out
        text does not open is never silently omitted from a figure.
      CohortError: a node's reply is malformed, or covers other clients.
    """
    arrays, messages, asked = weights_record(weights), list[Message](), list[tuple[int, Pseudonyms]]()
    for node, chunk in _chunks(population, clients, engine.nodes):
        request = EvaluateRequest(settings, server_round, chunk, arrays)
        messages.append(Message(request.content(), node, request.kind))
        asked.append((node, chunk))
    figures: dict[int, TextMetrics] = {}
    failed = f"Evaluation after round {server_round} failed:"
    for (node, chunk), reply in zip(asked, replies_to(engine, messages, timeout), strict=True):
        if reply.has_error():
            kind = type(error_of_code(reply.error.code, ""))
            raise kind(f"{failed} {reply.error.reason}")
        try:
            figures |= read_figures(reply.content, node, chunk)
        except Malformed as error:
            raise CohortError(f"{failed} the reply of node {node} was refused: {error}.") from None
    return figures


def total_of(figures: dict[int, TextMetrics]) -> TextMetrics:
    """Returns the sum over clients in the order of their pseudonyms: float sums depend on the order."""
    return sum((figures[client] for client in sorted(figures)), TextMetrics())


def _chunks(population: Population, clients: Pseudonyms, nodes: Sequence[int]) -> list[tuple[int, Pseudonyms]]:
    """Returns each node's clients, in packs that do not depend on the number of nodes."""
    chunks: list[tuple[int, Pseudonyms]] = []
    for own_nodes, own in population.by_vault(clients, nodes):
        split = split_packs(own, population.evaluating(own), len(own_nodes))
        chunks += [(node, chunk) for node, chunk in zip(own_nodes, split, strict=True) if len(chunk)]
    return chunks
