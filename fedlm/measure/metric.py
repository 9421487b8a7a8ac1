"""What a measure is: metrics with a label and a unit, and a function from the sums of a run to their values.

A file of this folder that declares `METRICS` is a measure. Its function `figures(run)`, if it has one, is applied to every
run of every study; measures that need something planted in the text return a `Measure` for a study to name.
Sums come first and ratios last: of two clients with 10 tokens at perplexity 10 and 90 tokens at perplexity 100, the
perplexity is exp((10 ln 10 + 90 ln 100) / 100) = 79.4; the mean over tokens of the perplexities would be 91.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.types import TextMetrics, Weights

Values = npt.NDArray[np.float64]

BITS_MARGIN = 0.02  # bits per character: under 1 % of what a model of characters needs

Scorer = Callable[[Sequence[str]], Sequence[TextMetrics]]
"""Returns the sums over each text under the model; `loss_sum` is -log P in nats."""

Continue = Callable[[Sequence[tuple[str, str]]], Sequence[TextMetrics]]
"""Returns the sums over the second text of each pair, after the first; `loss_sum` is -log P(second | first) in nats."""


class Better(Enum):
    """Which values of a metric are better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


@dataclass(frozen=True)
class Metric:
    """A figure of a run.

    Attributes:
      name: its key in study.json and results.parquet. A name that ends with a colon denotes a family: `group:` has one
        metric for each group, and `{}` in the label is replaced by the group's name.
      label: what tables and axes call it.
      unit: of its values; empty for a pure number.
      better: which values are better.
      describes_data: it is known before training, so it is in the table of the data.
      optional: a run may not define it, and `figures` then omits it.
      margin: the smallest difference that matters, in its unit; None has none, but bits per character have BITS_MARGIN.
      chance: its value for a model that knows nothing, which figures show; None where there is none or it varies.
      reference: the metric of the same run that figures show beside it, such as that of another model; empty for none.
      replaced_by: the metric to name in its place; a study that names this one is warned, and the next version lacks it.
    """

    name: str
    label: str
    unit: str = ""
    better: Better = Better.NEITHER
    describes_data: bool = False
    optional: bool = False
    margin: float | None = None
    chance: float | None = None
    reference: str = ""
    replaced_by: str = ""

    @property
    def smallest_effect(self) -> float | None:
        """The smallest difference that matters; None if none is declared.

        >>> Metric("bits", "held-out loss", "bits per character").smallest_effect
        0.02
        """
        default = BITS_MARGIN if self.unit == "bits per character" else None
        return default if self.margin is None else self.margin

    @property
    def title(self) -> str:
        """Label and unit.

        >>> Metric("loss", "held-out loss", "nats per token").title
        'held-out loss (nats per token)'
        """
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class ClientSums:
    """Sums of one client.

    Attributes:
      held_out: over its held-out text, under the run's model.
      train_tokens: training targets in one epoch.
      group: its value of the study's label; empty without one.
      local_only: over the same held-out text, under a model trained on its own text only; None where none was trained.
      equal: over as much of its held-out text as of every other client's; None where it has less.
      number: its place among all clients by name, so that a client has the same number under every seed.
    """

    held_out: TextMetrics
    train_tokens: int = 0
    group: str = ""
    local_only: TextMetrics | None = None
    number: int = 0
    equal: TextMetrics | None = None


def bits_per_character(sums: TextMetrics) -> float:
    """Returns the loss in bits per character; a client's figure is 0 if it has no loss and no characters.

    >>> bits_per_character(TextMetrics(loss_sum=2 * math.log(2), tokens=1, characters=4))
    0.5
    """
    return sums.loss_sum / math.log(2) / max(sums.characters, 1)


def no_model(texts: Sequence[object]) -> Sequence[TextMetrics]:
    """Takes the place of the model in a run whose measures score no text.

    Raises:
      ValueError: always.
    """
    raise ValueError(f"No model was given that could score {len(texts)} texts.")


