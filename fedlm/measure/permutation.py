"""Permutation test of two sets: would any other division of their members lie as far apart?

The null is that the members are exchangeable, so that their division into the two sets says nothing about their values
(Caliskan et al. 2017, https://doi.org/10.1126/science.aal4230, one-sided there). A member may be a cluster of several values
that stay together.
"""

import itertools
import math

import numpy as np

from fedlm.measure.statistics import Values
from fedlm.rng import Purpose, stream

EXACT, DRAWN = 20_000, 10_000  # all divisions up to here, else so many at random


def division_p(sums: Values, counts: Values, first: int, seed: int) -> float:
    """Returns the two-sided p of the difference of the two sets' means.

    It is the share of all divisions of the members into sets of these sizes whose difference is at least as far from 0. Of
    random divisions it is (as far + 1) / (drawn + 1): the observed division counts as one of them.

    Args:
      sums: of the values of each member, (members,); those of the first set come first.
      counts: the number of values of each member, (members,).
      first: members of the first set.
      seed: of the stream of random divisions, used above EXACT divisions.
    """
    number = len(sums)
    exact = is_exact(number, first)
    if exact:
        chosen = np.array(list(itertools.combinations(range(number), first)))
    else:
        rng = stream(seed, Purpose.PERMUTATION, 0, first)
        chosen = np.argsort(rng.random((DRAWN, number)), axis=1)[:, :first]
    chosen = np.concatenate([np.arange(first)[None], chosen])  # the observed division, by the same arithmetic
    above, below = sums[chosen].sum(axis=1), counts[chosen].sum(axis=1)
    apart = np.abs(above / below - (sums.sum() - above) / (counts.sum() - below))
    # Rounding: a division whose sums were added in another order counts as equal.
    as_far = int(np.sum(apart[1:] >= apart[0] * (1 - 1e-12)))
    return as_far / (len(chosen) - 1) if exact else (as_far + 1) / (DRAWN + 1)


def is_exact(members: int, first: int) -> bool:
    """Returns whether all divisions are tried."""
    return math.comb(members, first) <= EXACT
