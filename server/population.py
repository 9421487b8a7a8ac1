"""Who can take part: one sorted array of pseudonyms, so that a million clients are an ordinary case."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.types import Pseudonyms

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """All clients of all nodes, each once.

    Attributes:
      pseudonyms: sorted, (clients,).
      train_tokens, held_out_tokens: targets of each, (clients,); -1 where a node does not tell.
      vaults: the nodes that open each vault, and its clients.
    """

    pseudonyms: Pseudonyms
    train_tokens: Counts
    held_out_tokens: Counts
    vaults: tuple[tuple[tuple[int, ...], Pseudonyms], ...] = ()

    @classmethod
    def merge(
        cls,
        told: Iterable[tuple[Pseudonyms, Counts | None, Counts | None]],
        vaults: Sequence[tuple[bytes, int]] = (),
    ) -> "Population":
        """Joins what nodes told; a pseudonym that two vaults hold takes part once, from the first.

        Args:
          told: by each node: pseudonyms, train and held-out tokens; one object for nodes that told the same of one vault.
          vaults: of each node: its vault's id and the node's id.
        """
        everyone = list(told)
        nodes = list({id(n): n for n in everyone}.values())
        columns = [(p, _counts(train, p), _counts(held_out, p)) for p, train, held_out in nodes]
        if len(nodes) == 1 and np.all(nodes[0][0][:-1] < nodes[0][0][1:]):
            pseudonyms, train, held_out = columns[
                0
            ]  # one vault, told in order: nothing to sort, nothing twice in memory
            groups = ((tuple(node for _, node in vaults), pseudonyms),) if vaults else ()
            return cls(pseudonyms, train, held_out, groups)
        unique, first = np.unique(np.concatenate([p for p, _, _ in columns]), return_index=True)
        train, held_out = (np.concatenate(c)[first] for c in zip(*((t, h) for _, t, h in columns), strict=True))
        return cls(unique, train, held_out, _group([p for p, _, _ in everyone], vaults))

    def without(self, clients: Pseudonyms) -> "Population":
        """Returns the population without some clients: a run has forgotten them, whatever a vault still holds."""
        if not len(clients):
            return self
        kept = ~np.isin(self.pseudonyms, clients)
        vaults = tuple((nodes, np.setdiff1d(held, clients)) for nodes, held in self.vaults)
        return Population(self.pseudonyms[kept], self.train_tokens[kept], self.held_out_tokens[kept], vaults)

    @property
    def is_private(self) -> bool:
        """Whether a node keeps its clients' token counts to itself, as a deployment's nodes do."""
        return bool(np.any(self.train_tokens < 0))

    def by_vault(self, clients: Pseudonyms, nodes: Sequence[int]) -> list[tuple[Sequence[int], Pseudonyms]]:
        """Returns for each vault the nodes that open it and the clients that lie in it; one vault unless told."""
        if not self.vaults:
            return [(nodes, clients)]
        return [(own, clients[_lies_in(clients, held)]) for own, held in self.vaults]

    def work_of(self, clients: Pseudonyms, *, held_out: bool = False) -> Counts:
        """Returns the training (or held-out) targets of clients, at least 1, to balance chunks."""
        tokens = self.held_out_tokens if held_out else self.train_tokens
        work: Counts = np.maximum(tokens[np.searchsorted(self.pseudonyms, clients)], 1)
        return work

    @property
    def with_held_out(self) -> Pseudonyms:
        """The clients that have held-out text, or do not tell."""
        kept: Pseudonyms = self.pseudonyms[self.held_out_tokens != 0]
        return kept


def _counts(told: npt.NDArray[Any] | None, clients: Pseudonyms) -> Counts:
    return np.full(len(clients), -1, np.int64) if told is None else told.astype(np.int64)


def _lies_in(clients: Pseudonyms, held: Pseudonyms) -> npt.NDArray[np.bool_]:
    """Returns which clients are in a sorted array; the cost goes with the clients, not with the population."""
    places = np.minimum(np.searchsorted(held, clients), max(len(held) - 1, 0))
    return held[places] == clients if len(held) else np.zeros(len(clients), bool)


def _group(
    pseudonyms: Sequence[Pseudonyms], vaults: Sequence[tuple[bytes, int]]
) -> tuple[tuple[tuple[int, ...], Pseudonyms], ...]:
    grouped: dict[bytes, tuple[list[int], Pseudonyms]] = {}
    for (vault, node), held in zip(vaults, pseudonyms, strict=bool(vaults)):
        grouped.setdefault(vault, ([], held))[0].append(node)
    seen, found = np.zeros(0, np.uint64), []
    for nodes, held in grouped.values():
        found.append((tuple(nodes), np.setdiff1d(held, seen)))
        seen = np.union1d(seen, held)
    return tuple(found)
