"""Verdicts on the primary contrasts of a study; docs/statistics.md has the equations and the sources.

A contrast has one difference for each seed. It is significant by an exact sign-flip test (Fisher 1935, section 21) and
equivalent by two one-sided t-tests within a margin (Schuirmann 1987), each with Holm's correction over the study's primary
contrasts (Holm 1979). The sign-flip test keeps its level for differences that are symmetric about 0 if there is no effect,
such as those of two conditions with the same distribution.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

import numpy as np

from fedlm.measure.statistics import LEVEL, Interval, Values, hedges_g, standard_error, t_interval
from fedlm.rng import Purpose, stream

EXACT_PAIRS = 16  # all flips of the signs up to so many pairs; beyond, RANDOM_FLIPS of them
RANDOM_FLIPS = 2**16
POWER = 0.8  # with which the detectable effect would have been found
_SIMULATED_PAIRS, _SIMULATIONS = 10, 2000  # power of the sign-flip test; beyond so many pairs that of the t-test
_LARGEST_EFFECT = 64.0  # in standard deviations: above it, power does not grow
_ROUNDING = 1e-12  # of the sum of sizes: flips that tie with the data, summed in another order, count as equal


class Verdict(Enum):
    """What the data say about a contrast."""

    SIGNIFICANT = "significant"
    SMALL = "significant, below the margin"
    EQUIVALENT = "equivalent"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Sample:
    """The differences of a primary contrast.

    Attributes:
      differences: one for each seed whose runs ended with a finite figure, (seeds,).
      margin: the smallest effect that matters; None if none is declared, and then nothing is equivalent.
      complete: no seed is missing. A contrast with a missing seed is not decided.
    """

    differences: Values
    margin: float | None = None
    complete: bool = True


@dataclass(frozen=True)
class Decision:
    """A verdict and what it rests on.

    Attributes:
      verdict: see `Verdict`.
      interval: the mean difference and its paired t-interval.
      hedges_g: the standardised mean difference.
      p: of the sign-flip test, two-sided; NaN without a complete sample.
      p_holm: the same, corrected over the primary contrasts.
      p_equivalent: of the two one-sided tests, corrected; NaN without a margin or a complete sample.
      margin: the smallest effect that matters.
      detectable: the effect that would have been found with probability POWER at the corrected level, from the spread of the
        differences; infinite where no effect can be found with so few seeds, NaN for fewer than two.
      needed: seeds from which on a contrast of such a study can be significant.
    """

    verdict: Verdict
    interval: Interval
    hedges_g: float
    p: float
    p_holm: float
    p_equivalent: float
    margin: float | None
    detectable: float
    needed: int


def decide(samples: Sequence[Sample]) -> list[Decision]:
    """Returns the verdicts on all primary contrasts of a study, in order."""
    single = [sign_flip(s.differences) if s.complete else math.nan for s in samples]
    alike = [equivalence(s.differences, s.margin) if s.complete else math.nan for s in samples]
    pairs = zip(samples, single, holm(single), holm(alike), strict=True)
    return [_decision(s, p, p_holm, p_equivalent, len(samples)) for s, p, p_holm, p_equivalent in pairs]


def _decision(sample: Sample, p: float, p_holm: float, p_equivalent: float, contrasts: int) -> Decision:
    differs, alike = p_holm <= LEVEL, p_equivalent <= LEVEL  # False for NaN
    verdicts = {
        (True, True): Verdict.SMALL,
        (True, False): Verdict.SIGNIFICANT,
        (False, True): Verdict.EQUIVALENT,
        (False, False): Verdict.UNDECIDED,
    }
    found = sample.differences
    return Decision(
        verdicts[differs, alike],
        t_interval(found),
        hedges_g(found),
        p,
        p_holm,
        p_equivalent,
        sample.margin,
        detectable(found, contrasts),
        seeds_needed(contrasts),
    )


@cache
def _flips(pairs: int) -> Values:
    """Signs, (flips, pairs): all with the first one kept, because both tails are counted; or random ones."""
    if pairs <= EXACT_PAIRS:
        numbers = np.arange(2 ** max(pairs - 1, 0))[:, None]
        bits = numbers >> np.arange(pairs)[::-1] & 1
    else:
        bits = stream(pairs, Purpose.PERMUTATION).integers(0, 2, (RANDOM_FLIPS, pairs))
    return 1.0 - 2.0 * bits.astype(np.float64)


def sign_flip(differences: Values) -> float:
    """Returns the two-sided p-value of the sign-flip test of a mean of 0: the share of flips at least as far from 0.

    The signs of symmetric differences are exchangeable, so all 2**n flips are equally likely if there is no effect. Beyond
    EXACT_PAIRS pairs RANDOM_FLIPS random flips are taken, and the data count as one of them.

    >>> sign_flip(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    0.03125
    """
    return float(sign_flips(np.asarray(differences, np.float64)[None])[0])


def sign_flips(samples: Values) -> Values:
    """Returns the p-value of each sample, (samples, pairs) -> (samples,); 1 for no pairs."""
    pairs = samples.shape[1]
    seen = np.abs(samples.sum(axis=1)) - _ROUNDING * np.abs(samples).sum(axis=1)
    as_far = np.sum(np.abs(samples @ _flips(pairs).T) >= seen[:, None], axis=1)
    found: Values = as_far / 2 ** max(pairs - 1, 0) if pairs <= EXACT_PAIRS else (as_far + 1) / (RANDOM_FLIPS + 1)
    return found


def holm(single: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number by Holm's step-down method; NaN stays, and counts as a test.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(single)), key=lambda i: (math.isnan(single[i]), single[i]))
    corrected, largest = [math.nan] * len(single), 0.0
    for place, i in enumerate(order):
        if not math.isnan(single[i]):
            largest = max(largest, min(1.0, (len(single) - place) * single[i]))
            corrected[i] = largest
    return corrected


def equivalence(differences: Values, margin: float | None) -> float:
    """Returns the p-value of two one-sided t-tests that the mean lies within -margin and +margin: the larger of the two.

    NaN without a margin or with fewer than two pairs. Pairs that all differ by the same amount are certain: 0 or 1.
    """
    if margin is None or len(differences) < 2:
        return math.nan
    mean, error = float(np.mean(differences)), standard_error(differences)
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    from scipy.special import stdtr

    return float(stdtr(len(differences) - 1, (abs(mean) - margin) / error))


def seeds_needed(contrasts: int) -> int:
    """Returns the seeds from which on one of so many contrasts can be significant: the smallest n with m 2 / 2**n <= 0.05.

    >>> [seeds_needed(m) for m in (1, 2)]
    [6, 7]
    """
    return next(n for n in range(1, 64) if contrasts * 2.0 ** (1 - n) <= LEVEL)


def detectable(differences: Values, contrasts: int) -> float:
    """Returns the mean difference that is found with probability POWER if pairs are normal with the spread seen."""
    if len(differences) < 2:
        return math.nan
    effect, error = standardised_detectable(len(differences), contrasts), standard_error(differences)
    return effect if math.isinf(effect) else effect * error * math.sqrt(len(differences))


@cache
def standardised_detectable(pairs: int, contrasts: int) -> float:
    """Returns the detectable effect in standard deviations of the differences, at the first step of Holm's correction."""
    power = _simulated_power(pairs, LEVEL / contrasts)
    if power(_LARGEST_EFFECT) < POWER:
        return math.inf
    low, high = 0.0, _LARGEST_EFFECT
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _simulated_power(pairs: int, level: float) -> Callable[[float], float]:
    """Returns power as a function of the effect: of the sign-flip test on simulated pairs, or for many pairs the t-test's."""
    if pairs > _SIMULATED_PAIRS:
        return lambda effect: _power_of_t(effect, pairs, level)
    normal = stream(pairs, Purpose.PERMUTATION, 0, 1).standard_normal((_SIMULATIONS, pairs))
    return lambda effect: float(np.mean(sign_flips(normal + effect) <= level))


def _power_of_t(effect: float, pairs: int, level: float) -> float:
    from scipy.special import nctdtr, stdtrit

    limit = stdtrit(pairs - 1, 1 - level / 2)
    return float(1 - nctdtr(pairs - 1, effect * math.sqrt(pairs), limit))
