"""Exact sums of updates: integer addition is associative, so the weights have the same bits however the work was split.

    contribution of client i   rint(w_i u_i 2**24) as int64, w_i a whole number
    sum over n clients         fits into int64, because each coordinate is at most 2**62 // n in absolute value
    next global weights        float32(w + sum / 2**24 / sum_i w_i)

Rounding moves a client's coordinate by at most 2**-25 / w_i; float32 weights near 1 are spaced 2**-24 to 2**-23 apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fedlm.types import IntSums, Weights

SCALE = 2.0**24
LIMIT = 2**62  # bound on a sum; half of int64's range, so that noise fits as well
_COUNTS = ("weight", "clients", "failed", "unopened", "below")
_BLOCK = 2**14  # coordinates at a time: their float64 and int64 copies stay in a core's cache


@dataclass
class NamedSum:
    """A further sum next to the sum of updates, for what an algorithm's clients send in addition.

    Attributes:
      vectors: int64 arrays in units of 2**-24, in the weights' shapes.
      numbers: whole numbers by name.
    """

    vectors: IntSums
    numbers: dict[str, int] = field(default_factory=dict)

    def plus(self, other: "NamedSum") -> "NamedSum":
        """Returns the sum of two; a number that only one of them has counts as 0 in the other."""
        names = self.numbers | other.numbers
        numbers = {k: self.numbers.get(k, 0) + other.numbers.get(k, 0) for k in names}
        return NamedSum(_plus(self.vectors, other.vectors), numbers)

    def fits(self, bound: int) -> bool:
        """Returns whether every coordinate is at most `bound` in absolute value."""
        return all(v.size == 0 or (-bound <= int(v.min()) and int(v.max()) <= bound) for v in self.vectors)


@dataclass
class ExactSum:
    """A running sum of contributions.

    Attributes:
      sums: int64 arrays in the weights' shapes: sum over clients of rint(weight * update * 2**24).
      weight: the sum of the clients' weights.
      clients: the number of contributions in the sum.
      failed: the number of clients that failed or whose contribution was refused.
      unopened: how many of these have text that did not open.
      below: the number of contributions whose norm was at most the clip norm before clipping, if there is one.
      further: sums of what clients send in addition to their updates, by name.
    """

    sums: IntSums
    weight: int = 0
    clients: int = 0
    failed: int = 0
    unopened: int = 0
    below: int = 0
    further: dict[str, NamedSum] = field(default_factory=dict)

    @classmethod
    def zeros_like(cls, weights: Weights, *, further: Iterable[str] = ()) -> "ExactSum":
        """Returns a sum of zeros, including one for each further name."""
        return cls(_zeros(weights), further={name: NamedSum(_zeros(weights)) for name in further})

    def add(
        self, update: Weights, weight: int, cohort_size: int, further: Mapping[str, NamedSum] | None = None
    ) -> bool:
        """Adds a client's update in place.

        Args:
          update: local - global, float32.
          weight: the client's whole-number weight, >= 0.
          cohort_size: the largest number of clients in a round, a public figure; together they cannot overflow.
          further: what the client sends in addition; names as in `zeros_like`.

        Returns:
          Whether it was added. If a coordinate is not finite or exceeds 2**62 // cohort_size, the client counts as failed.
        """
        scale, bound = weight * SCALE, LIMIT // max(cohort_size, 1)
        fits = all(_largest(u, scale) <= float(bound) for u in update)  # NaN compares false
        if not (fits and all(named.fits(bound) for named in (further or {}).values())):
            self.failed += 1
            return False
        for total, u in zip(self.sums, update, strict=True):
            _add_scaled(total, u, scale)
        self.weight += weight
        self.clients += 1
        for name, named in (further or {}).items():
            self.further[name] = self.further[name].plus(named)
        return True

    def add_integers(self, contribution: IntSums, weight: int, *, below: bool = False, counts: bool = True) -> None:
        """Adds an integer contribution in place; `fedlm.privacy.clipping` has already bounded it."""
        for total, c in zip(self.sums, contribution, strict=True):
            total += c
        self.weight += weight
        self.clients += counts
        self.below += below

    @classmethod
    def of(cls, parts: Sequence["ExactSum"], weights: Weights, *, further: Iterable[str] = ()) -> "ExactSum":
        """Returns the sum of sums; without any, zeros in the weights' shapes."""
        if not parts:
            return cls.zeros_like(weights, further=further)
        total = replace(parts[0])
        for part in parts[1:]:
            total = total.plus(part)
        return total

    def plus(self, other: "ExactSum") -> "ExactSum":
        """Returns the sum of two that have the same further names."""
        figures = {k: getattr(self, k) + getattr(other, k) for k in _COUNTS}
        further = {name: named.plus(other.further[name]) for name, named in self.further.items()}
        return ExactSum(_plus(self.sums, other.sums), further=further, **figures)

    def mean(self, weights: Weights, denominator: float | None = None) -> Weights:
        """Returns float32(weights + sum / 2**24 / denominator); the weights themselves if nothing was added.

        Args:
          weights: the global weights.
          denominator: total weight to divide by; by default that of this sum.
        """
        total = self.weight if denominator is None else denominator
        if total <= 0:
            return weights
        return tuple(_moved(w, s, total) for w, s in zip(weights, self.sums, strict=True))


