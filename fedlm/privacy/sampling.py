"""Cohorts by hash: who takes part in a round depends on nothing but the cohort key, the round and the pseudonym.

Taking a client out changes only the rounds that it was in, which makes exact unlearning possible.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedlm.types import Pseudonyms
from fedlm.vault.format import derive


def cohort_key(seed: int) -> bytes:
    """Returns the cohort key of a seed (without differential privacy)."""
    return derive(seed.to_bytes(8, "little"), "fedlm cohort key")


_BLOCK = 2**16  # clients scored at a time: a million cost a round no memory


def scores(key: bytes, server_round: int, pseudonyms: Pseudonyms) -> Pseudonyms:
    """Returns a uniform 64-bit score for each client in a round: AES-256-ECB(HKDF(key), round || pseudonym)."""
    blocks = np.empty((len(pseudonyms), 2), "<u8")
    blocks[:, 0], blocks[:, 1] = server_round, pseudonyms
    # ECB on distinct blocks is a pseudo-random permutation, just what a score needs; nothing is hidden by it.
    encryptor = Cipher(algorithms.AES(derive(key, "cohort")), modes.ECB()).encryptor()  # noqa: S305
    sealed = bytearray(blocks.nbytes + 15)  # one block more, as the interface demands
    encryptor.update_into(blocks.view(np.uint8).data, sealed)
    return np.frombuffer(sealed, "<u8", 2 * len(blocks))[::2]


def draw_cohort(key: bytes, server_round: int, pseudonyms: Pseudonyms, size: int) -> Pseudonyms:
    """Returns the clients with the smallest scores, by score, then pseudonym.

    Args:
      key: the cohort key.
      server_round: the round.
      pseudonyms: the population, each once.
      size: of the cohort; all clients if there are fewer.
    """
    drawn, lowest, step = pseudonyms[:0], np.zeros(0, np.uint64), max(_BLOCK, size)
    for at in range(0, len(pseudonyms), step):
        block = pseudonyms[at : at + step]
        found = scores(key, server_round, block)
        if 0 < size < len(block):
            near = found <= (lowest[-1] if len(drawn) == size else np.partition(found, size - 1)[size - 1])
            block, found = block[near], found[near]
        drawn, lowest = np.concatenate((drawn, block)), np.concatenate((lowest, found))
        order = np.lexsort((drawn, lowest))[:size]
        drawn, lowest = drawn[order], lowest[order]
    return drawn


def poisson_cohort(key: bytes, server_round: int, pseudonyms: Pseudonyms, rate: float) -> Pseudonyms:
    """Returns every client whose score is below `rate`: each is drawn by itself, whoever else there is."""
    limit = int(rate * 2.0**64)
    return pseudonyms if limit >= 2**64 else pseudonyms[scores(key, server_round, pseudonyms) < np.uint64(limit)]
