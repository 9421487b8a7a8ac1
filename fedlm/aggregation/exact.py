"""Exact sums of updates: integers have no order, so the weights have the same bits however the work was split.

A contribution is rint(weight * update * 2**24) as int64, the weight a whole number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedlm.types import IntSums, Weights

SCALE = 2.0**24
LIMIT = 2**62
_BLOCK = 2**14  # coordinates at a time: their doubles and integers stay in a core's cache


@dataclass
class Drift:
    """A second exact sum, of the unit updates: how far clients pull apart, with no single update in it.

    The mean over clients of cos(u_i, m) is (sum of u_i / |u_i|) . m / (clients |m|), so a sum is all it takes.

    Attributes:
      units: sum of rint(update / |update| * 2**24), int64, shapes of the weights.
      norms: sum of rint(|update| * 2**24).
      clients: updates in it; one of length 0 has no direction and is left out.
    """

    units: IntSums
    norms: int = 0
    clients: int = 0

    def add(self, update: Weights) -> None:
        """Adds a finite update in place."""
        norm = math.sqrt(sum(float(np.sum(np.square(u, dtype=np.float64))) for u in update))
        if norm > 0:
            for total, u in zip(self.units, update, strict=True):
                total += np.rint(u.astype(np.float64) * (SCALE / norm)).astype(np.int64)
            self.norms += round(norm * SCALE)
            self.clients += 1

    def plus(self, other: "Drift") -> "Drift":
        """Returns the sum of two."""
        return Drift(_plus(self.units, other.units), self.norms + other.norms, self.clients + other.clients)

    def summary(self, total: "ExactSum") -> dict[str, float]:
        """Returns the updates' mean norm, the norm of their mean, and their mean cosine to it (1: all one way; NaN: no mean).

        Args:
          total: the sum of the same updates under their weights.
        """
        mean = [s.astype(np.float64) / SCALE / max(total.weight, 1) for s in total.sums]
        length = math.sqrt(sum(float(np.sum(m * m)) for m in mean))
        along = sum(float(np.sum(u * m)) for u, m in zip(self.units, mean, strict=True)) / SCALE
        return {
            "norm": self.norms / SCALE / max(self.clients, 1),
            "mean_norm": length,
            "cosine": along / (self.clients * length) if self.clients and length else math.nan,
        }


@dataclass
class ExactSum:
    """A running sum of contributions.

    Attributes:
      sums: int64 arrays, shapes of the weights.
      weight: total of the clients' weights.
      clients: contributions in the sum.
      failed: contributions refused or clients that failed.
      below: contributions that kept the clip norm unclipped, where one is set.
      drift: the sum of their directions, where a run asks for it.
    """

    sums: IntSums
    weight: int = 0
    clients: int = 0
    failed: int = 0
    below: int = 0
    drift: Drift | None = None

    @classmethod
    def zeros_like(cls, weights: Weights, *, drift: bool = False) -> "ExactSum":
        """Returns the empty sum, with one for the drift if asked for."""
        empty = [tuple(np.zeros(w.shape, np.int64) for w in weights) for _ in range(1 + drift)]
        return cls(empty[0], drift=Drift(empty[1]) if drift else None)

    def add(self, update: Weights, weight: int, cohort_size: int) -> bool:
        """Adds a client's update in place.

        Args:
          update: local - global, float32.
          weight: the client's whole-number weight, >= 0.
          cohort_size: clients drawn this round; together they cannot overflow.

        Returns:
          False, and the client counts as failed, if a coordinate is not finite or larger than 2**62 // cohort_size.
        """
        scale, bound = weight * SCALE, float(LIMIT // max(cohort_size, 1))
        if not all(_largest(u, scale) <= bound for u in update):  # NaN compares false
            self.failed += 1
            return False
        for total, u in zip(self.sums, update, strict=True):
            _add_scaled(total, u, scale)
        self.weight += weight
        self.clients += 1
        if self.drift is not None:
            self.drift.add(update)
        return True

    def add_integers(self, contribution: IntSums, weight: int, *, below: bool = False, counts: bool = True) -> None:
        """Adds a contribution in place that is on the lattice and bounded already (`fedlm.privacy.clipping`)."""
        for total, c in zip(self.sums, contribution, strict=True):
            total += c
        self.weight += weight
        self.clients += counts
        self.below += below

    @classmethod
    def of(cls, parts: Sequence["ExactSum"], weights: Weights, *, drift: bool = False) -> "ExactSum":
        """Returns the sum of sums; the empty one, in the weights' shapes, if there are none."""
        if not parts:
            return cls.zeros_like(weights, drift=drift)
        total = replace(parts[0])
        for part in parts[1:]:
            total = total.plus(part)
        return total

    def plus(self, other: "ExactSum") -> "ExactSum":
        """Returns the sum of two."""
        drift = None if self.drift is None or other.drift is None else self.drift.plus(other.drift)
        figures = {k: getattr(self, k) + getattr(other, k) for k in ("weight", "clients", "failed", "below")}
        return ExactSum(_plus(self.sums, other.sums), drift=drift, **figures)

    def mean(self, weights: Weights, denominator: float | None = None) -> Weights:
        """Returns float32(weights + sum / 2**24 / denominator); the weights themselves if nothing was added.

        Args:
          weights: the global weights.
          denominator: total weight to divide by; by default the sum's own.
        """
        total = self.weight if denominator is None else denominator
        if total <= 0:
            return weights
        return tuple(_moved(w, s, total) for w, s in zip(weights, self.sums, strict=True))


