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

Scorer = Callable[[Sequence[str]], Sequence[TextMetrics]]
"""Returns the sums over each text under the model; `loss_sum` is -log P in nats."""


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
    """

    name: str
    label: str
    unit: str = ""
    better: Better = Better.NEITHER
    describes_data: bool = False

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
    """

    held_out: TextMetrics
    train_tokens: int = 0
    group: str = ""
    local_only: TextMetrics | None = None


def bits_per_character(sums: TextMetrics) -> float:
    """Returns the loss in bits per character; a client's figure is 0 if it has no loss and no characters.

    >>> bits_per_character(TextMetrics(loss_sum=2 * math.log(2), tokens=1, characters=4))
    0.5
    """
    return sums.loss_sum / math.log(2) / max(sums.characters, 1)


def no_model(texts: Sequence[str]) -> Sequence[TextMetrics]:
    """Takes the place of the model in a run whose measures score no text.

    Raises:
      ValueError: always.
    """
    raise ValueError(f"No model was given that could score {len(texts)} texts.")


@dataclass(frozen=True)
class RunEvidence:
    """All that the measures of a run may read.

    Attributes:
      clients: those with held-out text, in the order of their pseudonyms.
      minority: the group that is also reported separately; empty without groups.
      rounds: the lines of metrics.jsonl.
      weights: of the final model.
      seed: of the run.
      score: scores texts under the final model.
    """

    clients: tuple[ClientSums, ...] = ()
    minority: str = ""
    rounds: Sequence[Mapping[str, Any]] = ()
    weights: Weights = ()
    seed: int = 0
    score: Scorer = field(default=no_model)

    @cached_property
    def bits(self) -> Values:
        """Held-out bits per character of each client, (clients,)."""
        return np.array([bits_per_character(c.held_out) for c in self.clients], np.float64)

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
      figures: returns the values by name; a metric that the run does not define is left out or NaN.
    """

    metrics: tuple[Metric, ...]
    figures: Callable[[RunEvidence], Mapping[str, float]]
