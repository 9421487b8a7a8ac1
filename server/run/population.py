"""Who can take part: one sorted array of pseudonyms, so that a million clients are an ordinary case."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.types import Pseudonyms

Counts = npt.NDArray[np.integer[Any]]
Work = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """All clients of all nodes, each once.

    Attributes:
      pseudonyms: sorted, (clients,).
      train_tokens, held_out_tokens: targets of each, (clients,); -1 where a node does not say.
      documents: of each in training, (clients,); 0 where it is not known.
      vaults: the nodes that open each vault, and its clients.
    """

    pseudonyms: Pseudonyms
    train_tokens: Counts
    held_out_tokens: Counts
    documents: Counts
    vaults: tuple[tuple[tuple[int, ...], Pseudonyms], ...] = ()

    @classmethod
    def merge(
        cls,
        told: Iterable[tuple[Pseudonyms, Mapping[str, npt.NDArray[Any]]]],
        vaults: Sequence[tuple[bytes, int]] = (),
    ) -> "Population":
        """Joins the replies of nodes; a pseudonym that two vaults hold takes part once, from the first.

        Args:
          told: by each node: pseudonyms, and counts of `train` and `held_out` tokens and `documents` as far as the node
            gives them; one object for nodes that gave the same for one vault.
          vaults: of each node: its vault's id and the node's id.
        """
        everyone = list(told)
        nodes = list({id(n): n for n in everyone}.values())
        columns = [_columns(counts, len(p)) for p, counts in nodes]
        if len(nodes) == 1 and np.all(nodes[0][0][:-1] < nodes[0][0][1:]):
            pseudonyms = nodes[0][0]  # one vault, in order: nothing to sort, and nothing twice in memory
            groups = ((tuple(node for _, node in vaults), pseudonyms),) if vaults else ()
            return cls(pseudonyms, *columns[0], groups)
        unique, first = np.unique(np.concatenate([p for p, _ in nodes]), return_index=True)
        train, held_out, documents = (np.concatenate(c)[first] for c in zip(*columns, strict=True))
        return cls(unique, train, held_out, documents, _group([p for p, _ in everyone], vaults))

    def without(self, clients: Pseudonyms) -> "Population":
        """Returns the population without some clients: a run has forgotten them, whatever a vault still holds."""
        if not len(clients):
            return self
        kept = ~np.isin(self.pseudonyms, clients)
        vaults = tuple((nodes, np.setdiff1d(held, clients)) for nodes, held in self.vaults)
        train, held_out = self.train_tokens[kept], self.held_out_tokens[kept]
        return Population(self.pseudonyms[kept], train, held_out, self.documents[kept], vaults)

    @property
    def is_private(self) -> bool:
        """Whether a node keeps its clients' counts to itself, as a deployment's nodes do."""
        return bool(np.any(self.train_tokens < 0))

    def by_vault(self, clients: Pseudonyms, nodes: Sequence[int]) -> list[tuple[Sequence[int], Pseudonyms]]:
        """Returns for each vault the nodes that open it and the clients that lie in it; one vault unless told."""
        if not self.vaults:
            return [(nodes, clients)]
        return [(own, clients[_lies_in(clients, held)]) for own, held in self.vaults]

    def evaluating(self, clients: Pseudonyms) -> Work:
        """Returns what evaluating each client takes, in tokens, to balance chunks."""
        places = np.searchsorted(self.pseudonyms, clients)
        work: Work = np.maximum(self.held_out_tokens[places].astype(np.int64), 1)
        return work

    def training(self, clients: Pseudonyms, batch_size: int, seq_len: int) -> Work:
        """Returns what training each client takes, in eighths of a batch, to balance chunks.

        A client has rows for its tokens, of which the last of each document is half filled on average, and its last batch is
        padded to a whole one. Starting a client and adding its update takes about an eighth of a batch. Where the number of
        documents is unknown, it counts one batch more than its tokens fill.
        """
        places = np.searchsorted(self.pseudonyms, clients)
        tokens, documents = np.maximum(self.train_tokens[places], 1), self.documents[places].astype(np.int64)
        rows = np.maximum(tokens / seq_len + documents / 2, documents)
        batches = np.where(documents > 0, np.ceil(rows / batch_size), rows / batch_size + 1)
        return (8 * batches).astype(np.int64) + 1

    @property
    def with_held_out(self) -> Pseudonyms:
        """The clients that have held-out text, or whose node does not say."""
        kept: Pseudonyms = self.pseudonyms[self.held_out_tokens != 0]
        return kept


def _columns(told: Mapping[str, npt.NDArray[Any]], clients: int) -> tuple[Counts, Counts, Counts]:
    """Returns training tokens, held-out tokens and documents. The arrays of a million clients are not copied."""
    train, held_out = (told[p] if p in told else np.full(clients, -1, np.int64) for p in ("train", "held_out"))
    return train, held_out, told["documents"] if "documents" in told else np.zeros(clients, np.uint32)


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
