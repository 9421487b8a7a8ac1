"""Shapes and units that several parts share; they stand here once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Weights = tuple[npt.NDArray[np.float32], ...]
"""Trainable weights, or an update (local - global), in Keras order."""

IntSums = tuple[npt.NDArray[np.int64], ...]
"""Sums of updates on the lattice of 2**-24, in Keras order."""

Ids = npt.NDArray[np.int32]
"""Token ids; (rows, seq_len) where rows are windows of a client's text."""

Batches = npt.NDArray[np.int32]
"""Rows in batches, (batches, batch, seq_len); what fills up the last one is 0."""

Seeds = npt.NDArray[np.int64]
"""Seeds of a model's dropout generators, (generators, 2)."""

Pseudonyms = npt.NDArray[np.uint64]
"""Keyed 64-bit hashes that stand for client names, (clients,)."""


@dataclass(frozen=True)
class Document:
    """One raw text of one client, as a corpus yields it. Lives in memory only."""

    user: str
    text: str = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TextMetrics:
    """Figures over held-out or training targets. They are sums, so two of them add; ratios come last.

    Attributes:
      loss_sum: cross-entropy, in nats.
      correct: targets whose most likely symbol was right.
      tokens: targets.
      characters: characters that begin in the targets (for bits per character, whatever the vocabulary).
    """

    loss_sum: float = 0.0
    correct: int = 0
    tokens: int = 0
    characters: int = 0

    def __add__(self, other: "TextMetrics") -> "TextMetrics":
        return TextMetrics(
            self.loss_sum + other.loss_sum,
            self.correct + other.correct,
            self.tokens + other.tokens,
            self.characters + other.characters,
        )
