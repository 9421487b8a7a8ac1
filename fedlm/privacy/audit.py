"""A lower bound on epsilon from one run: fair coins decide which canaries take part, and an auditor guesses the coins.

Steinke, Nasr, Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023, theorem 5.2 and appendix D.
https://arxiv.org/abs/2305.08846

The auditor ranks the canaries by a score that tends to be larger for those that took part. It guesses "in" for the top of
the ranking, "out" for the bottom, and abstains in between. The number of guesses is fixed in advance.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.privacy.noise import Source, noise_source
from fedlm.privacy.settings import PrivacySettings
from fedlm.rng import Purpose, Stream

CONFIDENCE = 0.95
_LARGEST = 30.0  # the largest epsilon that is tested
Coins = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Guesses:
    """The guesses of an auditor.

    Attributes:
      canaries: the number of canaries, m.
      made: the number of guesses, r; the auditor abstained on the other canaries.
      correct: the number of correct guesses, v.
    """

    canaries: int
    made: int
    correct: int


def p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """Returns an upper bound on P(at least `correct` guesses are correct) under any (epsilon, delta)-private mechanism.

    With W ~ Binomial(r, e^eps / (1 + e^eps)) and beta = P(W >= v), theorem 5.2 bounds it by

        beta + 2 m delta max_{1 <= i <= v} (P(W >= v - i) - beta) / i.
    """
    law = stats.binom(guesses.made, 1 / (1 + math.exp(-epsilon)))
    beta = float(law.sf(guesses.correct - 1))  # sf(k) = P(W > k)
    steps = np.arange(1, guesses.correct + 1)
    alpha = float(np.max((law.sf(guesses.correct - steps - 1) - beta) / steps)) if guesses.correct else 0.0
    return min(1.0, beta + 2 * guesses.canaries * delta * alpha)


def lower_bound(guesses: Guesses, delta: float, confidence: float = CONFIDENCE) -> float:
    """Returns the largest epsilon that the guesses reject at the given confidence: 0 if none, at most 30."""

    def gap(epsilon: float) -> float:
        return p_value(guesses, epsilon, delta) - (1 - confidence)

    if gap(0.0) >= 0:
        return 0.0
    return float(optimize.brentq(gap, 0.0, _LARGEST)) if gap(_LARGEST) > 0 else _LARGEST


def guess(inside: Coins, scores: Scores, share: float) -> Guesses:
    """Returns the guesses of an auditor on a share of the canaries, half of them at each end of the ranking.

    Args:
      inside: which canaries took part, (canaries,).
      scores: the auditor's scores, (canaries,), larger for "in"; ties are ranked by position.
      share: the fraction of canaries that are guessed, above 0 and at most 1.

    Raises:
      ValueError: the shapes differ, a score is NaN, or the share is out of range.
    """
    if inside.shape != scores.shape or not 0 < share <= 1 or np.isnan(scores).any():
        raise ValueError(f"Expected {inside.shape=} == {scores.shape=}, numbers, and 0 < {share=} <= 1.")
    each, order = int(len(inside) * share / 2), np.argsort(scores, kind="stable")
    correct = int((~inside[order[:each]]).sum() + inside[order[len(inside) - each :]].sum())
    return Guesses(len(inside), 2 * each, correct)


def released_canaries(
    settings: PrivacySettings, inside: Coins, *, noise: float = 1.0, source: Source | None = None
) -> Scores:
    """Returns one released sum over canaries that each use one coordinate, in units of the ledger's noise_std, (canaries,).

    Args:
      settings: the privacy settings; all weights are 1.
      inside: which canaries are in the sum, (canaries,); every update is far above the clip norm.
      noise: a factor on the noise; below 1 the mechanism is broken, which the audit must detect.
      source: of noise bits; by default that of the settings.
    """
    mechanism = build_mechanism(settings, len(inside))
    source = source or noise_source(settings.reproducible, Stream(0, Purpose.SERVER_NOISE))
    event = mechanism.event(1, np.zeros(0, np.uint64))
    canary = ExactSum((np.zeros(1, np.int64),))  # (1,): a canary's update is zero outside its own coordinate
    mechanism.contribute(canary, (np.full(1, 1e3, np.float32),), 1, source)
    empty = ExactSum((np.zeros(len(inside), np.int64),))
    sampled = mechanism.release(event, empty, source)[0] * noise  # (canaries,) noise alone
    return np.asarray((np.where(inside, canary.sums[0][0], 0) + sampled) / max(event.noise_std, 1), np.float64)


def noise_p_value(residuals: Scores) -> float:
    """Returns the two-sided p-value of the chi-square test that the residuals have standard deviation 1.

    Args:
      residuals: released sum minus true sum, in units of the ledger's noise_std, (coordinates,).
    """
    law = stats.chi2(len(residuals))
    squares = float(residuals @ residuals)
    return 2 * min(float(law.cdf(squares)), float(law.sf(squares)))
