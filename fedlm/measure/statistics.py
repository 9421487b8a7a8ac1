"""Intervals and paired differences: how much a figure varies over clients or over seeds.

Percentile bootstrap: Efron and Tibshirani 1993, chapter 13. With few values it is narrower than a 95 % interval should be.
With n = 2 or 3 it is the range of the values: all n draws of a resample are one value with probability n^-n (1/4, 1/27),
which is above the 2.5 % at each end; with n = 4 it is 1/256.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedlm.rng import Purpose, stream

Values = npt.NDArray[np.float64]
RESAMPLES = 2000
_SEED = 20_260
_TAIL = 0.025  # of the resamples, left off at each end


def is_range(count: int) -> bool:
    """Returns whether the bootstrap interval of so many values is their range, and no 95 % interval.

    >>> [is_range(n) for n in (2, 3, 4)]
    [True, True, False]
    """
    return count**-count > _TAIL if count > 0 else True


@dataclass(frozen=True)
class Interval:
    """A figure and its bootstrap interval; the ends are NaN where one value says nothing about spread."""

    mean: float
    low: float
    high: float
    count: int

    def covers(self, value: float) -> bool:
        """Returns whether the value lies within."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Difference:
    """A mean difference of pairs.

    Attributes:
      interval: the mean and its bootstrap interval over pairs.
      effect_size: Cohen's d of the pairs: mean / standard deviation (1988, section 2.3.5).
      same_sign: pairs that differ in the direction of the mean.
    """

    interval: Interval
    effect_size: float
    same_sign: int = 0

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does not hold 0. No significance test: see the top of this file."""
        return self.interval.low > 0 or self.interval.high < 0


def _resampled(count: int, resamples: int) -> npt.NDArray[np.int64]:
    """Places of the values in each resample, (resamples, count): the same for the same count, so that reports repeat."""
    return stream(_SEED, Purpose.BOOTSTRAP, 0, count).integers(0, count, (resamples, count))


def bootstrap_mean(values: Sequence[float] | Values, resamples: int = RESAMPLES) -> Interval:
    """Returns the mean of values (over seeds, for example) with its percentile interval; NaN for none."""
    known = np.asarray(values, np.float64)
    if len(known) < 2:
        return Interval(float(known[0]) if len(known) else math.nan, math.nan, math.nan, len(known))
    means = known[_resampled(len(known), resamples)].mean(axis=1)
    low, high = np.percentile(means, [100 * _TAIL, 100 * (1 - _TAIL)])
    return Interval(float(known.mean()), float(low), float(high), len(known))


def bootstrap_ratio(numerators: Values, denominators: Values, resamples: int = RESAMPLES) -> Interval:
    """Returns sum / sum with its interval over clients, whole clients resampled (a loss per token, for example).

    Args:
      numerators, denominators: of each client (clients,).
    """
    count, total = len(numerators), float(np.sum(denominators))
    if count == 0 or total <= 0:
        return Interval(math.nan, math.nan, math.nan, count)
    if count == 1:
        return Interval(float(numerators[0] / total), math.nan, math.nan, 1)
    chosen = _resampled(count, resamples)
    below = denominators[chosen].sum(axis=1)
    ratios = numerators[chosen].sum(axis=1)[below > 0] / below[below > 0]
    low, high = np.percentile(ratios, [100 * _TAIL, 100 * (1 - _TAIL)])
    return Interval(float(np.sum(numerators) / total), float(low), float(high), count)


def paired_difference(treated: Sequence[float], control: Sequence[float]) -> Difference:
    """Returns treated - control over pairs (of the same seed, for example).

    The effect size is NaN for fewer than two pairs, and infinite where every pair differs by the same amount.

    >>> paired_difference([2.0, 4.0], [1.0, 1.0]).interval.mean
    2.0
    """
    if len(treated) != len(control):
        raise ValueError(f"Expected pairs, got {len(treated)=} and {len(control)=}.")
    differences = np.asarray(treated, np.float64) - np.asarray(control, np.float64)
    interval = bootstrap_mean(differences)
    same_sign = int(np.sum(np.sign(differences) == np.sign(interval.mean))) if interval.mean else 0
    if len(differences) < 2:
        return Difference(interval, math.nan, same_sign)
    spread = float(np.std(differences, ddof=1))
    if spread == 0:
        return Difference(interval, math.copysign(math.inf, interval.mean) if interval.mean else 0.0, same_sign)
    return Difference(interval, interval.mean / spread, same_sign)
