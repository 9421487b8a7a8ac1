"""Means over seeds, their t-intervals, and differences of pairs; docs/statistics.md has the equations.

scipy is loaded when an interval is wanted, so that declaring a measure loads nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LEVEL = 0.05  # of every test; intervals are at 1 - LEVEL


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
    """A mean difference of pairs.

    Attributes:
      interval: the mean and its paired t-interval.
      hedges_g: the mean over the standard deviation of the pairs' differences, corrected for few pairs.
    """

    interval: Interval
    hedges_g: float


@cache
def t_quantile(probability: float, freedom: float) -> float:
    """Returns the quantile of Student's t distribution.

    >>> round(t_quantile(0.975, 9), 3)
    2.262
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def t_interval(values: Sequence[float] | Values) -> Interval:
    """Returns the mean of independent values with Student's 95 % interval: mean -+ t(0.975, n - 1) s / sqrt(n).

    Args:
      values: such as one for each seed. With one value the ends are NaN; with none the mean is NaN, too.
    """
    known = np.asarray(values, np.float64)
    if len(known) < 2:
        return Interval(float(known[0]) if len(known) else math.nan, math.nan, math.nan, len(known))
    half = t_quantile(1 - LEVEL / 2, len(known) - 1) * standard_error(known)
    mean = float(known.mean())
    return Interval(mean, mean - half, mean + half, len(known))


def standard_error(values: Values) -> float:
    """Returns s / sqrt(n) with s over n - 1; NaN for fewer than two values, 0 where all are equal."""
    if len(values) < 2:
        return math.nan
    if np.all(values == values[0]):  # their rounded mean may differ from them
        return 0.0
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def hedges_g(differences: Values) -> float:
    """Returns the standardised mean difference of pairs, J mean / s, with Hedges' exact correction J for few pairs.

    J = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)) with m = n - 1 (Hedges 1981). NaN for fewer than three pairs, infinite
    where all pairs differ by the same amount, 0 where none differs.
    """
    freedom = len(differences) - 1
    if freedom < 2:
        return math.nan
    mean, error = float(np.mean(differences)), standard_error(np.asarray(differences, np.float64))
    if error == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    correction = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return correction * mean / (error * math.sqrt(len(differences)))


def paired_difference(treated: Sequence[float], control: Sequence[float]) -> Difference:
    """Returns treated - control over pairs (of the same seed, for example).

    >>> paired_difference([2.0, 4.0], [1.0, 1.0]).interval.mean
    2.0
    """
    if len(treated) != len(control):
        raise ValueError(f"Expected pairs, got {len(treated)=} and {len(control)=}.")
    differences = np.asarray(treated, np.float64) - np.asarray(control, np.float64)
    return Difference(t_interval(differences), hedges_g(differences))