@dataclass(frozen=True)
class WordVectors:
    """The embedding of a model of words.

    Attributes:
      vectors: of each word of the vocabulary, in the form that follows a space, (width,).
      counts: how often each occurs in the training text; None where the text is not at hand.
    """

    vectors: Mapping[str, npt.NDArray[np.float32]]
    counts: Mapping[str, int] | None = None

    def count(self, word: str) -> float:
        """Returns how often a word occurs: 0 for one without a vector, infinity where the text is not at hand."""
        if word not in self.vectors:
            return 0
        return math.inf if self.counts is None else self.counts.get(word, 0)


def no_words() -> WordVectors:
    """Takes the place of the embedding in a run whose measures read none.

    Raises:
      ValueError: always.
    """
    raise ValueError("No model was given whose word vectors could be read.")


@dataclass(frozen=True)
class RunEvidence:
    """All that the measures of a run may read.

    Attributes:
      clients: those with held-out text, in the order of their pseudonyms.
      minority: the group that is also reported separately; empty without groups.
      rounds: the lines of metrics.jsonl.
      weights: of the final model.
      seed: of the run.
      has_equal: the clients' `equal` was measured.
      score: scores texts under the final model.
      continue_: scores texts after other texts under the final model; the end symbol is not scored.
      texts: opens the training documents of all clients, in memory; none by default.
      ngrams: returns bits per character of n-grams of the pooled training text, on the clients' held-out text; none by
        default, and for a model that predicts hidden tokens.
      words: returns the word vectors of the final model, with their counts in the training text.
    """

    clients: tuple[ClientSums, ...] = ()
    minority: str = ""
    rounds: Sequence[Mapping[str, Any]] = ()
    weights: Weights = ()
    seed: int = 0
    has_equal: bool = False
    score: Scorer = field(default=no_model)
    continue_: Continue = field(default=no_model)
    texts: Callable[[], Sequence[str]] = tuple
    ngrams: Callable[[], Mapping[str, float]] = dict
    words: Callable[[], WordVectors] = field(default=no_words)

    @cached_property
    def bits(self) -> Values:
        """Held-out bits per character of each client, (clients,)."""
        return np.array([bits_per_character(c.held_out) for c in self.clients], np.float64)

    @cached_property
    def equal_bits(self) -> Values:
        """The same over equal amounts of held-out text, (clients,); NaN for clients with less."""
        known = [math.nan if c.equal is None else bits_per_character(c.equal) for c in self.clients]
        return np.array(known, np.float64)

    @cached_property
    def local_bits(self) -> Values:
        """The same under the clients' local-only models, (clients,); NaN where there is none."""
        known = [math.nan if c.local_only is None else bits_per_character(c.local_only) for c in self.clients]
        return np.array(known, np.float64)

    @cached_property
    def loss_bits(self) -> Values:
        """Held-out loss of each client in bits, a sum, (clients,)."""
        return np.array([c.held_out.loss_sum / math.log(2) for c in self.clients], np.float64)

    @cached_property
    def characters(self) -> Values:
        """Held-out characters of each client, (clients,)."""
        return np.array([c.held_out.characters for c in self.clients], np.float64)

    @property
    def groups(self) -> list[str]:
        """The group of each client."""
        return [c.group for c in self.clients]

    @cached_property
    def in_minority(self) -> npt.NDArray[np.bool_]:
        """Which clients belong to the minority, (clients,)."""
        return np.array([c.group == self.minority for c in self.clients], np.bool_)


@dataclass(frozen=True)
class Measure:
    """Metrics, and the function from a run to their values.

    Attributes:
      metrics: what `figures` returns, in order.
      figures: returns the values by name. A measure that a study names returns a finite value for every metric that is not
        optional. A measure of this folder is applied to every run and omits what the run does not define (or returns NaN).
    """

    metrics: tuple[Metric, ...]
    figures: Callable[[RunEvidence], Mapping[str, float]]
