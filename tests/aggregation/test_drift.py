"""Client drift from sums alone: by hand, whatever the split, and what no cohort can have sent."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.aggregation import drift
from fedlm.aggregation.exact import SCALE, ExactSum, NamedSum
from fedlm.types import Weights

START: Weights = (np.zeros(2, np.float32),)


def empty() -> ExactSum:
    return ExactSum.zeros_like(START, further=[drift.NAME])


def add(total: ExactSum, update: tuple[float, ...], weight: int = 1) -> None:
    moved = (np.array(update, np.float32),)
    assert total.add(moved, weight, 3, {drift.NAME: drift.direction(moved)})


def test_drift_by_hand() -> None:
    total = empty()
    for update, weight in (((3.0, 0.0), 1), ((0.0, 4.0), 2), ((0.0, 0.0), 1)):  # the last one has no direction
        add(total, update, weight)
    found = drift.summary(total)
    # The mean is (3, 8) / 4; the two cosines to it are 3 / sqrt(73) and 8 / sqrt(73).
    assert found["cosine"] == pytest.approx((3 + 8) / 2 / math.sqrt(73), abs=1e-6)
    assert found["norm"] == pytest.approx((3 + 4) / 2) and found["mean_norm"] == pytest.approx(math.sqrt(73) / 4)


@pytest.mark.parametrize(("updates", "cosine"), [([(1, 2), (2, 4)], 1.0), ([(1, 0), (-1, 0)], None), ([], None)])
def test_drift_of_clients_that_agree_cancel_or_are_not_there(
    updates: list[tuple[int, int]], cosine: float | None
) -> None:
    whole, several = empty(), []
    for update in updates:
        add(whole, update)
        several.append(empty())
        add(several[-1], update)
    parts = ExactSum.of(several, START, further=[drift.NAME])
    assert drift.summary(parts) == drift.summary(whole)
    assert drift.summary(whole).get("cosine") == (cosine if cosine is None else pytest.approx(cosine, abs=1e-6))


_UPDATES = st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 2)


@given(st.lists(_UPDATES, max_size=9))
def test_what_clients_send_can_be_what_they_send(updates: list[tuple[float, float]]) -> None:
    total = empty()
    for update in updates:
        add(total, update)
    assert drift.is_possible(total)
    found = drift.summary(total)
    assert -1.0001 <= found.get("cosine", 0.0) <= 1.0001 and found["norm"] >= 0


@pytest.mark.parametrize("update", [(0.0, 0.0), (math.inf, 1.0), (math.nan, 1.0)])
def test_an_update_without_a_direction_counts_for_none(update: tuple[float, float]) -> None:
    found = drift.direction((np.array(update, np.float32),))
    assert found.numbers == {"norms": 0, "clients": 0} and not found.vectors[0].any()


def test_a_huge_update_has_a_direction_all_the_same() -> None:
    found = drift.direction((np.array([3e38, 0.0], np.float32),))  # its square is beyond float32
    assert found.vectors[0].tolist() == [SCALE, 0] and found.numbers["clients"] == 1


@pytest.mark.parametrize(
    ("vectors", "numbers"),
    [
        ([2 * SCALE + 3, 0], {"norms": 1, "clients": 2}),  # two unit vectors, each coordinate rounded
        ([0, -2 * SCALE - 3], {"norms": 1, "clients": 2}),
        ([-(2**63), 0], {"norms": 1, "clients": 2}),
        ([1, 0], {"norms": 1, "clients": 3}),
        ([1, 0], {"norms": 1, "clients": -1}),
        ([0, 0], {"norms": -1, "clients": 1}),
        ([0, 0], {"norms": 1}),
        ([0, 0], {"clients": 1}),
        ([0, 0], {"norms": 1, "clients": 1, "more": 1}),
        ([1, 0], {}),
    ],
)
def test_what_no_two_clients_can_have_sent_is_refused(vectors: list[float], numbers: dict[str, int]) -> None:
    further = {drift.NAME: NamedSum((np.array(vectors, np.int64),), numbers)}
    assert not drift.is_possible(ExactSum((np.zeros(2, np.int64),), weight=2, clients=2, further=further))


def test_the_largest_sum_of_two_clients_is_possible() -> None:
    numbers = {"norms": 0, "clients": 2}
    further = {drift.NAME: NamedSum((np.array([2 * SCALE + 2, -2 * SCALE - 2], np.int64),), numbers)}
    assert drift.is_possible(ExactSum((np.zeros(2, np.int64),), weight=2, clients=2, further=further))
