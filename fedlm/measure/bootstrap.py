"""Percentile bootstrap over clients: of one run, and of several seeds at two levels (Efron and Tibshirani 1993, chapter 13).

Clients of one run share a model, and runs of one seed share a split, so a figure over the clients of several seeds varies at
two levels. A resample draws seeds, then clients: in every seed drawn its own (`nested`) where a seed deals new clients, or the
same clients in all of them (`crossed`) where the population is the same under every seed (Davison and Hinkley 1997,
section 3.8; Owen 2007, https://doi.org/10.1214/07-AOAS122).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fedlm.measure.statistics import LEVEL, Interval, Values
from fedlm.rng import Purpose, stream

RESAMPLES = 2000
_SEED = 20_260
_ENDS = (100 * LEVEL / 2, 100 * (1 - LEVEL / 2))  # percentiles

Statistic = Callable[[Values], Values]
"""A figure over clients: (..., clients) -> (...)."""


def _stream(purpose: int, count: int) -> np.random.Generator:
    """The same stream for the same count, so that reports repeat."""
    return stream(_SEED, Purpose.BOOTSTRAP, purpose, count)


def bootstrap_ratio(numerators: Values, denominators: Values, resamples: int = RESAMPLES) -> Interval:
    """Returns sum / sum with its interval over clients, whole clients resampled (a loss per token, for example).

    Args:
      numerators, denominators: of each client (clients,).
      resamples: their number.
    """
    count, total = len(numerators), float(np.sum(denominators))
    if count == 0 or total <= 0:
        return Interval(math.nan, math.nan, math.nan, count)
    if count == 1:
        return Interval(float(numerators[0] / total), math.nan, math.nan, 1)
    chosen = _stream(0, count).integers(0, count, (resamples, count))
    below = denominators[chosen].sum(axis=1)
    ratios = numerators[chosen].sum(axis=1)[below > 0] / below[below > 0]
    low, high = np.percentile(ratios, _ENDS)
    return Interval(float(np.sum(numerators) / total), float(low), float(high), count)


def two_level(
    seeds: Sequence[Values], statistics: Sequence[Statistic], *, crossed: bool, resamples: int = RESAMPLES
) -> list[Interval]:
    """Returns figures over clients, means over seeds, with intervals over seeds and clients; one for each statistic.

    Args:
      seeds: the clients' values under each seed; of the same clients in the same order if `crossed`.
      statistics: the figures.
      crossed: the population is the same under every seed.
      resamples: their number.

    Raises:
      ValueError: `crossed`, but a seed has another number of clients.
    """
    values = [np.asarray(v, np.float64) for v in seeds]
    sizes = {len(v) for v in values}
    if not values or min(sizes) == 0:
        return [Interval(math.nan, math.nan, math.nan, 0) for _ in statistics]
    if crossed and len(sizes) > 1:
        raise ValueError(f"Expected the same clients under every seed, got {sorted(sizes)} of them.")
    means = [float(np.mean([float(f(v)) for v in values])) for f in statistics]
    if max(sizes) == 1:  # one client says nothing about the spread over clients
        return [Interval(mean, math.nan, math.nan, 1) for mean in means]
    drawn = _stream(1, len(values)).integers(0, len(values), (resamples, len(values)))
    figures = _resampled(values, statistics, drawn, crossed=crossed)
    ends = np.percentile(figures.mean(axis=2), _ENDS, axis=1)  # (2, statistics)
    count = min(sizes)
    return [Interval(m, float(low), float(high), count) for m, low, high in zip(means, *ends, strict=True)]


def _resampled(
    values: Sequence[Values], statistics: Sequence[Statistic], drawn: npt.NDArray[np.int64], *, crossed: bool
) -> Values:
    """The statistics of resampled clients, (statistics, resamples, seeds), for the seeds drawn (resamples, seeds)."""
    found = np.empty((len(statistics), *drawn.shape))
    same = _stream(2, len(values[0])).integers(0, len(values[0]), (len(drawn), len(values[0])))  # used if crossed
    for place, own in enumerate(values):
        rows, columns = np.nonzero(drawn == place)
        clients = same[rows] if crossed else _stream(3 + place, len(own)).integers(0, len(own), (len(rows), len(own)))
        for which, statistic in enumerate(statistics):
            found[which, rows, columns] = statistic(own[clients])
    return found
