"""Splits a cohort over nodes: by training work, or for evaluation into packs of a fixed size."""

import numpy as np
import numpy.typing as npt

from fedlm.text.packing import PACK
from fedlm.types import Pseudonyms


def split_chunks(clients: Pseudonyms, work: npt.NDArray[np.int64], nodes: int) -> list[Pseudonyms]:
    """Splits clients over nodes, longest first, each to the node with the least work so far.

    This is Graham's LPT rule (1969): the largest load is at most 4/3 - 1/(3 nodes) times the smallest possible one.

    Args:
      clients: pseudonyms, (clients,).
      work: per client, (clients,).
      nodes: the number of chunks; some may be empty.
    """
    chunks: list[list[int]] = [[] for _ in range(nodes)]
    load = [0] * nodes
    for place in np.lexsort((clients, -work)):  # ties by pseudonym: the split depends on no order of replies
        least = load.index(min(load))
        chunks[least].append(int(clients[place]))
        load[least] += int(work[place])
    return [np.array(c, np.uint64) for c in chunks]


def split_packs(clients: Pseudonyms, work: npt.NDArray[np.int64], nodes: int) -> list[Pseudonyms]:
    """Splits clients over nodes for evaluation, in the same packs of `PACK` clients for any number of nodes.

    A row's last bits depend on its batch, and packs never share a batch: equal packs give equal bits (`text/packing.py`).

    Args:
      clients: pseudonyms, (clients,), in any order.
      work: per client, (clients,).
      nodes: the number of chunks; some may be empty.
    """
    if not len(clients):
        return [clients] * nodes
    order = np.argsort(clients)
    firsts = np.arange(0, len(clients), PACK)  # (packs,) position of each pack's first client
    packs = split_chunks(np.arange(len(firsts), dtype=np.uint64), np.add.reduceat(work[order], firsts), nodes)
    # A short last pack must come last in its chunk, or it would be filled up with the next one.
    places = [[order[PACK * p : PACK * p + PACK] for p in sorted(map(int, own))] for own in packs]
    return [clients[np.concatenate(own)] if own else clients[:0] for own in places]
