"""Interpolated Witten-Bell n-grams: what counting alone achieves on the same text, symbols and accounting as a model.

With h the history of n - 1 symbols, h' without its oldest one, c counts in the training text, and T(h) the number of
different symbols that follow h there (Witten and Bell 1991, https://doi.org/10.1109/18.87000, method C, interpolated as
in Chen and Goodman 1998, https://dash.harvard.edu/handle/1/25104739, equation 17):

  P_n(w | h) = (c(hw) + T(h) P_{n-1}(w | h')) / (c(h) + T(h)),    P_0(w) = 1 / V

V counts every id that can be a target: all but padding and start. Targets are those of next-symbol training, with an
end symbol for each document; symbols outside the vocabulary are charged as for a model (`fedlm/text/unknown.py`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedlm.text.unknown import spelling
from fedlm.text.vocabulary import END, START, Vocabulary
from fedlm.types import TextMetrics

ORDERS = {"unigram": 1, "3-gram": 3, "5-gram": 5}
LARGEST = "5-gram"
_NO_TARGETS = 2  # padding and start
_Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Level:
    """The counts of one order: histories, and histories with the symbol that follows, both as sorted keys."""

    histories: _Whole
    pairs: _Whole
    pair_counts: _Whole
    counts: _Whole  # of each history
    followers: _Whole  # T of each history


class WittenBell:
    """n-grams of all orders up to one.

    Args:
      texts: the training text; read once.
      vocab: the vocabulary.
      order: the largest n, at least 1.
    """

    def __init__(self, texts: Iterable[str], vocab: Vocabulary, order: int) -> None:
        self._vocab, self._levels = vocab, list[_Level]()
        stream, targets = self._stream(texts)
        self.tokens = len(targets)
        history = np.zeros(len(targets), np.int64)  # the place of each target's history in its level
        for n in range(1, order + 1):
            keys = self._longer(history, stream, targets, n)
            histories, history = np.unique(keys, return_inverse=True)
            pairs, pair_counts = np.unique(history * vocab.size + stream[targets], return_counts=True)
            counts = np.bincount(history, minlength=len(histories))
            followers = np.bincount(pairs // vocab.size, minlength=len(histories))
            self._levels.append(_Level(histories, pairs, pair_counts, counts, followers))

    def score(self, texts: Iterable[str]) -> list[TextMetrics]:
        """Returns the sums of each order, from 1, over texts; `correct` is not counted and stays 0."""
        kept = list(texts)
        stream, targets = self._stream(kept)
        probability = np.full(len(targets), 1 / (self._vocab.size - _NO_TARGETS))
        history, found = np.zeros(len(targets), np.int64), list[TextMetrics]()
        extra = spelling(kept, self._vocab)
        characters = int(self._vocab.characters[stream[targets]].sum())
        for n, level in enumerate(self._levels, 1):
            history = _places(level.histories, np.where(history < 0, -1, self._longer(history, stream, targets, n)))
            probability = self._interpolated(level, history, stream[targets], probability)
            loss = -math.fsum(np.log(probability).tolist())
            found.append(TextMetrics(loss, 0, len(targets), characters) + extra)
        return found

    def _interpolated(
        self, level: _Level, history: _Whole, symbols: _Whole, lower: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Returns P_n of each target from P_{n-1}; a history that the training text does not have changes nothing."""
        known = history >= 0
        at = history[known]
        pair = _places(level.pairs, at * self._vocab.size + symbols[known])
        together = np.where(pair >= 0, level.pair_counts[pair], 0)
        count, followers = level.counts[at], level.followers[at]
        made = lower.copy()
        made[known] = (together + followers * lower[known]) / (count + followers)
        return made

    def _stream(self, texts: Iterable[str]) -> tuple[_Whole, _Whole]:
        """Returns the symbols of documents one after the other, each as START symbols END, and the places of targets."""
        parts = [np.concatenate(([START], self._vocab.encode(t), [END])).astype(np.int64) for t in texts]
        stream = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return stream, np.flatnonzero(stream != START)

    def _longer(self, history: _Whole, stream: _Whole, targets: _Whole, order: int) -> _Whole:
        """Returns the keys of histories of order - 1 symbols from the places of those one symbol shorter.

        Before a document's start there are start symbols: a history never reaches into another document.
        """
        if order == 1:
            return np.zeros(len(targets), np.int64)
        start = np.maximum.accumulate(np.where(stream == START, np.arange(len(stream)), 0))[targets]
        return history * self._vocab.size + stream[np.maximum(targets - (order - 1), start)]


def _places(keys: _Whole, wanted: _Whole) -> _Whole:
    """Returns the place of each wanted value in sorted keys; -1 where it is missing."""
    if not len(keys):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)