def _plus(one: IntSums, other: IntSums) -> IntSums:
    return tuple(np.add(a, b, out=np.empty_like(a)) for a, b in zip(one, other, strict=True))


def _largest(update: npt.NDArray[np.float32], scale: float) -> float:
    """Returns the largest |rint(scale * update)|, NaN if there is one: scaling and rounding keep the order."""
    if not update.size:
        return 0.0
    with np.errstate(invalid="ignore"):  # infinity times a weight of 0
        return float(np.rint(np.float64(max(-update.min(), update.max())) * scale))


def _add_scaled(total: npt.NDArray[np.int64], update: npt.NDArray[np.float32], scale: float) -> None:
    """Adds rint(scale * update) in place, block by block."""
    sums, values = total.reshape(-1), update.reshape(-1)
    scaled, whole = np.empty(_BLOCK), np.empty(_BLOCK, np.int64)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        count = len(block)
        np.multiply(block, scale, out=scaled[:count], dtype=np.float64)
        np.rint(scaled[:count], out=scaled[:count])
        whole[:count] = scaled[:count]
        sums[start : start + count] += whole[:count]


def _moved(start: npt.NDArray[np.float32], total: npt.NDArray[np.int64], denominator: float) -> npt.NDArray[np.float32]:
    """Returns float32(start + total / 2**24 / denominator), in float64, block by block."""
    moved = np.empty(start.shape, np.float32)
    starts, sums, ends = start.reshape(-1), total.reshape(-1), moved.reshape(-1)
    exact = np.empty(_BLOCK)
    for at in range(0, ends.size, _BLOCK):
        block = exact[: len(ends[at : at + _BLOCK])]
        # A power of two changes no digit: what sum / SCALE / denominator gives, in one pass.
        np.divide(sums[at : at + _BLOCK], denominator * SCALE, out=block)
        block += starts[at : at + _BLOCK]
        ends[at : at + _BLOCK] = block
    return moved


def client_weight(weighting: str, cap: int, num_tokens: int) -> int:
    """Returns a client's whole-number weight: its tokens, min(tokens, cap), or 1."""
    if weighting == "uniform":
        return 1
    return min(num_tokens, cap) if weighting == "capped" else num_tokens
