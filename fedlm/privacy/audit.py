"""A lower bound on epsilon from one run: canaries are in or out by fair coins, and an auditor guesses the coins.

Steinke, Nasr, Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023, theorem 5.2 and appendix D.
https://arxiv.org/abs/2305.08846

The auditor ranks canaries by a score that is larger for those that were in, guesses "in" for the first of the ranking
and "out" for the last, and abstains on the rest. How many it guesses is fixed before it looks.
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
_LARGEST = 30.0
Coins = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Guesses:
    """What an auditor reached.

    Attributes:
      canaries: whose coins were thrown.
      made: guesses; on the other canaries it abstained.
      correct: right guesses.
    """

    canaries: int
    made: int
    correct: int


def p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """Returns the largest chance that an (epsilon, delta)-private mechanism lets so many guesses be right.

    With W ~ Binomial(made, e^eps / (1 + e^eps)) and beta = P(W >= correct) it is
    beta + 2 canaries delta max_i (P(correct - i <= W) - beta) / i, i from 1 to correct.
    """
    law = stats.binom(guesses.made, 1 / (1 + math.exp(-epsilon)))
    beta = float(law.sf(guesses.correct - 1))
    steps = np.arange(1, guesses.correct + 1)
    alpha = float(np.max((law.sf(guesses.correct - steps - 1) - beta) / steps)) if guesses.correct else 0.0
    return min(1.0, beta + 2 * guesses.canaries * delta * alpha)


def lower_bound(guesses: Guesses, delta: float, confidence: float = CONFIDENCE) -> float:
    """Returns the largest epsilon that the guesses refute at the confidence; 0 if none, at most 30."""

    def gap(epsilon: float) -> float:
        return p_value(guesses, epsilon, delta) - (1 - confidence)

    if gap(0.0) >= 0:
        return 0.0
    return float(optimize.brentq(gap, 0.0, _LARGEST)) if gap(_LARGEST) > 0 else _LARGEST


def guess(inside: Coins, scores: Scores, share: float) -> Guesses:
    """Returns what an auditor reaches that guesses on a share of the canaries, half of it at either end of the ranking.

    Args:
      inside: who was in, (canaries,).
      scores: larger for those that the auditor takes for inside, (canaries,); ties are ranked by place.
      share: of the canaries that are guessed on, above 0 and at most 1.

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
    """Returns one released sum, in standard deviations of the ledger's noise, of canaries that each own a coordinate.

    Args:
      settings: of the mechanism; weights are 1.
      inside: who is in the sum, (canaries,); everybody's update is far above the clip norm.
      noise: factor on the noise (below 1: a broken mechanism, for the audit of the audit).
      source: noise bits; by default those of the settings.
    """
    mechanism, source = (
        build_mechanism(settings, len(inside)),
        source or noise_source(settings.reproducible, Stream(0, Purpose.SERVER_NOISE)),
    )
    event = mechanism.event(1, np.zeros(0, np.uint64))
    one = ExactSum((np.zeros(1, np.int64),))  # one coordinate is all that a canary touches
    mechanism.contribute(one, (np.full(1, 1e3, np.float32),), 1, source)
    silent = ExactSum((np.zeros(len(inside), np.int64),))
    drawn = mechanism.release(event, silent, source)[0] * noise
    return np.asarray((np.where(inside, one.sums[0][0], 0) + drawn) / max(event.noise_std, 1), np.float64)


def noise_p_value(residuals: Scores) -> float:
    """Returns the two-sided p-value of the chi-square test that residuals have standard deviation 1.

    Args:
      residuals: a released sum minus the sum that went in, in standard deviations of the ledger's noise, (coordinates,).
    """
    law = stats.chi2(len(residuals))
    squares = float(residuals @ residuals)
    return 2 * min(float(law.cdf(squares)), float(law.sf(squares)))
