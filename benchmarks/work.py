"""The work that every system does: clients, batches and model of the published Shakespeare setting.

A client holds `batches` batches of 10 rows of 81 characters drawn from a seed: inputs are the first 80, targets the last.
"""

import numpy as np
import numpy.typing as npt

CLIENTS, COHORT, BATCH, SEQ_LEN = 100, 10, 10, 80
LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,;:!?'-"
VOCAB, EMBEDDING, UNITS, LAYERS = 90, 8, 256, 2
LEARNING_RATE = 0.1
ROUNDS = {1: 22, 10: 6}
"""The number of rounds, by batches per client; the first two are warm-up and not counted."""
WARM_UP = 2
TEXT_LEN = SEQ_LEN - 1  # with the end symbol it fills one row


def texts(client: int, batches: int) -> list[str]:
    """Returns a client's documents, each of 79 letters: with start and end one row of 80 targets."""
    rng = np.random.default_rng([0, client])
    drawn = rng.integers(0, len(LETTERS), (batches * BATCH, TEXT_LEN))
    return ["".join(LETTERS[i] for i in row) for row in drawn]


def rows(client: int, batches: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Returns the same text as ids: inputs and targets, each (batches * 10, 80) int32; 1 starts, 2 ends."""
    ids = np.array([[1, *(4 + LETTERS.index(c) for c in text), 2] for text in texts(client, batches)], np.int32)
    return ids[:, :-1], ids[:, 1:]


def flops_per_token(vocab: int = VOCAB) -> int:
    """Returns 6 operations per weight of a matrix: two forward, four backward. Embedding rows are looked up, not multiplied."""
    lstm = EMBEDDING * 4 * UNITS + (2 * LAYERS - 1) * UNITS * 4 * UNITS
    return 6 * (lstm + UNITS * vocab)
