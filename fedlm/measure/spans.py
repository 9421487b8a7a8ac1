"""Where two sentences differ, and what is scored of them: the text after the difference, and the odds of two pronouns.

The log probability of a whole sentence says mostly how frequent its words are. The text that both sentences share after the
difference has the same words in both, so what its probability changes by is due to what came before. A pronoun's own
log-odds hold the prior of the pronoun, which is the same whatever the sentence is about; the mean of the two sides'
log-odds is that prior, and is taken off.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlm.measure.pairs import Pair
from fedlm.measure.statistics import Values

PIECE = 40  # characters of a continuation that is scored at once; a model reads windows
_WORDS = re.compile(r"\s+|[^\s]+")
_COUPLES = (("she", "he"), ("her", "him"), ("her", "his"), ("hers", "his"), ("herself", "himself"))


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
class Span:
    """A pair in parts: the text before the difference, the two sides of it (stereotyped, other), and the text after it."""

    before: str
    sides: tuple[str, str]
    after: str

    @property
    def pronouns(self) -> tuple[str, str] | None:
        """The couple of pronouns (hers, his) that the pair differs in; None for another difference."""
        plain = {re.sub(r"\W", "", side).lower() for side in self.sides}
        return next((couple for couple in _COUPLES if set(couple) == plain), None)

    @property
    def is_hers(self) -> bool:
        """Whether the stereotyped side of a pair of pronouns is the woman's."""
        couple = self.pronouns
        return couple is not None and re.sub(r"\W", "", self.sides[0]).lower() == couple[0]


def span_of(pair: Pair) -> Span:
    """Returns where a pair differs, in whole words.

    >>> span_of(Pair("The nurse said she was late.", "The nurse said he was late.", "nurse"))
    Span(before='The nurse said ', sides=('she', 'he'), after=' was late.')
    """
    first, second = (_WORDS.findall(text) for text in (pair.stereotyped, pair.other))
    most = min(len(first), len(second))
    start = next((i for i in range(most) if first[i] != second[i]), most)
    end = next((i for i in range(most - start) if first[-1 - i] != second[-1 - i]), most - start)
    sides = ["".join(words[start : len(words) - end]) for words in (first, second)]
    return Span("".join(first[:start]), (sides[0], sides[1]), "".join(first[len(first) - end :]))


def continuations(before: str, text: str) -> list[tuple[str, str]]:
    """Returns a text in pieces that a model's window holds, each with all that comes before it.

    Pieces end before a space where there is one, so that no symbol of a vocabulary of words lies in two of them.
    """
    found, rest = [], text
    while rest:
        cut = rest.rfind(" ", 1, PIECE + 1) if len(rest) > PIECE else len(rest)
        cut = PIECE if cut < 1 else cut
        found.append((before, rest[:cut]))
        before, rest = before + rest[:cut], rest[cut:]
    return found


def clustered(values: Values, clusters: Sequence[str], weights: Values | None = None) -> Gap:
    """Returns a mean with a standard error that holds although values of one cluster are alike.

    With residuals r, weights w that add up to 1 and G clusters: sqrt(G / (G - 1) sum_g (sum_{i in g} w_i r_i)^2) (Liang and
    Zeger 1986). Clusters of one value each give the usual s / sqrt(n).

    Args:
      values: (values,).
      clusters: the cluster of each; "" is a cluster of its own.
      weights: of each value; equal by default.
    """
    count = len(values)
    if count == 0:
        return Gap(math.nan, math.nan, 0)
    shares = np.full(count, 1 / count) if weights is None else weights
    mean = float(np.sum(shares * values))
    names = [name or f"\0{place}" for place, name in enumerate(clusters)]
    places = np.unique(names, return_inverse=True)[1]
    sums = np.bincount(places, shares * (values - mean))
    groups = len(sums)
    error = math.sqrt(groups / (groups - 1) * float(np.sum(sums**2))) if groups > 1 else math.nan
    return Gap(mean, error, count)


def centred_log_odds(odds: Values, hers: Sequence[bool], couples: Sequence[object], clusters: Sequence[str]) -> Gap:
    """Returns the preference for the stereotyped pronoun, without the prior of the pronouns.

    With log-odds l of hers against his, it is half of the mean over pairs whose stereotype is hers minus the mean over the
    others, for each couple of pronouns; couples count by their pairs.

    Args:
      odds: log P(hers) - log P(his) of each pair, (pairs,).
      hers: whether the stereotyped pronoun is hers.
      couples: the couple of pronouns of each; one whose pairs are all on one side has no centre, and is left out.
      clusters: of the pairs.
    """
    women, sign = np.array(hers, np.bool_), np.where(hers, 1.0, -1.0)
    scores, weights = np.zeros(len(odds)), np.zeros(len(odds))
    for couple in dict.fromkeys(couples):
        of = np.array([c == couple for c in couples])
        sides = of & women, of & ~women
        if all(side.any() for side in sides):
            centre = (odds[sides[0]].mean() + odds[sides[1]].mean()) / 2
            scores[of] = (sign * (odds - centre))[of]
            for side in sides:
                weights[side] = of.sum() / (2 * side.sum())
    kept = weights > 0
    names = [c for c, keep in zip(clusters, kept, strict=True) if keep]
    return clustered(scores[kept], names, weights[kept] / max(weights.sum(), 1e-300))
