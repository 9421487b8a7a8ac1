"""Scores texts and continuations with a trainer's model, and trains the baselines outside the federation."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlm.errors import CorpusError
from fedlm.text.vocabulary import PAD, START, Vocabulary
from fedlm.types import Ids, TextMetrics, Weights

if TYPE_CHECKING:
    from fedlm.training.trainer import LocalTrainer


def scorer(trainer: "LocalTrainer") -> Callable[[Sequence[str]], list[TextMetrics]]:
    """Returns a function that scores texts, each by itself, under the trainer's current weights."""
    return lambda texts: trainer.evaluate_each(None, ([text] for text in texts))


def continuation_scorer(trainer: "LocalTrainer") -> Callable[[Sequence[tuple[str, str]]], list[TextMetrics]]:
    """Returns a function that scores the second text of each pair after the first, under the trainer's current weights.

    The end symbol is not scored, since a continuation need not end the text.
    """
    size = trainer.config.seq_len
    return lambda pairs: trainer.sums(continuation_row(first, second, trainer.vocab, size) for first, second in pairs)


def continuation_row(before: str, text: str, vocab: Vocabulary, seq_len: int) -> tuple[Ids, Ids]:
    """Returns inputs and targets, (1, seq_len), whose only targets are the symbols of `text` after `before`.

    A text longer than seq_len loses its beginning. Where a symbol of several characters spans the
    end of `before` and the beginning of `text`, it is a target.

    Raises:
      CorpusError: `text` has more than seq_len symbols.
    """
    symbols, head = vocab.encode(before + text), vocab.encode(before)
    shared = min(len(head), len(symbols))
    differs = np.flatnonzero(head[:shared] != symbols[:shared])
    first = int(differs[0]) if len(differs) else shared
    if len(symbols) - first > seq_len:
        count = len(symbols) - first
        raise CorpusError(f"A continuation has {count} symbols, and the model reads {seq_len} at a time: shorten it.")
    stream = np.concatenate(([START], symbols)).astype(np.int32)
    inputs, targets = np.full((2, 1, seq_len), PAD, np.int32)
    targets_of = np.where(np.arange(len(symbols)) >= first, symbols, PAD)
    kept = min(len(symbols), seq_len)
    inputs[0, :kept], targets[0, :kept] = stream[:-1][-kept:], targets_of[-kept:]
    return inputs, targets


def train_centrally(
    trainer: "LocalTrainer", weights: Weights, documents: list[str], passes: int, rng: np.random.Generator
) -> Weights:
    """Returns the weights after `passes` over the documents, with the run's client settings.

    One client's documents give local-only training, those of all clients centralised training: the
    two baselines that federated training is compared with. max_client_tokens does not bound them.
    """
    for _ in range(passes):
        update, _ = trainer.train(weights, documents, rng, bounded=False)
        weights = tuple(w + u for w, u in zip(weights, update, strict=True))
    return weights
