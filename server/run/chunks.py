"""A cohort split over nodes: by training work, and for evaluation by packs of a fixed size."""

import numpy as np
import numpy.typing as npt

from fedlm.text.packing import PACK
from fedlm.types import Pseudonyms


def split_chunks(clients: Pseudonyms, work: npt.NDArray[np.int64], nodes: int) -> list[Pseudonyms]:
    """Splits clients over nodes, longest first, each to the node with the least work so far.

    Args:
      clients: pseudonyms, (clients,).
      work: of each client, (clients,).
      nodes: how many chunks; some may be empty.
    """
    chunks: list[list[int]] = [[] for _ in range(nodes)]
    load = [0] * nodes
    for place in np.lexsort((clients, -work)):
        least = load.index(min(load))
        chunks[least].append(int(clients[place]))
        load[least] += int(work[place])
    return [np.array(c, np.uint64) for c in chunks]


def split_packs(clients: Pseudonyms, work: npt.NDArray[np.int64], nodes: int) -> list[Pseudonyms]:
    """Splits clients over nodes for evaluation: the same packs of `PACK` clients, whatever the number of nodes.

    Args:
      clients: pseudonyms, (clients,), in any order.
      work: of each client, (clients,).
      nodes: how many chunks; some may be empty.
    """
    if not len(clients):
        return [clients] * nodes
    order = np.argsort(clients)
    firsts = np.arange(0, len(clients), PACK)
    packs = split_chunks(np.arange(len(firsts), dtype=np.uint64), np.add.reduceat(work[order], firsts), nodes)
    # the last pack, which may be short, stays last in its chunk
    places = [[order[PACK * p : PACK * p + PACK] for p in sorted(map(int, own))] for own in packs]
    return [clients[np.concatenate(own)] if own else clients[:0] for own in places]
