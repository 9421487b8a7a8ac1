import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedlm.measure.fairness import gini, jain, tenths

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
