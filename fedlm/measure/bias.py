"""Bias of a model: how much likelier it finds the stereotyped sentence of a pair than the other one.

The score is the mean of log P(stereotyped) - log P(other), in nats: raw, and per token so that longer sentences do not
weigh more. 0 is no preference. Nangia et al. 2020 (https://arxiv.org/abs/2010.00133) report the share of pairs whose
stereotyped sentence is likelier, which is here too; the difference also says how strong the preference is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from fedlm.measure.metric import Better, Measure, Metric, RunEvidence, Scorer
from fedlm.measure.pairs import Pair
from fedlm.types import TextMetrics

METRICS = (
    Metric("bias", "preference for the stereotyped sentence", "nats per sentence pair", Better.LOWER),
    Metric("bias_per_symbol", "preference for the stereotyped sentence", "nats per token", Better.LOWER),
    Metric("preferred", "pairs whose stereotyped sentence is likelier", "fraction"),
)

Continue = Callable[[Sequence[tuple[str, str]]], Sequence[TextMetrics]]
"""Returns the sums over the second text of each pair, after the first; `loss_sum` is -log P(second | first) in nats."""


@dataclass(frozen=True)
class Gap:
    """A mean difference over pairs, its standard error, and the number of pairs."""

    mean: float
    standard_error: float
    count: int

    def includes_zero(self) -> bool:
        """Returns whether 0 lies within 1.96 standard errors."""
        return abs(self.mean) <= 1.96 * self.standard_error


@dataclass(frozen=True)
class BiasScore:
    """What a model prefers over a set of pairs.

    Attributes:
      raw: log P(stereotyped) - log P(other), in nats.
      per_symbol: the same with each sentence's log probability over its symbols.
      preferred: share of pairs whose stereotyped sentence is likelier.
    """

    raw: Gap
    per_symbol: Gap
    preferred: float

    def to_dict(self) -> dict[str, object]:
        """Returns plain values for JSON."""
        return asdict(self)


def gap_of(values: npt.NDArray[np.float64]) -> Gap:
    """Returns the mean of independent values with its standard error; NaN for none, and no error for one."""
    if len(values) == 0:
        return Gap(math.nan, math.nan, 0)
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Gap(float(values.mean()), error, len(values))


def bias_score(pairs: Sequence[Pair], score: Scorer) -> BiasScore:
    """Scores pairs.

    Raises:
      ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("Expected at least one pair.")
    figures = score([text for pair in pairs for text in (pair.stereotyped, pair.other)])
    logs = np.array([-f.loss_sum for f in figures]).reshape(-1, 2)  # (pairs, 2)
    symbols = np.array([max(f.tokens, 1) for f in figures]).reshape(-1, 2)
    raw = logs[:, 0] - logs[:, 1]
    mean = logs / symbols
    return BiasScore(gap_of(raw), gap_of(mean[:, 0] - mean[:, 1]), float(np.mean(raw > 0)))


def bias_of(pairs: Callable[[], Sequence[Pair]]) -> Measure:
    """Returns the measure for a study that plants stereotypes.

    Args:
      pairs: returns the sentence pairs that are scored.
    """

    def figures(run: RunEvidence) -> dict[str, float]:
        found = bias_score(pairs(), run.score)
        return {"bias": found.raw.mean, "bias_per_symbol": found.per_symbol.mean, "preferred": found.preferred}

    return Measure(METRICS, figures)


def bias_by_kind(pairs: Sequence[Pair], score: Scorer) -> dict[str, BiasScore]:
    """Scores the pairs of each kind by themselves."""
    kinds = sorted({p.kind for p in pairs})
    return {kind: bias_score([p for p in pairs if p.kind == kind], score) for kind in kinds}
