"""Evaluation with a trainer's model: sentences scored one by one, and models that do not share (alone, pooled)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlm.types import TextMetrics, Weights

if TYPE_CHECKING:
    from fedlm.train import LocalTrainer


def scorer(trainer: "LocalTrainer") -> Callable[[Sequence[str]], list[TextMetrics]]:
    """Returns what scores texts, each by itself, under the trainer's current weights."""
    return lambda texts: trainer.evaluate_each(None, ([text] for text in texts))


def train_alone(
    trainer: "LocalTrainer", weights: Weights, documents: list[str], passes: int, rng: np.random.Generator
) -> Weights:
    """Returns the weights after `passes` over the documents, with the run's own client settings and nobody else's text."""
    for _ in range(passes):
        update, _ = trainer.train(weights, documents, rng)
        weights = tuple(w + u for w, u in zip(weights, update, strict=True))
    return weights
