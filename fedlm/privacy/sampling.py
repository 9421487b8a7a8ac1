"""Client sampling by hash: whether a client takes part depends only on the cohort key, the round and its pseudonym.

    score(client, round) = first 8 bytes of AES-256-ECB(HKDF(cohort key, "cohort"), round || pseudonym)   uniform in [0, 2**64)
    fixed size m         the m smallest scores of a round
    Poisson, rate q      every score below q * 2**64

Removing a client changes only the rounds that it took part in, which makes exact unlearning possible.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedlm.types import Pseudonyms
from fedlm.vault.format import derive


def cohort_key(seed: int) -> bytes:
    """Returns the cohort key of a seed. Under differential privacy the key is random instead, and secret."""
    return derive(seed.to_bytes(8, "little"), "fedlm cohort key")


_BLOCK = 2**16  # clients scored at a time, so that memory does not grow with the population


def scores(key: bytes, server_round: int, pseudonyms: Pseudonyms) -> Pseudonyms:
    """Returns a uniform 64-bit score for each client in a round, (clients,)."""
    blocks = np.empty((len(pseudonyms), 2), "<u8")  # one AES block of 16 bytes per client: round || pseudonym
    blocks[:, 0], blocks[:, 1] = server_round, pseudonyms
    # A score needs a pseudo-random function of distinct blocks, which is what ECB is; nothing is kept secret by it.
    encryptor = Cipher(algorithms.AES(derive(key, "cohort")), modes.ECB()).encryptor()  # noqa: S305
    sealed = bytearray(blocks.nbytes + 15)  # `update_into` requires block size - 1 spare bytes
    encryptor.update_into(blocks.view(np.uint8).data, sealed)
    return np.frombuffer(sealed, "<u8", 2 * len(blocks))[::2]  # the first half of each encrypted block


def sample_cohort(key: bytes, server_round: int, pseudonyms: Pseudonyms, size: int) -> Pseudonyms:
    """Returns the clients with the smallest scores, ordered by score, then by pseudonym.

    Args:
      key: the cohort key.
      server_round: the round.
      pseudonyms: the population without duplicates, (clients,).
      size: of the cohort; with fewer clients, all are returned.
    """
    drawn, lowest, step = pseudonyms[:0], np.zeros(0, np.uint64), max(_BLOCK, size)
    for at in range(0, len(pseudonyms), step):
        block = pseudonyms[at : at + step]
        found = scores(key, server_round, block)
        if 0 < size < len(block):  # only scores that can still be among the `size` smallest are sorted
            near = found <= (lowest[-1] if len(drawn) == size else np.partition(found, size - 1)[size - 1])
            block, found = block[near], found[near]
        drawn, lowest = np.concatenate((drawn, block)), np.concatenate((lowest, found))
        order = np.lexsort((drawn, lowest))[:size]
        drawn, lowest = drawn[order], lowest[order]
    return drawn


def poisson_cohort(key: bytes, server_round: int, pseudonyms: Pseudonyms, rate: float) -> Pseudonyms:
    """Returns every client whose score is below `rate * 2**64`: independent of all other clients."""
    limit = int(rate * 2.0**64)
    return pseudonyms if limit >= 2**64 else pseudonyms[scores(key, server_round, pseudonyms) < np.uint64(limit)]
