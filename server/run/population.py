"""The population: one sorted array of pseudonyms, so that a million clients need little memory and time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.types import Evaluated, Pseudonyms

Counts = npt.NDArray[np.integer[Any]]
Work = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """All clients of all nodes, each once.

    Attributes:
      pseudonyms: sorted, (clients,).
      train_tokens, validation_tokens, held_out_tokens: targets per client, (clients,); -1 if unknown.
      documents: training documents per client, (clients,); 0 if unknown.
      vaults: for each vault, the nodes that open it and its clients, sorted and disjoint.
    """

    pseudonyms: Pseudonyms
    train_tokens: Counts
    validation_tokens: Counts
    held_out_tokens: Counts
    documents: Counts
    vaults: tuple[tuple[tuple[int, ...], Pseudonyms], ...] = ()

    @classmethod
    def merge(
        cls,
        reported: Iterable[tuple[Pseudonyms, Mapping[str, npt.NDArray[Any]]]],
        vaults: Sequence[tuple[bytes, int]] = (),
    ) -> "Population":
        """Merges the replies of nodes; a pseudonym in two vaults counts once, as a client of the first.

        Args:
          reported: per node: pseudonyms, and the counts `train`, `validation`, `held_out` and `documents` as far as the node
            reports them; one shared object for all nodes of a vault.
          vaults: (vault id, node id) of each node.
        """
        replies = list(reported)
        nodes = list({id(n): n for n in replies}.values())  # shared objects once
        columns = [_columns(counts, len(p)) for p, counts in nodes]
        if len(nodes) == 1 and np.all(nodes[0][0][:-1] < nodes[0][0][1:]):
            pseudonyms = nodes[0][0]  # one vault, already sorted: no copy of the arrays
            groups = ((tuple(node for _, node in vaults), pseudonyms),) if vaults else ()
            return cls(pseudonyms, *columns[0], groups)
        unique, first = np.unique(np.concatenate([p for p, _ in nodes]), return_index=True)
        train, validation, held_out, documents = (np.concatenate(c)[first] for c in zip(*columns, strict=True))
        return cls(unique, train, validation, held_out, documents, _group([p for p, _ in replies], vaults))

    def without(self, clients: Pseudonyms) -> "Population":
        """Returns the population without clients that the run has forgotten, even if a vault still holds them."""
        if not len(clients):
            return self
        kept = ~np.isin(self.pseudonyms, clients)
        vaults = tuple((nodes, np.setdiff1d(held, clients)) for nodes, held in self.vaults)
        return Population(
            self.pseudonyms[kept],
            self.train_tokens[kept],
            self.validation_tokens[kept],
            self.held_out_tokens[kept],
            self.documents[kept],
            vaults,
        )

    @property
    def is_private(self) -> bool:
        """Whether a node does not report its clients' counts, as in a deployment."""
        return bool(np.any(self.train_tokens < 0))

    def by_vault(self, clients: Pseudonyms, nodes: Sequence[int]) -> list[tuple[Sequence[int], Pseudonyms]]:
        """Returns, for each vault, the nodes that open it and those of the clients that it holds."""
        if not self.vaults:
            return [(nodes, clients)]
        return [(own, clients[_lies_in(clients, held)]) for own, held in self.vaults]

    def evaluating(self, clients: Pseudonyms, part: Evaluated = Evaluated.HELD_OUT) -> Work:
        """Returns the work of each client in an evaluation of a part, in tokens, (clients,), to balance chunks."""
        places = np.searchsorted(self.pseudonyms, clients)
        work: Work = np.maximum(self._tokens(part)[places].astype(np.int64), 1)
        return work

    def training(self, clients: Pseudonyms, batch_size: int, seq_len: int) -> Work:
        """Returns the training work of each client in eighths of a batch, (clients,), to balance chunks.

            rows = max(tokens / seq_len + documents / 2, documents)    a document's last row is half full on average
            work = 8 ceil(rows / batch_size) + 1                       the last batch is padded; set-up costs 1/8 batch

        If the number of documents is unknown, rows / batch_size + 1 replaces the number of batches.
        """
        places = np.searchsorted(self.pseudonyms, clients)
        tokens, documents = np.maximum(self.train_tokens[places], 1), self.documents[places].astype(np.int64)
        rows = np.maximum(tokens / seq_len + documents / 2, documents)
        batches = np.where(documents > 0, np.ceil(rows / batch_size), rows / batch_size + 1)
        return (8 * batches).astype(np.int64) + 1

    @property
    def trainable(self) -> Pseudonyms:
        """The clients that cohorts are drawn from: those with training text, or whose node does not report it."""
        kept: Pseudonyms = self.pseudonyms if self.train_tokens.all() else self.pseudonyms[self.train_tokens != 0]
        return kept

    def evaluated(self, part: Evaluated) -> Pseudonyms:
        """Returns the clients that have text of a part, or whose node does not report it."""
        kept: Pseudonyms = self.pseudonyms[self._tokens(part) != 0]
        return kept

    def _tokens(self, part: Evaluated) -> Counts:
        return self.validation_tokens if part is Evaluated.VALIDATION else self.held_out_tokens


def _columns(reported: Mapping[str, npt.NDArray[Any]], clients: int) -> tuple[Counts, Counts, Counts, Counts]:
    """Returns the tokens of each part, and documents, (clients,) each; reported arrays are not copied."""
    parts = ("train", "validation", "held_out")
    train, validation, held_out = (reported[p] if p in reported else np.full(clients, -1, np.int64) for p in parts)
    documents = reported["documents"] if "documents" in reported else np.zeros(clients, np.uint32)
    return train, validation, held_out, documents


def _lies_in(clients: Pseudonyms, held: Pseudonyms) -> npt.NDArray[np.bool_]:
    """Returns which clients are in the sorted array `held`; the cost is O(clients log held), not O(held)."""
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
        found.append((tuple(nodes), np.setdiff1d(held, seen)))  # a client belongs to the first vault that holds it
        seen = np.union1d(seen, held)
    return tuple(found)
