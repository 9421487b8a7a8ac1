"""Figures of the global model on validation or held-out text: one message per node, sums per client.

validation_fraction = 0    rounds  ->  held-out text     the last of them is the final figure
validation_fraction > 0    rounds  ->  validation text   end  ->  held-out text, once
"""

import math
from collections.abc import Mapping, Sequence

from flwr.app import Message

from fedlm.config import RunConfig
from fedlm.errors import CohortError, error_of_code
from fedlm.messages.evaluation import EvaluateRequest, read_figures
from fedlm.messages.fields import Malformed, weights_record
from fedlm.messages.refusals import TooFewError
from fedlm.privacy.sampling import poisson_cohort, sample_cohort
from fedlm.types import Evaluated, Pseudonyms, TextMetrics, Weights
from server.engines.base import Engine, replies_to
from server.run.chunks import split_packs
from server.run.population import Population


def sample_clients(config: RunConfig, key: bytes, clients: Pseudonyms) -> Pseudonyms:
    """Returns the clients of an evaluation: all, or `eval_clients` of them by hash, the same ones every time.

    Under differential privacy each client is drawn by itself at a public rate: in a sample of fixed size, whether one
    client is asked depends on all others.

    Args:
      config: of the run.
      key: of the hash.
      clients: those with text, (clients,).
    """
    if not config.eval_clients:
        return clients
    if config.privacy.on:
        return poisson_cohort(key, 0, clients, min(1.0, config.eval_clients / config.privacy.population))
    return sample_cohort(key, 0, clients, config.eval_clients)


def evaluate_clients(
    engine: Engine,
    population: Population,
    settings: str,
    server_round: int,
    weights: Weights,
    clients: Pseudonyms,
    timeout: float,
    part: Evaluated = Evaluated.HELD_OUT,
) -> dict[int, TextMetrics]:
    """Returns sums per client, or per node where a node reports only its total.

    A node with too few clients for its policy's `min_group` is left out; without any other node there are no sums.

    Args:
      engine: carries messages.
      population: used to balance the work of nodes.
      settings: the run's configuration as JSON.
      server_round, weights: the model to evaluate.
      clients: on whose text, (clients,).
      timeout: in seconds.
      part: of their text.

    Raises:
      FedLMError: a node could not evaluate its clients; the exit code is that of the node's error. A client whose text
        does not open is never silently omitted from a figure.
      CohortError: a node's reply is malformed, covers other clients, or has figures that no text has.
    """
    arrays, messages, asked = weights_record(weights), list[Message](), list[tuple[int, Pseudonyms]]()
    for node, chunk in _chunks(population, clients, engine.nodes, part):
        request = EvaluateRequest(settings, server_round, chunk, arrays, part)
        messages.append(Message(request.content(), node, request.kind))
        asked.append((node, chunk))
    figures, by_node = dict[int, TextMetrics](), dict[int, list[TextMetrics]]()
    failed = f"Evaluation after round {server_round} failed:"
    for (node, chunk), reply in zip(asked, replies_to(engine, messages, timeout), strict=True):
        if reply.has_error() and reply.error.code == TooFewError.exit_code:
            continue  # known to the owner's policy; the figures cover the other nodes
        if reply.has_error():
            kind = type(error_of_code(reply.error.code, ""))
            raise kind(f"{failed} {reply.error.reason}")
        try:
            found = read_figures(reply.content, node, chunk)
            if set(found) & set(figures):  # a pseudonym that is the id of a node
                raise Malformed("its clients are also those of another node")
        except Malformed as error:
            raise CohortError(f"{failed} the reply of node {node} was refused: {error}.") from None
        figures |= found
        by_node.setdefault(node, []).extend(found.values())
    if not engine.one_vault and (liar := _alone_without_loss(by_node)):
        raise CohortError(
            f"{failed} the reply of node {liar} was refused: its loss is not finite, and that of other nodes is. If the node "
            "tells the truth, the model diverges: lower the learning rates."
        )
    return figures


def _alone_without_loss(by_node: Mapping[int, Sequence[TextMetrics]]) -> int:
    """Returns a node whose loss is not finite although that of another is; 0 without one.

    The figure of all nodes would not be finite either. A model that has diverged has no finite loss anywhere.
    """
    without = [node for node, found in by_node.items() if not all(math.isfinite(m.loss_sum) for m in found)]
    return without[0] if 0 < len(without) < len(by_node) else 0


def total_of(figures: dict[int, TextMetrics]) -> TextMetrics:
    """Returns the sum over clients in the order of their pseudonyms: float sums depend on the order."""
    return sum((figures[client] for client in sorted(figures)), TextMetrics())


def _chunks(
    population: Population, clients: Pseudonyms, nodes: Sequence[int], part: Evaluated
) -> list[tuple[int, Pseudonyms]]:
    """Returns each node's clients, in packs that do not depend on the number of nodes."""
    chunks: list[tuple[int, Pseudonyms]] = []
    for own_nodes, own in population.by_vault(clients, nodes):
        split = split_packs(own, population.evaluating(own, part), len(own_nodes))
        chunks += [(node, chunk) for node, chunk in zip(own_nodes, split, strict=True) if len(chunk)]
    return chunks
