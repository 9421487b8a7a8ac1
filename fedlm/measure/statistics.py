"""Intervals and paired differences: what a figure could be by chance of clients or of seeds.

Percentile bootstrap: Efron and Tibshirani 1993, chapter 13. With fewer than five seeds it is narrow; reports say how many.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
DRAWS = 2000
_SEED = 20_260


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; the ends are NaN where one value says nothing about spread."""

    mean: float
    low: float
    high: float
    count: int

    def covers(self, value: float) -> bool:
        """Returns whether the value lies within."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Difference:
    """A mean difference of pairs, its interval, and Cohen's d of the pairs (mean / standard deviation; 1988, section 2.3.5)."""

    interval: Interval
    effect_size: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval.low > 0 or self.interval.high < 0


def _draws(count: int, draws: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([_SEED, count]).integers(0, count, (draws, count))


def bootstrap_mean(values: Sequence[float] | Values, draws: int = DRAWS) -> Interval:
    """Returns the mean of values (over seeds, say) with its percentile interval; NaN for none."""
    known = np.asarray(values, np.float64)
    if len(known) < 2:
        return Interval(float(known[0]) if len(known) else math.nan, math.nan, math.nan, len(known))
    means = known[_draws(len(known), draws)].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(known.mean()), float(low), float(high), len(known))


def bootstrap_ratio(numerators: Values, denominators: Values, draws: int = DRAWS) -> Interval:
    """Returns sum / sum with its interval over clients, whole clients drawn anew (a loss per token, say).

    Args:
      numerators, denominators: of each client (clients,).
    """
    count, total = len(numerators), float(np.sum(denominators))
    if count == 0 or total <= 0:
        return Interval(math.nan, math.nan, math.nan, count)
    if count == 1:
        return Interval(float(numerators[0] / total), math.nan, math.nan, 1)
    chosen = _draws(count, draws)
    below = denominators[chosen].sum(axis=1)
    ratios = numerators[chosen].sum(axis=1)[below > 0] / below[below > 0]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Interval(float(np.sum(numerators) / total), float(low), float(high), count)


def paired_difference(treated: Sequence[float], control: Sequence[float]) -> Difference:
    """Returns treated - control over pairs (of the same seed, say).

    The effect size is NaN for fewer than two pairs, and infinite where every pair differs by the same amount.

    >>> paired_difference([2.0, 4.0], [1.0, 1.0]).interval.mean
    2.0
    """
    if len(treated) != len(control):
        raise ValueError(f"Expected pairs, got {len(treated)=} and {len(control)=}.")
    differences = np.asarray(treated, np.float64) - np.asarray(control, np.float64)
    interval = bootstrap_mean(differences)
    if len(differences) < 2:
        return Difference(interval, math.nan)
    spread = float(np.std(differences, ddof=1))
    if spread == 0:
        return Difference(interval, math.copysign(math.inf, interval.mean) if interval.mean else 0.0)
    return Difference(interval, interval.mean / spread)
