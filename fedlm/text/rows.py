"""Rows of token ids: windows for next-symbol prediction, and masked rows for masked-token prediction.

Next symbol. A document of symbols s_1 ... s_n becomes the stream START s_1 ... s_n END, which is
cut into rows of seq_len inputs; the target of each input is the symbol after it.

Masked token, as in BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1 and
appendix A.1): 15 % of a row's tokens, at least one, are targets. Of these, 80 % are replaced by
[MASK], 10 % by a random token, and 10 % stay. Masks are sampled again in every epoch, as in RoBERTa
(Liu et al. 2019, https://arxiv.org/abs/1907.11692, section 4.1), and are fixed in evaluation.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedlm.text.preset_vocabulary import PieceVocabulary
from fedlm.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN, Vocabulary
from fedlm.types import Ids

MASKED_SHARE = 0.15  # of a row's tokens: the targets
SHOWN_AS_MASK, SHOWN_AS_RANDOM = 0.8, 0.1  # shares of the targets; the rest is shown as it is


def windows(documents: Sequence[str], vocab: Vocabulary, seq_len: int) -> tuple[Ids, Ids]:
    """Cuts documents into rows for next-symbol prediction.

    Each document has separate rows, as in Reddi et al. 2021 (https://arxiv.org/abs/2003.00295,
    appendix on Shakespeare): row r predicts its symbols r * seq_len + 1 ... (r + 1) * seq_len. The
    last row of a document is padded.

    Returns:
      Inputs and targets, both (rows, seq_len) int32; a target 0 is padding.
    """
    streams = [np.concatenate(([START], vocab.encode(d), [END])).astype(np.int32) for d in documents]
    rows = [-(-(len(s) - 1) // seq_len) for s in streams]
    inputs = np.full((sum(rows), seq_len), PAD, np.int32)
    targets = np.full((sum(rows), seq_len), PAD, np.int32)
    first = 0
    for stream, count in zip(streams, rows, strict=True):
        size = len(stream) - 1  # a document's rows lie one after the other: one flat copy fills them
        inputs[first : first + count].reshape(-1)[:size] = stream[:-1]
        targets[first : first + count].reshape(-1)[:size] = stream[1:]
        first += count
    return inputs, targets


def whole_rows(documents: Sequence[str], vocab: Vocabulary, seq_len: int) -> tuple[Ids, Ids]:
    """Cuts documents into rows START tokens END of at most seq_len, for `hide`.

    Returns:
      Inputs and targets, both (rows, seq_len) int32. Every token is its own target; specials, unknown
      words and padding have target 0.
    """
    size = seq_len - 2
    parts = [ids[i : i + size] for ids in map(vocab.encode, documents) for i in range(0, len(ids), size)]
    inputs = np.full((len(parts), seq_len), PAD, np.int32)
    targets = np.full((len(parts), seq_len), PAD, np.int32)
    for row, part in enumerate(parts):
        inputs[row, : len(part) + 2] = [START, *part, END]
        targets[row, 1 : len(part) + 1] = np.where(part == UNKNOWN, PAD, part)
    return inputs, targets


def hide(inputs: Ids, targets: Ids, vocab: PieceVocabulary, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Hides tokens of rows that `whole_rows` has cut; only the chosen ones stay targets."""
    # A row's targets are its k smallest scores; places that are no token score above all others.
    scores = np.where(targets > 0, rng.random(targets.shape), 2.0)
    ranks = np.argsort(np.argsort(scores, axis=1), axis=1)
    chosen = ranks < _targets_of(np.sum(targets > 0, axis=1))[:, None]
    fate = rng.random(targets.shape)
    random = rng.integers(SPECIALS, vocab.size, targets.shape, dtype=np.int32)
    kept_or_random = np.where(fate < SHOWN_AS_MASK + SHOWN_AS_RANDOM, random, inputs)
    shown = np.where(fate < SHOWN_AS_MASK, vocab.mask, kept_or_random)
    return np.where(chosen, shown, inputs).astype(np.int32), np.where(chosen, targets, PAD).astype(np.int32)


def num_hidden(targets: Ids) -> int:
    """Returns how many targets `hide` leaves of rows that `whole_rows` has cut; masks differ, their number does not."""
    return int(_targets_of(np.sum(targets > 0, axis=1)).sum())


def _targets_of(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns max(1, round(0.15 n)) for rows of n tokens, and 0 for a row without any."""
    counts = np.minimum(lengths, np.maximum(1, np.rint(MASKED_SHARE * lengths)))
    return np.asarray(counts, np.int64)
