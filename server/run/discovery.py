"""Client discovery: one request to every node at the start of a run; afterwards the population is fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import RecordDict

from fedlm.errors import CohortError
from fedlm.messages.discovery import DiscoveryReply, DiscoveryRequest
from fedlm.messages.fields import Malformed
from fedlm.types import Pseudonyms, Weights
from server.engines.base import Engine, ask
from server.run.population import Population

Reported = tuple[Pseudonyms, Mapping[str, npt.NDArray[Any]]]
"""Pseudonyms, and counts per client by name."""


@dataclass(frozen=True)
class Discovery:
    """The result of client discovery.

    Attributes:
      population: all clients.
      vaults: (vault id, node id) of each node.
      initial: the initial weights of the run's seed.
      kernels: how the first node computes recurrent layers; empty if unknown.
    """

    population: Population
    vaults: tuple[tuple[bytes, int], ...]
    initial: Weights
    kernels: str


def discover(engine: Engine, settings: str, timeout: float, *, wants_weights: bool = True) -> Discovery:
    """Gets every node's clients, and from the first node the initial weights of the run's seed.

    Raises:
      CohortError: a reply is malformed, or lacks the requested weights.
    """
    nodes = list(engine.nodes)
    asked = nodes[:1] if engine.one_vault else nodes
    requests = [DiscoveryRequest(settings, wants_weights and place == 0) for place in range(len(asked))]
    questions = [(node, r.kind, r.content()) for node, r in zip(asked, requests, strict=True)]
    replies = [_read(node, c) for node, c in zip(asked, ask(engine, questions, timeout), strict=True)]
    initial = replies[0].initial if replies else None
    if wants_weights and initial is None:
        raise CohortError("No node sent the initial weights.")
    if engine.one_vault:
        replies *= len(nodes)
    vaults = tuple((reply.vault, node) for reply, node in zip(replies, nodes, strict=True))
    kernels = replies[0].kernels if replies else ""
    return Discovery(Population.merge(_shared(replies), vaults), vaults, initial or (), kernels)


def _read(node: int, content: RecordDict) -> DiscoveryReply:
    try:
        return DiscoveryReply.read(content)
    except Malformed as error:
        raise CohortError(f"The reply of node {node} about its clients was refused: {error}.") from None


def _shared(replies: Sequence[DiscoveryReply]) -> list[Reported]:
    """Returns pseudonyms and counts of each reply, with one object for all nodes of a vault.

    A million clients are then in memory once, for any number of nodes that open their vault.
    """
    first: dict[bytes, Reported] = {}
    shared = []
    for reply in replies:
        own = (reply.pseudonyms, reply.counts)
        before = first.setdefault(reply.vault, own)
        shared.append(before if np.array_equal(before[0], reply.pseudonyms) else own)
    return shared
