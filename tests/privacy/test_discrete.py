"""The step from the discrete Gaussian to the continuous one, checked on laws small enough to be summed exactly."""

import itertools
import math
from functools import reduce

import numpy as np
import numpy.typing as npt
import pytest

from fedlm.privacy.accounting import Release, epsilon
from fedlm.privacy.discrete import LOG_RATIO, MAX_DIMENSION, continuous_multiplier

Law = npt.NDArray[np.float64]
DELTA = 1e-4


def discrete(std: float, centre: int, reach: int) -> Law:
    """Returns the discrete Gaussian on -reach..reach."""
    weights = np.exp(-(((np.arange(-reach, reach + 1) - centre) / std) ** 2) / 2)
    return np.asarray(weights / weights.sum())


def rounded(std: float, centre: int, r: float, reach: int) -> Law:
    """Returns the law Q of `discrete.py`: y from N(centre, std^2 - r^2), then an integer x ~ exp(-(x - y)^2 / 2 r^2)."""
    spread, step = math.sqrt(std**2 - r**2), 1 / 64
    y = np.arange(-reach, reach, step) + step / 3  # a sum over a fine grid is the integral, as Poisson's formula says
    density = np.exp(-(((y - centre) / spread) ** 2) / 2) * step / spread / math.sqrt(2 * math.pi)
    kernel = np.exp(-(((np.arange(-reach, reach + 1)[:, None] - y) / r) ** 2) / 2)  # (x, y)
    return np.asarray((kernel / kernel.sum(0)) @ density)


@pytest.mark.parametrize(("std", "r"), [(2.0, 0.35), (3.0, 0.5), (3.0, 0.6), (4.0, 0.7)])
@pytest.mark.parametrize("centre", [0, 2])
def test_the_rounded_gaussian_is_within_the_factor_of_the_lemma(std: float, r: float, centre: int) -> None:
    """With an r far below the one in use, so that the factor is not lost in the rounding of float64."""
    reach = int(9 * std)
    e = 2 * sum(math.exp(-2 * math.pi**2 * r**2 * k**2) for k in range(1, 9))
    inner = slice(reach - int(5 * std), reach + int(5 * std) + 1)  # tails are cut off by the grid
    law, bound = discrete(std, centre, reach), math.log((1 + e) / (1 - e))
    ratios, wrong = (np.abs(np.log(law / rounded(s, centre, r, reach)))[inner] for s in (std, math.hypot(std, r)))
    assert 1e-8 < ratios.max() <= bound
    assert wrong.max() > bound or r < 0.4  # without the smaller variance the two laws differ in the tails
    if r >= 0.6:
        assert bound <= 5 * math.exp(-2 * math.pi**2 * r**2)


def test_constants_in_use() -> None:
    assert 5 * MAX_DIMENSION * math.exp(-8 * math.pi**2) + 5 * math.exp(-4 * math.pi**2) == pytest.approx(LOG_RATIO)
    assert LOG_RATIO < 1e-16
    for std in (3, 10, 1000, 2**20, 2**56):
        exact = math.sqrt(1 - 4 / std**2)
        assert exact - 2e-9 <= continuous_multiplier(1.0, std) < exact or continuous_multiplier(1.0, std) < 1
        assert continuous_multiplier(1.0, std) < continuous_multiplier(1.0, std, is_count=True) + 1e-12 < 1
    assert continuous_multiplier(1.0, 2) == continuous_multiplier(1.0, 0) == 0
    assert len({continuous_multiplier(0.7, s) for s in range(2**24, 2**24 + 1000)}) == 1  # rounds compose as one


def divergence(one: Law, other: Law, cost: float) -> float:
    """Returns the hockey-stick divergence: the smallest delta at epsilon `cost`."""
    return float(np.maximum(one - math.exp(cost) * other, 0).sum())


def product(laws: list[Law]) -> Law:
    return reduce(np.multiply.outer, laws)


@pytest.mark.parametrize(("std", "shift"), [(6, 6), (12, 8), (40, 40)])
@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("rounds", [1, 2])
def test_epsilon_bounds_the_sampled_discrete_gaussian_in_both_directions(
    std: int, shift: int, rate: float, rounds: int
) -> None:
    reach = 8 * std
    without = discrete(std, 0, reach)
    with_one = (1 - rate) * without + rate * discrete(std, shift, reach)
    release = Release(1, "gaussian", rate, std / shift, 1.0, 1, 1, std, compositions=rounds)
    without, with_one = (product([law] * rounds) for law in (without, with_one))
    deltas = []
    for method in ("pld", "stated"):
        cost = epsilon([release], DELTA, method)  # type: ignore[arg-type]
        worst = max(divergence(with_one, without, cost), divergence(without, with_one, cost))
        assert worst <= DELTA
        deltas.append(worst)
    assert deltas[1] >= {6: 0.2, 12: 0.6, 40: 0.93}[std] * DELTA  # the finer the lattice, the tighter


@pytest.mark.parametrize("rate", [0.2, 1.0])
def test_epsilon_bounds_the_sampled_discrete_gaussian_of_several_coordinates(rate: float) -> None:
    """A client moves the sum by (3, -4, 2); two others take part at random and move it too."""
    std, reach = 7, 40
    moves, others = (3, -4, 2), [(2, 0, -3), (0, 5, 1)]

    def law(present: list[tuple[int, ...]]) -> Law:
        total = np.zeros((2 * reach + 1,) * 3)
        for inside in itertools.product([False, True], repeat=len(present)):
            chance = math.prod(rate if i else 1 - rate for i in inside)
            if chance:
                centre = np.sum([m for m, i in zip(present, inside, strict=True) if i] or [(0, 0, 0)], axis=0)
                total += chance * product([discrete(std, int(c), reach) for c in centre])
        return total

    without, with_one = law(others), law([*others, moves])
    cost = epsilon([Release(1, "gaussian", rate, std / math.hypot(*moves), 1.0, 1, 1, std)], DELTA, "pld")
    assert max(divergence(with_one, without, cost), divergence(without, with_one, cost)) <= DELTA


def test_sum_and_count_of_one_sample_are_bounded_together() -> None:
    std, count_std, shift, rate, reach = 12, 5, 12, 0.3, 100
    alone = np.multiply.outer(discrete(std, 0, reach), discrete(count_std, 0, reach))
    moved = np.multiply.outer(discrete(std, shift, reach), discrete(count_std, 1, reach))
    with_one = (1 - rate) * alone + rate * moved
    cost = epsilon([Release(1, "adaptive", rate, 1.0, 1.0, 1, 1, std, count_multiplier=float(count_std))], DELTA, "pld")
    assert 0.5 * DELTA <= max(divergence(with_one, alone, cost), divergence(alone, with_one, cost)) <= DELTA
