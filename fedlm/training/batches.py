"""A client's text as the rows and batches that a model is trained on.

  documents -> ids -> rows (rows, seq_len) -> [an epoch's order, masks] -> batches (batches, batch,
  seq_len)

Rows are cut once a message and client (`Batching.prepare`); order and masks are sampled again in every
epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.text.preset_vocabulary import PieceVocabulary
from fedlm.text.rows import hide, num_hidden, whole_rows, windows
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import Batches, Ids

Orders = Sequence[npt.NDArray[np.int64]]
"""A permutation of the rows for each epoch."""


@dataclass(frozen=True)
class PreparedClient:
    """One client's training text, cut into rows.

    Attributes:
      inputs: ids that the model reads, (rows, seq_len).
      targets: the id that each of them should predict, (rows, seq_len); 0 is not a target. For
        masked-token prediction every token of the text is one here; each epoch hides some of them
        and drops the other targets.
      num_tokens: targets of one epoch, by which the client is weighted.
    """

    inputs: Ids = field(repr=False)
    targets: Ids = field(repr=False)
    num_tokens: int


class Batching:
    """Cuts text into rows, and rows into batches.

    Args:
      config: seq_len, batch_size, local_epochs, local_steps and max_client_tokens.
      vocab: vocabulary of the run.
      is_masked: the model predicts hidden tokens instead of the next one.
    """

    def __init__(self, config: RunConfig, vocab: Vocabulary, *, is_masked: bool) -> None:
        self._config, self._vocab, self._is_masked = config, vocab, is_masked

    def prepare(self, documents: Sequence[str]) -> PreparedClient:
        """Returns a client's rows; none for a client without text."""
        if not self._is_masked:
            inputs, targets = windows(documents, self._vocab, self._config.seq_len)
            return PreparedClient(inputs, targets, int(np.count_nonzero(targets)))
        inputs, targets = whole_rows(documents, self._pieces, self._config.seq_len)
        return PreparedClient(inputs, targets, num_hidden(targets))

    @property
    def most_rows(self) -> int:
        """The most rows that a client is trained on in a round, over all local epochs; 0 sets no bound."""
        return self._config.max_client_tokens // self._config.seq_len

    def num_watched(self, rows: int, *, bounded: bool = True) -> int:
        """Returns how many of a client's rows, the last ones, watch for early stopping; each epoch evaluates them."""
        if not self._config.client_patience:
            return 0
        most = self.most_rows if bounded and self.most_rows else rows
        return int(self._config.client_holdout * min(rows, most))

    def orders(self, rows: int, rng: np.random.Generator, *, bounded: bool = True) -> Orders:
        """Draws the order of the rows in each local epoch; with local_steps, of all steps as one epoch.

        The steps go through one permutation of the rows after the other, until the last batch is full.

        Bounded, the round ends after `most_rows` rows, in the middle of an epoch or before it; padding counts, so
        there are at most as many training steps. The bound changes nothing about what is drawn.
        """
        if bounded and self._config.local_steps:
            needed = self._config.local_steps * self._config.batch_size if rows else 0
            passes = [rng.permutation(rows) for _ in range(-(-needed // max(rows, 1)))]
            return [np.concatenate([np.zeros(0, np.int64), *passes])[:needed]]
        orders = [rng.permutation(rows) for _ in range(self._config.local_epochs)]
        if not (bounded and self.most_rows):
            return orders
        return [order[: max(0, self.most_rows - epoch * rows)] for epoch, order in enumerate(orders)]

    def with_masks(self, inputs: Ids, targets: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Returns rows as the model sees them in one epoch: some tokens hidden, if it predicts hidden tokens."""
        return hide(inputs, targets, self._pieces, rng) if self._is_masked else (inputs, targets)

    def batches(self, inputs: Ids, targets: Ids, orders: Orders, rng: np.random.Generator) -> tuple[Batches, Batches]:
        """Returns inputs and targets of all epochs, one epoch after the other.

        Args:
          inputs, targets: rows, (rows, seq_len).
          orders: which rows, in which order; one array an epoch.
          rng: draws the masks.

        Returns:
          Inputs and targets, both (batches, batch, seq_len). No batch spans two epochs: the last
          one of an epoch is filled up with rows of 0, which have no targets.
        """
        epochs = [self.with_masks(inputs[order], targets[order], rng) for order in orders]
        batched = [(self._batched(rows), self._batched(nexts)) for rows, nexts in epochs]
        return np.concatenate([rows for rows, _ in batched]), np.concatenate([nexts for _, nexts in batched])

    def _batched(self, rows: Ids) -> Batches:
        """Returns rows (rows, seq_len) as (batches, batch, seq_len), the last batch filled up with 0."""
        size = self._config.batch_size
        count = -(-len(rows) // size)
        padded = np.zeros((count * size, self._config.seq_len), np.int32)
        padded[: len(rows)] = rows
        return padded.reshape(count, size, self._config.seq_len)

    @property
    def _pieces(self) -> PieceVocabulary:
        if not isinstance(self._vocab, PieceVocabulary):
            raise ConfigError(f"Masked-token prediction needs the vocabulary of a preset, not {self._vocab.name!r}.")
        return self._vocab
