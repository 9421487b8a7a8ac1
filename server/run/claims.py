"""Whose client a pseudonym is, where several nodes claim it: nodes are not trusted, and a pseudonym takes part once.

    claimed before    it stays with the node that a run of this deployment has seen it at first
    claimed at once   it goes to the claimant with the smallest score, a keyed hash of claimant and pseudonym

Neither follows the order in which nodes are listed. A node that claims everything gets nothing of what others had before, and
of what nobody had a share by chance: half, if one other node claims it. In a deployment the key of the hash is the
coordinator's secret, so no node can choose a key or a vault id that wins.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from fedlm.privacy.sampling import scores
from fedlm.types import Pseudonyms
from fedlm.vault.format import derive


def settle(
    claims: Sequence[tuple[bytes, Pseudonyms]], held: Mapping[bytes, Pseudonyms], key: bytes = bytes(32)
) -> list[Pseudonyms]:
    """Returns the pseudonyms that each claimant keeps, sorted; no two have one in common.

    Args:
      claims: each claimant, once, with the pseudonyms that it has told, without duplicates.
      held: what each claimant was given before, the absent ones included. What a claimant no longer tells is free.
      key: of the hash.
    """
    present = dict(claims)
    held = {owner: np.intersect1d(old, present[owner]) if owner in present else old for owner, old in held.items()}
    kept = []
    for claimant, told in claims:
        others = [old for other, old in held.items() if other != claimant]
        kept.append(np.setdiff1d(told, np.concatenate(others)) if others else np.sort(told))
    together, counts = np.unique(np.concatenate([*kept, np.zeros(0, np.uint64)]), return_counts=True)
    contested = together[counts > 1]  # (contested,), sorted
    if not len(contested):
        return kept
    lowest, winner = np.full(len(contested), 2**64 - 1, np.uint64), np.full(len(contested), -1)
    for place in sorted(range(len(claims)), key=lambda i: claims[i][0]):  # ties go by the claimant, not by the listing
        where = np.flatnonzero(np.isin(contested, kept[place], assume_unique=True))
        found = scores(derive(key + claims[place][0], "fedlm claim"), 0, contested[where])
        wins = (found < lowest[where]) | (winner[where] < 0)
        lowest[where[wins]], winner[where[wins]] = found[wins], place
    return [np.setdiff1d(own, contested[winner != place]) for place, own in enumerate(kept)]


class Register(Protocol):
    """What a deployment's coordinator knows of its nodes, by their ids in this run."""

    def name(self, node: int) -> str:
        """Returns a node's name for messages."""

    def check(self, node: int, clients: int) -> None:
        """Raises a CohortError if a node tells more clients than it was admitted with."""

    def settle(self, claims: Sequence[tuple[int, Pseudonyms]]) -> list[Pseudonyms]:
        """Returns the pseudonyms that each node keeps, as `settle` does, and remembers them for later runs."""
