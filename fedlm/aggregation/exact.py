"""Exact sums of updates: integers have no order, so the weights have the same bits however the work was split.

A contribution is rint(weight * update * 2**24) as int64, the weight a whole number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fedlm.types import IntSums, Weights

SCALE = 2.0**24
LIMIT = 2**62
_BLOCK = 2**14  # coordinates at a time: their doubles and integers stay in a core's cache


@dataclass
class NamedSum:
    """A further sum beside that of the updates: what an algorithm's clients send besides.

    Attributes:
      vectors: int64 arrays on the lattice of 2**-24, shapes of the weights.
      numbers: whole numbers by name.
    """

    vectors: IntSums
    numbers: dict[str, int] = field(default_factory=dict)

    def plus(self, other: "NamedSum") -> "NamedSum":
        """Returns the sum of two; a number that only one has counts as 0 in the other."""
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
      sums: int64 arrays, shapes of the weights: sum over clients of rint(weight * update * 2**24).
      weight: total of the clients' weights.
      clients: contributions in the sum.
      failed: contributions refused or clients that failed.
      below: contributions that kept the clip norm unclipped, where one is set.
      further: sums of what clients send beside their updates, by name.
    """

    sums: IntSums
    weight: int = 0
    clients: int = 0
    failed: int = 0
    below: int = 0
    further: dict[str, NamedSum] = field(default_factory=dict)

    @classmethod
    def zeros_like(cls, weights: Weights, *, further: Iterable[str] = ()) -> "ExactSum":
        """Returns the empty sum, with an empty one for each further name."""
        return cls(_zeros(weights), further={name: NamedSum(_zeros(weights)) for name in further})

    def add(
        self, update: Weights, weight: int, cohort_size: int, further: Mapping[str, NamedSum] | None = None
    ) -> bool:
        """Adds a client's update in place.

        Args:
          update: local - global, float32.
          weight: the client's whole-number weight, >= 0.
          cohort_size: clients drawn this round; together they cannot overflow.
          further: what the client sends besides; names as in `zeros_like`.

        Returns:
          False, and the client counts as failed, if a coordinate is not finite or larger than 2**62 // cohort_size.
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
        """Adds a contribution in place that is on the lattice and bounded already (`fedlm.privacy.clipping`)."""
        for total, c in zip(self.sums, contribution, strict=True):
            total += c
        self.weight += weight
        self.clients += counts
        self.below += below

    @classmethod
    def of(cls, parts: Sequence["ExactSum"], weights: Weights, *, further: Iterable[str] = ()) -> "ExactSum":
        """Returns the sum of sums; the empty one, in the weights' shapes, if there are none."""
        if not parts:
            return cls.zeros_like(weights, further=further)
        total = replace(parts[0])
        for part in parts[1:]:
            total = total.plus(part)
        return total

    def plus(self, other: "ExactSum") -> "ExactSum":
        """Returns the sum of two, which have the same further names."""
        figures = {k: getattr(self, k) + getattr(other, k) for k in ("weight", "clients", "failed", "below")}
        further = {name: named.plus(other.further[name]) for name, named in self.further.items()}
        return ExactSum(_plus(self.sums, other.sums), further=further, **figures)

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


def _zeros(weights: Weights) -> IntSums:
    return tuple(np.zeros(w.shape, np.int64) for w in weights)


def on_lattice(vector: Weights, scale: float = SCALE) -> IntSums:
    """Returns rint(scale * vector) as int64, computed in float64; `scale` is 2**24, or the unit that it is in."""
    return tuple(np.rint(np.asarray(v, np.float64) * scale).astype(np.int64) for v in vector)


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
