"""Client discovery: one request to every node at the start of a run; afterwards the population is fixed."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import RecordDict

from fedlm.errors import CohortError
from fedlm.messages.discovery import DiscoveryReply, DiscoveryRequest
from fedlm.messages.fields import Malformed
from fedlm.types import Pseudonyms, Weights
from server.engines.base import Engine, ask
from server.run.claims import Register, settle
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


def discover(
    engine: Engine, settings: str, timeout: float, *, wants_weights: bool = True, register: Register | None = None
) -> Discovery:
    """Gets every node's clients, and from the first node the initial weights of the run's seed.

    A pseudonym that several vaults claim is a client of one of them; see `server/run/claims.py`. In a deployment each node is
    an owner of its own, whatever vault id it tells.

    Args:
      engine: carries messages.
      settings: the run's configuration as JSON.
      timeout: in seconds.
      wants_weights: whether to get initial weights.
      register: what a deployment's coordinator knows of its nodes.

    Raises:
      CohortError: a reply is malformed, has too many clients, or lacks the requested weights.
    """
    nodes = list(engine.nodes)
    asked = nodes[:1] if engine.one_vault else nodes
    requests = [DiscoveryRequest(settings, wants_weights and place == 0) for place in range(len(asked))]
    questions = [(node, r.kind, r.content()) for node, r in zip(asked, requests, strict=True)]
    replies = [_read(node, c) for node, c in zip(asked, ask(engine, questions, timeout), strict=True)]
    initial = replies[0].initial if replies else None
    if wants_weights and not initial:
        raise CohortError("No node sent the initial weights.")
    owners = [reply.vault for reply in replies] if register is None else [n.to_bytes(8, "big") for n in asked]
    if engine.one_vault:
        replies, owners = replies * len(nodes), owners * len(nodes)
    else:
        replies = _settled(asked, owners, replies, register)
    vaults = tuple((reply.vault, node) for reply, node in zip(replies, nodes, strict=True))
    kernels = replies[0].kernels if replies else ""
    population = Population.merge(_shared(owners, replies), tuple(zip(owners, nodes, strict=True)))
    return Discovery(population, vaults, initial or (), kernels)


def _read(node: int, content: RecordDict) -> DiscoveryReply:
    try:
        return DiscoveryReply.read(content)
    except Malformed as error:
        raise CohortError(f"The reply of node {node} about its clients was refused: {error}.") from None


def _settled(
    nodes: Sequence[int], owners: Sequence[bytes], replies: Sequence[DiscoveryReply], register: Register | None
) -> list[DiscoveryReply]:
    """Returns the replies without the clients that are another owner's; warns of each node that has claimed any."""
    first = {owner: place for place, owner in reversed(list(enumerate(owners)))}
    claims = [(place, replies[place].pseudonyms) for place in sorted(first.values())]
    if register is None:
        kept = settle([(owners[place], told) for place, told in claims], {})
    else:
        for node, reply in zip(nodes, replies, strict=True):
            register.check(node, len(reply.pseudonyms))
        kept = register.settle([(nodes[place], told) for place, told in claims])
    own = {owners[place]: pseudonyms for (place, _), pseudonyms in zip(claims, kept, strict=True)}
    return [_restricted(*each, register) for each in zip(nodes, replies, (own[o] for o in owners), strict=True)]


def _restricted(node: int, reply: DiscoveryReply, own: Pseudonyms, register: Register | None) -> DiscoveryReply:
    """Returns a reply with those of its clients that are the node's own."""
    is_own = np.isin(reply.pseudonyms, own)
    if others := int(np.count_nonzero(~is_own)):
        name = str(node) if register is None else register.name(node)
        warnings.warn(f"Node {name} claims {others} clients that are another node's: they stay there.", stacklevel=2)
        counts = {key: count[is_own] for key, count in reply.counts.items()}
        return replace(reply, pseudonyms=reply.pseudonyms[is_own], counts=counts)
    return reply


def _shared(owners: Sequence[bytes], replies: Sequence[DiscoveryReply]) -> list[Reported]:
    """Returns pseudonyms and counts of each reply, with one object for all nodes of an owner.

    A million clients are then in memory once, for any number of nodes that open their vault.
    """
    first: dict[bytes, Reported] = {}
    shared = []
    for owner, reply in zip(owners, replies, strict=True):
        own = (reply.pseudonyms, reply.counts)
        before = first.setdefault(owner, own)
        shared.append(before if np.array_equal(before[0], reply.pseudonyms) else own)
    return shared
