"""Cohorts by hash: who is drawn, and what changes when a client leaves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.privacy.sampling import _BLOCK, cohort_key, poisson_cohort, sample_cohort, scores

KEY = cohort_key(7)


def population(size: int) -> np.ndarray:
    return np.unique(np.random.default_rng(size).integers(0, 2**64, size, np.uint64))


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9))
def test_cohort_is_the_smallest_scores(size: int, cohort: int, server_round: int) -> None:
    everyone = population(size)
    drawn = sample_cohort(KEY, server_round, everyone, cohort)
    by_score = sorted(zip(scores(KEY, server_round, everyone), everyone, strict=True))
    assert drawn.tolist() == [p for _, p in by_score[:cohort]]


def test_order_of_the_population_does_not_matter() -> None:
    everyone = population(500)
    assert np.array_equal(sample_cohort(KEY, 3, everyone, 20), sample_cohort(KEY, 3, everyone[::-1].copy(), 20))


@given(st.integers(0, 99), st.integers(1, 30))
def test_a_client_that_leaves_changes_only_the_rounds_that_it_was_in(gone: int, server_round: int) -> None:
    everyone = population(100)
    before = sample_cohort(KEY, server_round, everyone, 10)
    after = sample_cohort(KEY, server_round, np.delete(everyone, gone), 10)
    if everyone[gone] in before:
        assert len(set(before) - set(after)) == 1
    else:
        assert np.array_equal(before, after)


@given(st.integers(0, 99), st.integers(1, 30), st.floats(0, 1))
def test_under_poisson_sampling_a_client_that_leaves_changes_nothing_for_the_others(
    gone: int, server_round: int, rate: float
) -> None:
    everyone = population(100)
    before = poisson_cohort(KEY, server_round, everyone, rate)
    after = poisson_cohort(KEY, server_round, np.delete(everyone, gone), rate)
    assert after.tolist() == [c for c in before.tolist() if c != everyone[gone]]


def test_poisson_rates_of_zero_and_one_draw_nobody_and_everybody() -> None:
    everyone = population(50)
    assert poisson_cohort(KEY, 1, everyone, 0.0).size == 0
    assert np.array_equal(poisson_cohort(KEY, 1, everyone, 1.0), everyone)
    assert poisson_cohort(KEY, 1, everyone[:0], 0.5).size == 0


def test_everyone_is_drawn_equally_often() -> None:
    everyone, rounds = population(50), 4000
    drawn = np.concatenate([sample_cohort(KEY, r, everyone, 5) for r in range(rounds)])
    counts = np.array([np.sum(drawn == p) for p in everyone])
    expected = rounds * 5 / 50  # each count is binomial: variance 400 * 0.9
    chi2 = np.sum((counts - expected) ** 2 / (expected * 0.9)) * 49 / 50
    assert chi2 < 49 + 5 * np.sqrt(2 * 49)


def test_other_key_other_cohort() -> None:
    everyone = population(1000)
    assert set(sample_cohort(KEY, 1, everyone, 10)) != set(sample_cohort(cohort_key(8), 1, everyone, 10))


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_cohort_drawn_block_by_block_is_that_of_all_scores(size: int) -> None:
    everyone = population(3 * _BLOCK + 5)
    found = scores(KEY, 2, everyone)
    assert np.array_equal(sample_cohort(KEY, 2, everyone, size), everyone[np.lexsort((everyone, found))[:size]])