def _zeros(weights: Weights) -> IntSums:
    return tuple(np.zeros(w.shape, np.int64) for w in weights)


def on_lattice(vector: Weights, scale: float = SCALE) -> IntSums:
    """Returns rint(scale * vector) as int64, computed in float64; by default in units of 2**-24."""
    return tuple(np.rint(np.asarray(v, np.float64) * scale).astype(np.int64) for v in vector)


def _plus(one: IntSums, other: IntSums) -> IntSums:
    return tuple(np.add(a, b, out=np.empty_like(a)) for a, b in zip(one, other, strict=True))


def _largest(update: npt.NDArray[np.float32], scale: float) -> float:
    """Returns the largest |rint(scale * update)|, or NaN if there is a NaN.

    Scaling and rounding are monotonic, so only the largest |update| is scaled. min and max propagate NaN.
    """
    if not update.size:
        return 0.0
    with np.errstate(invalid="ignore"):  # infinity times a weight of 0 is NaN
        return float(np.rint(np.float64(max(-update.min(), update.max())) * scale))


def _add_scaled(total: npt.NDArray[np.int64], update: npt.NDArray[np.float32], scale: float) -> None:
    """Adds rint(scale * update) in place, block by block, without a float64 copy of the whole array."""
    sums, values = total.reshape(-1), update.reshape(-1)  # (coordinates,); a view of `total`, which is contiguous
    scaled, whole = np.empty(_BLOCK), np.empty(_BLOCK, np.int64)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        count = len(block)
        np.multiply(block, scale, out=scaled[:count], dtype=np.float64)
        np.rint(scaled[:count], out=scaled[:count])
        whole[:count] = scaled[:count]  # exact: `add` has checked that the values fit into int64
        sums[start : start + count] += whole[:count]


def _moved(start: npt.NDArray[np.float32], total: npt.NDArray[np.int64], denominator: float) -> npt.NDArray[np.float32]:
    """Returns float32(start + total / 2**24 / denominator), in float64, block by block."""
    moved = np.empty(start.shape, np.float32)
    starts, sums, ends = start.reshape(-1), total.reshape(-1), moved.reshape(-1)
    exact = np.empty(_BLOCK)
    for at in range(0, ends.size, _BLOCK):
        block = exact[: len(ends[at : at + _BLOCK])]
        # SCALE is a power of two, so this has the same bits as sum / SCALE / denominator, in one pass.
        np.divide(sums[at : at + _BLOCK], denominator * SCALE, out=block)
        block += starts[at : at + _BLOCK]
        ends[at : at + _BLOCK] = block
    return moved
