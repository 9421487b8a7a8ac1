"""Who is there: the nodes are asked once, before the first round."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from flwr.app import MessageType, RecordDict

from fedlm import wire
from fedlm.errors import CohortError
from fedlm.types import Pseudonyms, Weights
from server.population import Population
from server.replies import checked_census, checked_initial

Ask = Callable[[Iterable[tuple[int, str, RecordDict]]], list[RecordDict]]
"""Sends (node, message type, content) and returns the replies' contents."""


def take_census(
    nodes: Sequence[int], ask: Ask, settings: str, *, one_vault: bool
) -> tuple[Population, list[tuple[bytes, int]], Weights]:
    """Asks who is there; the first node also gives the initial weights of the run's seed.

    Args:
      nodes: all.
      ask: sends to them.
      settings: the run's configuration as JSON.
      one_vault: all nodes open the same, so that the first one tells for all.

    Returns:
      All clients, each node's vault, and the weights.

    Raises:
      CohortError: a reply is none, or brings no weights.
    """
    asked, nobody = nodes[:1] if one_vault else nodes, np.zeros(0, np.uint64)
    questions = [
        (node, MessageType.QUERY, wire.request(None, nobody, settings, min(place, 1), 0))
        for place, node in enumerate(asked)
    ]
    seen: list[tuple[Pseudonyms, Any]] = []
    vaults, known = list[tuple[bytes, int]](), dict[bytes, tuple[Pseudonyms, Any]]()
    initial: Weights | None = None
    for node, content in zip(asked, ask(questions), strict=True):
        try:
            vault, pseudonyms, counts = checked_census(content)
            given = checked_initial(content)
        except ValueError as error:
            raise CohortError(f"The reply of node {node} about its clients was refused: {error}.") from None
        # A million clients are held once, however many nodes open their vault.
        before = known.setdefault(vault, (pseudonyms, counts))
        seen.append(before if np.array_equal(before[0], pseudonyms) else (pseudonyms, counts))
        vaults.append((vault, node))
        initial = initial if given is None else given
    if initial is None:
        raise CohortError("No node gave the initial weights.")
    if one_vault:
        seen, vaults = seen * len(nodes), [(vaults[0][0], node) for node in nodes]
    return Population.merge(seen, vaults), vaults, initial
