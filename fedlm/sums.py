"""Exact sums of updates: integers have no order, so the weights have the same bits however the work was split.

A contribution is rint(weight * update * 2**24) as int64, the weight a whole number.
"""

from dataclasses import dataclass

import numpy as np

from fedlm.types import IntSums, Weights

SCALE = 2.0**24
LIMIT = 2**62


@dataclass
class ExactSum:
    """A running sum of contributions.

    Attributes:
      sums: int64 arrays, shapes of the weights.
      weight: total of the clients' weights.
      clients: contributions in the sum.
      failed: contributions refused or clients that failed.
      below: contributions that kept the clip norm unclipped, where one is set.
    """

    sums: IntSums
    weight: int = 0
    clients: int = 0
    failed: int = 0
    below: int = 0

    @classmethod
    def zeros_like(cls, weights: Weights) -> "ExactSum":
        """Returns the empty sum."""
        return cls(tuple(np.zeros(w.shape, np.int64) for w in weights))

    def add(self, update: Weights, weight: int, cohort_size: int) -> bool:
        """Adds a client's update in place.

        Args:
          update: local - global, float32.
          weight: the client's whole-number weight, >= 0.
          cohort_size: clients drawn this round; together they cannot overflow.

        Returns:
          False, and the client counts as failed, if a coordinate is not finite or larger than 2**62 // cohort_size.
        """
        scaled = [np.rint(u.astype(np.float64) * (weight * SCALE)) for u in update]
        bound = float(LIMIT // max(cohort_size, 1))
        if not all(np.all(np.abs(s) <= bound) for s in scaled):  # NaN compares false
            self.failed += 1
            return False
        for total, s in zip(self.sums, scaled, strict=True):
            total += s.astype(np.int64)
        self.weight += weight
        self.clients += 1
        return True

    def add_integers(self, contribution: IntSums, weight: int, *, below: bool = False, counts: bool = True) -> None:
        """Adds a contribution in place that is on the lattice and bounded already (`fedlm.privacy.contribute`)."""
        for total, c in zip(self.sums, contribution, strict=True):
            total += c
        self.weight += weight
        self.clients += counts
        self.below += below

    def merge(self, other: "ExactSum") -> None:
        """Adds another sum in place."""
        for total, s in zip(self.sums, other.sums, strict=True):
            total += s
        self.weight += other.weight
        self.clients += other.clients
        self.failed += other.failed
        self.below += other.below

    def mean(self, weights: Weights, denominator: float | None = None) -> Weights:
        """Returns float32(weights + sum / 2**24 / denominator); the weights themselves if nothing was added.

        Args:
          weights: the global weights.
          denominator: total weight to divide by; by default the sum's own.
        """
        total = self.weight if denominator is None else denominator
        if total <= 0:
            return weights
        return tuple(
            (w.astype(np.float64) + s.astype(np.float64) / SCALE / total).astype(np.float32)
            for w, s in zip(weights, self.sums, strict=True)
        )


def client_weight(weighting: str, cap: int, num_tokens: int) -> int:
    """Returns a client's whole-number weight: its tokens, min(tokens, cap), or 1."""
    if weighting == "uniform":
        return 1
    return min(num_tokens, cap) if weighting == "capped" else num_tokens
