"""A client's text as the rows and batches that a model of one configuration is trained on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedlm.config import RunConfig
from fedlm.text.pretrained import PieceVocabulary
from fedlm.text.rows import hide, num_hidden, whole_rows, windows
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import Batches, Ids

Orders = Sequence[npt.NDArray[np.int64]]
"""Places of rows, an array for each epoch."""


class Batching:
    """Rows and batches of text.

    Args:
      config: their shapes, and the epochs.
      vocab: of the run.
      is_masked: the model fills hidden symbols.
    """

    def __init__(self, config: RunConfig, vocab: Vocabulary, *, is_masked: bool) -> None:
        self._config, self._vocab, self._is_masked = config, vocab, is_masked
        self._weighed: tuple[list[str], tuple[Ids, Ids]] | None = None

    def rows(self, documents: list[str]) -> tuple[Ids, Ids]:
        """Returns inputs and targets (rows, seq_len)."""
        weighed, self._weighed = self._weighed, None
        return weighed[1] if weighed is not None and weighed[0] is documents else self._cut(documents)

    def _cut(self, documents: list[str]) -> tuple[Ids, Ids]:
        if self._is_masked:
            return whole_rows(documents, self._pieces, self._config.seq_len)
        return windows(documents, self._vocab, self._config.seq_len)

    def orders(self, rows: int, rng: np.random.Generator) -> Orders:
        """Draws the order of rows in each epoch."""
        return [rng.permutation(rows) for _ in range(self._config.local_epochs)]

    def drawn(self, inputs: Ids, targets: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Returns rows as the model sees them in one epoch: for masked prediction, some of their tokens hidden."""
        return hide(inputs, targets, self._pieces, rng) if self._is_masked else (inputs, targets)

    def batches(self, inputs: Ids, targets: Ids, orders: Orders, rng: np.random.Generator) -> tuple[Batches, Batches]:
        """Returns the batches of epochs, one after the other, (batches, batch, seq_len); an epoch's last one is filled with 0."""
        drawn = [self.drawn(inputs[o], targets[o], rng) for o in orders]
        rows, nexts = ([self._filled(part) for part in parts] for parts in zip(*drawn, strict=True))
        return np.concatenate(rows), np.concatenate(nexts)

    def num_tokens(self, documents: list[str]) -> int:
        """Returns the training targets of one epoch; the rows are kept for the training that follows."""
        if self._is_masked:
            return num_hidden(documents, self._pieces, self._config.seq_len)
        rows = self._cut(documents)
        self._weighed = documents, rows
        return int(np.count_nonzero(rows[1]))

    def _filled(self, rows: Ids) -> Batches:
        size = self._config.batch_size
        count = -(-len(rows) // size)
        padded = np.zeros((count * size, self._config.seq_len), np.int32)
        padded[: len(rows)] = rows
        return padded.reshape(count, size, self._config.seq_len)

    @property
    def _pieces(self) -> PieceVocabulary:
        assert isinstance(self._vocab, PieceVocabulary)
        return self._vocab
