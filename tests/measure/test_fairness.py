import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.measure.fairness import figures, gini, jain, tenths
from fedlm.measure.groups import figures as group_figures
from fedlm.measure.metric import ClientSums, RunEvidence
from fedlm.types import TextMetrics

values = st.lists(st.floats(0, 1e6), min_size=1, max_size=30).map(np.array)


@given(values)
def test_ranges(x: np.ndarray) -> None:
    assert -1e-9 <= gini(x) <= 1
    assert 1 / len(x) - 1e-9 <= jain(x) <= 1 + 1e-9
    low, high = tenths(x)
    assert x.min() <= low + 1e-9 * abs(low) and low <= high + 1e-9 and high <= x.max() * (1 + 1e-9)


def test_by_hand() -> None:
    assert gini(np.array([1.0, 3.0])) == 0.25  # mean absolute difference 1 over twice the mean 2
    assert jain(np.array([1.0, 3.0])) == 16 / 20
    assert tenths(np.arange(20.0)) == (0.5, 18.5)


def test_none_and_zero() -> None:
    none = np.array([])
    assert math.isnan(gini(none)) and math.isnan(jain(none)) and all(map(math.isnan, tenths(none)))
    assert gini(np.zeros(3)) == 0 and jain(np.zeros(3)) == 1


def test_the_spread_is_over_equal_test_sizes_and_short_clients_are_counted() -> None:
    """A client with one character has no equal amount: it is neither the best nor the worst served."""
    half, whole = (TextMetrics(b * 100 * math.log(2), 0, 100, 100) for b in (2.0, 3.0))
    lucky = ClientSums(TextMetrics(9 * math.log(2), 0, 1, 1))
    found = figures(RunEvidence((ClientSums(half, equal=half), ClientSums(whole, equal=whole), lucky), has_equal=True))
    assert (found["best_tenth"], found["worst_tenth"], found["client_mean"]) == pytest.approx((2.0, 3.0, 2.5))
    assert found["clients_excluded"] == 1 and found["client_gini"] == pytest.approx(0.1)  # 1 / 2 over 2 x 2.5


def test_a_difference_of_gaps_is_what_a_condition_costs_the_minority_beyond_the_others() -> None:
    def gap(minority: float, others: float) -> float:
        sides = [(minority, "m"), (others, "o")] * 2
        clients = [ClientSums(TextMetrics(b * 10 * math.log(2), 0, 10, 10), group=g) for b, g in sides]
        return group_figures(RunEvidence(tuple(clients), "m"))["minority_gap"]

    assert gap(2.0, 2.5) == pytest.approx(-0.5) and gap(2.4, 2.6) == pytest.approx(-0.2)
    assert gap(2.4, 2.6) - gap(2.0, 2.5) == pytest.approx((2.4 - 2.0) - (2.6 - 2.5))
