"""The privacy loss distribution (PLD) of Poisson-sampled Gaussians, composed, by Google's dp-accounting.

Releases without sampling are together one Gaussian, 1/z^2 = sum of 1/z_i^2, whose epsilon has a closed form (Balle, Wang
2018, https://arxiv.org/abs/1805.06530). Sampled ones are composed numerically on a grid of privacy losses. All rounding to
the grid is upwards ("connect the dots", https://arxiv.org/abs/2207.04380), so a coarser grid gives a larger epsilon.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

Gaussians = frozenset[tuple[tuple[float, float], int]]
"""((noise multiplier, sampling rate), number of releases)"""

_STEP = 0.08  # the grid's step over the standard deviation of one round's loss: epsilon grows by about 0.05 %
_LARGEST_STEP, _COARSEST = 1e-3, 100.0  # a grid as coarse as this would be for an epsilon without meaning
_POINTS, _COMPOSED_POINTS = 40_000, 200_000  # at most, for one round's losses and for those of all
_STAGE = 1000  # releases that are composed at once
_ROUNDING = 1e-16  # exceeds the error of delta by the Fourier transforms, per composed release (measured: 5e-19)


def loss_epsilon(gaussians: Gaussians, delta: float, coarser: float = 1.0) -> float:
    """Returns an upper bound on epsilon at `delta`; infinite where `delta` is too small, or epsilon too large, for the grid.

    Args:
      gaussians: continuous Gaussian mechanisms, for adding or removing a client.
      delta: of the guarantee.
      coarser: a factor on the grid's step, which makes it faster and the bound looser.
    """
    from dp_accounting import get_epsilon_gaussian

    plain = _merged(gaussians)
    sampled = frozenset(g for g in gaussians if 0 < g[0][1] < 1)
    if not sampled:
        return float(get_epsilon_gaussian(plain, delta)) if gaussians else 0.0
    error = _ROUNDING * (10 + sum(count for _, count in sampled))
    step = _step(plain, sampled) * coarser
    if delta <= 2 * error or step > _COARSEST:
        return math.inf
    composed = _composed(plain, sampled, step)
    return float(composed.get_epsilon_for_delta(float(delta - error)))


def _merged(gaussians: Iterable[tuple[tuple[float, float], int]]) -> float:
    """Returns the noise multiplier of all releases without sampling together; infinite without one."""
    squares = sum(count / z**2 for (z, rate), count in gaussians if rate == 1)
    return 1 / math.sqrt(squares) if squares else math.inf


def _spread(z: float, rate: float) -> tuple[float, float]:
    """Returns the variance of one round's loss (its chi-square divergence), and the largest loss on the grid."""
    variance = rate**2 * math.expm1(min(1 / z**2, 500))
    return variance, math.log1p(rate * math.expm1(min(10 / z + 0.5 / z**2, 700)))


def _step(plain: float, sampled: Gaussians) -> float:
    """Returns the grid's step: fine for the round that loses least, and coarser where the grid would grow too long."""
    spreads = [(*_spread(*key), count) for key, count in sampled]
    step = min(min(_LARGEST_STEP, max(_STEP * math.sqrt(v), most / _POINTS)) for v, most, _ in spreads)
    wide = min(20 * math.sqrt(sum(n * v for v, _, n in spreads)), sum(n * most for _, most, n in spreads))
    length = sum(n * math.log1p(v) for v, _, n in spreads) + wide + max(most for _, most, _ in spreads)
    length += 20 / plain + 1 / plain**2
    # Doubled, never in between: epsilon then grows with every further round.
    return float(step * 2 ** max(0, math.ceil(math.log2(length / step / _COMPOSED_POINTS))))


@lru_cache(maxsize=32)
def _one(z: float, rate: float, step: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as pld

    return pld.from_gaussian_mechanism(z, value_discretization_interval=step, sampling_prob=rate)


@lru_cache(maxsize=4)
def _composed(plain: float, sampled: Gaussians, step: float) -> Any:
    parts = [_repeated(_one(z, rate, step), count) for (z, rate), count in sorted(sampled)]
    if math.isfinite(plain):
        parts.append(_one(plain, 1.0, step))
    composed = parts[0]
    for part in parts[1:]:
        composed = composed.compose(part)
    return composed


def _repeated(one: Any, count: int) -> Any:
    """Returns a release composed with itself; in two stages, since dp-accounting computes (points of the grid) ** count."""
    stages, rest = divmod(count, _STAGE)
    parts = [one.self_compose(_STAGE).self_compose(stages)] if stages else []
    parts += [one.self_compose(rest)] if rest else []
    return parts[0] if len(parts) == 1 else parts[0].compose(parts[1])
