"""What counting achieves on the text of a simulated run: n-grams of the pooled training text, on the same held-out text.

A deployment has no such figures: nobody there sees the pooled text.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fedlm.errors import VaultError
from fedlm.measure.metric import bits_per_character
from fedlm.measure.ngram import ORDERS, WittenBell
from fedlm.text.vocabulary import Vocabulary
from fedlm.vault.format import Part
from fedlm.vault.reader import Vault

_MOST_CHARACTERS = 2_000_000  # of the text that are counted and scored: two seconds and 200 MB


def ngram_baselines(
    vault: Vault, vocab: Vocabulary, trained: Collection[int], evaluated: Collection[int]
) -> Mapping[str, Any]:
    """Returns bits per character of the n-grams, and how many targets they were counted on.

    Args:
      vault: the run's.
      vocab: the run's vocabulary.
      trained: the clients whose training text is counted.
      evaluated: the clients of the run's last evaluation.

    """
    known = sorted(map(int, vault.pseudonyms))
    held_out = list(_documents(vault, [c for c in known if c in evaluated], Part.HELD_OUT))
    if not held_out:
        return {}
    counted = _documents(vault, [c for c in known if c in trained], Part.TRAIN)
    model = WittenBell(counted, vocab, max(ORDERS.values()))
    sums = model.score(held_out)
    return {name: bits_per_character(sums[n - 1]) for name, n in ORDERS.items()} | {"tokens": model.tokens}


def _documents(vault: Vault, clients: list[int], part: Part) -> Iterator[str]:
    """Yields the documents of clients until there are enough; a client whose text does not open failed in training, too."""
    left = _MOST_CHARACTERS
    for client in clients:
        with contextlib.suppress(VaultError):
            for document in vault.documents(client, part):
                yield document
                left -= len(document)
        if left <= 0:
            return
