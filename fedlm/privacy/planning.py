"""The noise multiplier with which a run stays within an epsilon."""

import functools
import math
from collections.abc import Callable

from fedlm.privacy.accounting import Release, epsilon
from fedlm.privacy.loss import loss_epsilon

SMALLEST, LARGEST = 0.2, 1e6
_FINE_LATTICE = (
    2**30
)  # a standard deviation of the noise in lattice steps, at which the bound of `discrete.py` is tight


def plan(*, target: float, delta: float, rounds: int, sampling_rate: float) -> float:
    """Returns the smallest noise multiplier (to 1e-4) at which `rounds` Poisson-sampled rounds cost at most epsilon `target`.

    Raises:
      ValueError: an argument is out of range, or no noise multiplier from 0.2 to 1e6 costs `target`.

    >>> round(plan(target=1.0, delta=1e-5, rounds=1, sampling_rate=1.0), 3)  # Balle, Wang 2018
    3.731
    """
    if not (0 < target < math.inf and 0 < delta < 1 and rounds >= 1 and 0 < sampling_rate <= 1):
        raise ValueError(f"Expected {target=} > 0, 0 < {delta=} < 1, {rounds=} >= 1 and 0 < {sampling_rate=} <= 1.")

    @functools.cache
    def coarse(z: float) -> float:
        found = loss_epsilon(frozenset({((z, sampling_rate), rounds)}), delta, coarser=8.0)
        return found if math.isfinite(found) else cost(z)

    def cost(z: float) -> float:
        return planned_epsilon(z, delta=delta, rounds=rounds, sampling_rate=sampling_rate)

    return _smallest(cost, target, _guess(coarse, target))


def planned_epsilon(noise_multiplier: float, *, delta: float, rounds: int, sampling_rate: float) -> float:
    """Returns what `rounds` rounds will cost."""
    release = Release(
        round=1,
        mechanism="gaussian",
        sampling_rate=sampling_rate,
        noise_multiplier=noise_multiplier,
        clip_norm=1.0,
        cap=1,
        clients=0,
        noise_std=_FINE_LATTICE,
        compositions=rounds,
    )
    return epsilon([release], delta)


def _guess(coarse: Callable[[float], float], target: float) -> Callable[[float], float]:
    """Returns the function from a factor f to the noise multiplier at which the coarse bound is f * target."""
    from scipy.optimize import brentq

    def solve(factor: float) -> float:
        low, high = 0.5, 1.0
        while coarse(high) > factor * target:
            low, high = high, 2 * high
            if low > LARGEST:
                raise ValueError(
                    f"Epsilon {target:g} needs a noise multiplier above {LARGEST:g}: choose a larger epsilon."
                )
        while coarse(low) <= factor * target:
            low, high = max(low / 2, SMALLEST), low
            if low == high:
                raise ValueError(
                    f"Epsilon {target:g} needs a noise multiplier below {SMALLEST:g}, which is not supported: "
                    "choose a smaller epsilon."
                )

        def gap(log_z: float) -> float:  # finite, though epsilon may be 0 or infinite at one end
            found = coarse(math.exp(log_z))
            return math.log(found / (factor * target)) if 0 < found < math.inf else math.copysign(700, found - 1)

        return math.exp(brentq(gap, math.log(low), math.log(high), xtol=1e-5, rtol=1e-9))

    return solve


def _smallest(cost: Callable[[float], float], target: float, guess: Callable[[float], float]) -> float:
    """Returns the smallest noise multiplier whose cost is at most the target, from a guess of the cost up to a factor."""
    z, step = guess(1.0), 2e-5
    z = (
        guess(target / cost(z)) if 0 < cost(z) < math.inf else z
    )  # the coarse bound exceeds the cost by nearly the same factor
    while cost(z) > target:
        z, step = z * (1 + step), 2 * step
    return z
