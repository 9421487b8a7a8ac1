"""Rows for masked-token prediction, as in BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1).

15 % of a row's tokens, at least one, are targets: of them 80 % are hidden behind [MASK], 10 % replaced by a random token, 10 %
left as they are. Masks are drawn anew in every epoch, as in RoBERTa (Liu et al. 2019), and are fixed in evaluation.
"""

import numpy as np
import numpy.typing as npt

from fedlm.text.pretrained import PieceVocabulary
from fedlm.text.vocabulary import END, PAD, SPECIALS, START, Vocabulary
from fedlm.types import Ids

SHARE, HIDDEN, REPLACED = 0.15, 0.8, 0.1


def whole_rows(documents: list[str], vocab: PieceVocabulary, seq_len: int) -> tuple[Ids, Ids]:
    """Cuts each document into rows between start and end.

    Returns:
      inputs and targets, both (rows, seq_len) int32; a target is each token itself, 0 for specials and padding.
    """
    size = seq_len - 2
    parts = [ids[i : i + size] for ids in map(vocab.encode, documents) for i in range(0, len(ids), size)]
    inputs = np.full((len(parts), seq_len), PAD, np.int32)
    targets = np.full((len(parts), seq_len), PAD, np.int32)
    for row, part in enumerate(parts):
        inputs[row, : len(part) + 2] = [START, *part, END]
        targets[row, 1 : len(part) + 1] = part
    return inputs, targets


def hide(inputs: Ids, targets: Ids, vocab: PieceVocabulary, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Hides tokens of rows that `whole_rows` has cut; only hidden ones stay targets."""
    scores = np.where(targets > 0, rng.random(targets.shape), 2.0)
    ranks = np.argsort(np.argsort(scores, axis=1), axis=1)
    chosen = ranks < _hidden(np.sum(targets > 0, axis=1))[:, None]
    fate = rng.random(targets.shape)
    others = rng.integers(SPECIALS, vocab.size, targets.shape, dtype=np.int32)
    shown = np.where(fate < HIDDEN, vocab.mask, np.where(fate < HIDDEN + REPLACED, others, inputs))
    return np.where(chosen, shown, inputs).astype(np.int32), np.where(chosen, targets, PAD).astype(np.int32)


def num_hidden(documents: list[str], vocab: PieceVocabulary, seq_len: int) -> int:
    """Returns how many targets one epoch has; masks differ, their number does not."""
    _, targets = whole_rows(documents, vocab, seq_len)
    return int(_hidden(np.sum(targets > 0, axis=1)).sum())


def _hidden(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.minimum(lengths, np.maximum(1, np.rint(SHARE * lengths))).astype(np.int64)
    return counts


def windows(documents: list[str], vocab: Vocabulary, seq_len: int) -> tuple[Ids, Ids]:
    """Cuts a client's documents into rows for next-symbol prediction.

    Each document, between start and end, is cut into rows of its own, as in Reddi et al. 2021 (appendix on Shakespeare):
    row r of it predicts its symbols r * seq_len + 1 ... (r + 1) * seq_len. The last row of a document is padded.

    Returns:
      inputs and targets, both (rows, seq_len) int32; a target 0 is padding.
    """
    streams = [np.concatenate(([START], vocab.encode(d), [END])).astype(np.int32) for d in documents]
    rows = [-(-(len(s) - 1) // seq_len) for s in streams]
    inputs = np.full((sum(rows), seq_len), PAD, np.int32)
    targets = np.full((sum(rows), seq_len), PAD, np.int32)
    first = 0
    for stream, count in zip(streams, rows, strict=True):
        size = len(stream) - 1
        inputs[first : first + count].reshape(-1)[:size] = stream[:-1]
        targets[first : first + count].reshape(-1)[:size] = stream[1:]
        first += count
    return inputs, targets
