"""Types that several parts share, with their shapes and units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Weights = tuple[npt.NDArray[np.float32], ...]
"""Trainable weights, or an update (local weights - global weights), float32 in Keras order."""

IntSums = tuple[npt.NDArray[np.int64], ...]
"""Sums of updates in units of 2**-24, int64 in Keras order."""

Ids = npt.NDArray[np.int32]
"""Token ids; (rows, seq_len) where rows are windows of a client's text."""

Batches = npt.NDArray[np.int32]
"""Rows in batches, (batches, batch, seq_len); the last batch is filled up with 0."""

Seeds = npt.NDArray[np.int64]
"""Seeds of a model's dropout generators, (generators, 2)."""

Pseudonyms = npt.NDArray[np.uint64]
"""Pseudonyms of clients: keyed 64-bit hashes of their names, (clients,)."""


@dataclass(frozen=True)
class Document:
    """One raw text of one client, as a corpus yields it. It exists in memory only.

    Attributes:
      user: the client's name.
      text: of the document.
      labels: of the document, by name.
      place: where it stands in the corpus, for messages; empty if a program wrote it.
      held_out: it is test text that was given, so that no training reads it.
    """

    user: str
    text: str = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    place: str = field(default="", repr=False, compare=False)
    held_out: bool = False


class Evaluated(StrEnum):
    """The part of a client's text that an evaluation reads."""

    VALIDATION = "validation"
    """During training, where the clients have validation text: what steers a run."""
    HELD_OUT = "held_out"
    """Test text: at the end, or during training too, where there is no validation text."""

    @property
    def words(self) -> str:
        """The part in a sentence."""
        return self.value.replace("_", "-")


@dataclass(frozen=True)
class TextMetrics:
    """Figures over held-out or training targets. They are sums, so they add; ratios come last.

    Attributes:
      loss_sum: sum of the cross-entropy, in nats; in evaluation, unknown symbols are charged for their spelling too.
      correct: number of targets that were the most likely symbol; an unknown one is never correct.
      tokens: number of targets.
      characters: number of characters that begin in the targets, each end of a document counted as one; bits per
        character do not depend on the vocabulary.
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
