"""Every seeded random stream, by its purpose.

A stream is NumPy's PCG64 under `SeedSequence` over eight 32-bit words, always eight:

    version | purpose | seed (2 words) | round (2 words) | client (2 words)

`SeedSequence` pads its input with zeros, so [7, 1] and [7, 1, 0, 0] would give the same stream, and
inputs of different lengths could collide. With a fixed length, different (purpose, seed, round,
client) always give different inputs.

Keys, nonces and the noise of differential privacy come from the operating system instead. Noise is
seeded only in a run marked `reproducible`, whose ledger then states no guarantee.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

_VERSION = 1


class Purpose(IntEnum):
    """What a stream is for. A number never changes and is never reused, because results depend on it."""

    # a run
    INITIAL_WEIGHTS = 1
    TRAINING = 2  # the order of a client's rows and the seeds of its dropout, in a round
    EVALUATION_MASKS = 3  # which symbols are hidden from a masked model: the same in every round
    SAMPLE = 4  # the sample text of a run
    GENERATION = 5  # `fedlm generate`
    REFERENCE = 6  # local-only and centralised training
    SERVER_NOISE = 7
    NODE_NOISE = 8
    VOCABULARY_NOISE = 9
    WORD_ORDER = 10  # which of a client's words with the same count come first
    LONG_TEXT = 11  # which documents of a very long client a round uses
    # corpora and partitions
    PARTITION = 20
    QUANTITY_SKEW = 21
    LABEL_SKEW = 22
    MINORITY_SKEW = 23
    WITHIN_GROUPS = 28
    SYNTHETIC_TEXT = 24
    STEREOTYPES = 25
    SECRETS = 26
    CANARY_COINS = 27
    # statistics
    BOOTSTRAP = 40
    PERMUTATION = 41
    # standalone programs
    STUDY_TEXT = 60


@dataclass(frozen=True)
class Stream:
    """The name of a stream, from which the stream can be started any number of times.

    Attributes:
      seed: of the run, corpus or study, 0 <= seed < 2**64.
      purpose: what it is for.
      server_round: the round, from 1; 0 outside rounds.
      client: a pseudonym, or another number below 2**64 that distinguishes streams of one purpose.

    >>> one, other = Stream(7, Purpose.SAMPLE), Stream(7, Purpose.SAMPLE, 0, 1)
    >>> one.generator().random() == one.generator().random() != other.generator().random()
    True
    """

    seed: int
    purpose: Purpose
    server_round: int = 0
    client: int = 0

    def __post_init__(self) -> None:
        numbers = (self.seed, self.server_round, self.client)
        if not all(0 <= n < 2**64 for n in numbers):
            raise ValueError(f"Expected seed, round and client from 0 to 2**64 - 1, not {numbers}.")

    def generator(self) -> np.random.Generator:
        """Returns the stream from its start."""
        return np.random.default_rng(np.random.SeedSequence(self._words()))

    def read(self, count: int, start: int = 0) -> bytes:
        """Returns `count` bytes of the stream from byte `start` on: SHAKE-256 over the words.

        The bytes are unrelated to the numbers of `generator`.
        """
        words = np.array(self._words(), "<u4").tobytes()
        return hashlib.shake_256(b"fedlm rng" + words).digest(start + count)[start:]

    def _words(self) -> list[int]:
        numbers = (self.seed, self.server_round, self.client)
        return [_VERSION, int(self.purpose), *(half for n in numbers for half in (n & 0xFFFFFFFF, n >> 32))]


def stream(seed: int, purpose: Purpose, server_round: int = 0, client: int = 0) -> np.random.Generator:
    """Returns a stream from its start; see `Stream`."""
    return Stream(seed, purpose, server_round, client).generator()
