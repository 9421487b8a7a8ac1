import math
import os

import numpy as np
import pytest
from scipy import stats

from fedlm.privacy import noise
from fedlm.privacy.noise import discrete_gaussian

DRAWS = 10**6


def seeded(seed: int) -> noise.Source:
    return np.random.default_rng(seed).bytes


@pytest.mark.parametrize("sigma", [1, 2, 3, 5, 10])
def test_small_sigma_has_the_law_of_the_discrete_gaussian(sigma: int) -> None:
    drawn = discrete_gaussian(sigma, DRAWS, seeded(sigma))
    far = np.arange(-60 * sigma, 60 * sigma + 1)
    law = np.exp(-(far**2) / (2 * sigma**2))
    law /= law.sum()
    edge = 4 * sigma
    counts = np.bincount(np.clip(drawn, -edge, edge) + edge, minlength=2 * edge + 1)
    expected = np.array([law[far <= -edge].sum(), *law[(far > -edge) & (far < edge)], law[far >= edge].sum()]) * DRAWS
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize("sigma", [2**24, 2**24 + 12345, 3 * 2**30 + 7, 2**50 + 1])
def test_large_sigma_has_the_law_of_the_gaussian(sigma: int) -> None:
    # Beyond sigma 2**20 the lattice changes a bin of 1/1000 by less than 1e-6 of its content.
    drawn = discrete_gaussian(sigma, DRAWS, seeded(sigma % 1000))
    bins = (stats.norm.cdf((drawn + 0.5) / sigma) * 1000).astype(int)
    assert stats.chisquare(np.bincount(bins, minlength=1000)).pvalue > 1e-3
    low = drawn & 255  # the low bits are as good as uniform
    assert stats.chisquare(np.bincount(low, minlength=256)).pvalue > 1e-3


def test_halved_noise_fails_the_test_that_the_right_one_passes() -> None:
    drawn = discrete_gaussian(2**23, DRAWS, seeded(1))
    bins = (stats.norm.cdf(drawn / 2**24) * 1000).astype(int)
    assert stats.chisquare(np.bincount(bins, minlength=1000)).pvalue < 1e-100


def test_exact_comparison_decides_as_the_numbers_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_DOUBT", 1.0)  # every coin is decided by decimals
    monkeypatch.setattr(noise, "_BATCH", 2**12)
    slow = discrete_gaussian(1000, 3000, seeded(5))
    monkeypatch.setattr(noise, "_DOUBT", 1e-9)
    assert np.array_equal(slow, discrete_gaussian(1000, 3000, seeded(5)))


def test_operating_system_is_asked_and_draws_differ() -> None:
    assert discrete_gaussian.__defaults__ == (os.urandom,)
    assert not np.array_equal(discrete_gaussian(2**24, 100), discrete_gaussian(2**24, 100))
    assert discrete_gaussian(7, 0).shape == (0,)


@pytest.mark.parametrize(("sigma", "count"), [(0, 1), (2**57, 1), (1, -1)])
def test_out_of_range_is_refused(sigma: int, count: int) -> None:
    with pytest.raises(ValueError, match="Expected"):
        discrete_gaussian(sigma, count)


def test_moments() -> None:
    drawn = discrete_gaussian(2**24, DRAWS, seeded(3)) / 2**24
    error = 1 / math.sqrt(DRAWS)
    assert abs(drawn.mean()) < 4 * error
    assert abs((drawn**2).mean() - 1) < 4 * error * math.sqrt(2)
    assert abs((drawn**4).mean() - 3) < 4 * error * math.sqrt(96)
