import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.sums import SCALE, ExactSum, client_weight
from fedlm.types import Weights


def weights(*values: float) -> Weights:
    return (np.array(values, np.float32), np.array(0.0, np.float32))


def test_weighted_mean_of_two_clients_by_hand() -> None:
    total = ExactSum.zeros_like(weights(0.0))
    assert total.add(weights(1.0), 30, 2) and total.add(weights(5.0), 10, 2)
    assert total.mean(weights(0.0))[0][0] == np.float32((30 * 1.0 + 10 * 5.0) / 40)


@given(st.lists(st.tuples(st.floats(-9, 9, width=32), st.integers(0, 10**6)), max_size=12), st.randoms())
def test_order_and_split_do_not_matter(clients: list[tuple[float, int]], random: object) -> None:
    shuffled = sorted(clients, key=lambda _: random.random())  # type: ignore[attr-defined]
    whole, left, right = (ExactSum.zeros_like(weights(0.0)) for _ in range(3))
    for value, weight in clients:
        whole.add(weights(value), weight, 12)
    for place, (value, weight) in enumerate(shuffled):
        (left if place % 2 else right).add(weights(value), weight, 12)
    left.merge(right)
    assert whole.sums[0].tobytes() == left.sums[0].tobytes()
    assert (whole.weight, whole.clients) == (left.weight, left.clients)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_unusable_update_is_left_out_alone(bad: float) -> None:
    total = ExactSum.zeros_like(weights(0.0))
    assert not total.add(weights(bad), 5, 3)
    assert total.add(weights(2.0), 5, 3)
    assert (total.clients, total.failed, total.weight) == (1, 1, 5)
    assert total.sums[0][0] == 2 * 5 * SCALE


def test_largest_allowed_contributions_do_not_overflow() -> None:
    cohort = 4
    total = ExactSum.zeros_like(weights(0.0))
    largest = np.float32(2.0**62 / cohort / SCALE)
    for _ in range(cohort):
        assert total.add(weights(largest), 1, cohort)
    assert total.sums[0][0] == 2**62


def test_no_client_leaves_the_weights_as_they_are() -> None:
    start = weights(3.0)
    assert ExactSum.zeros_like(start).mean(start) is start


def test_client_weight() -> None:
    assert [client_weight(w, 100, 250) for w in ("tokens", "uniform", "capped")] == [250, 1, 100]
