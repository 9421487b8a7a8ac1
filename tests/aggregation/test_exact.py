import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.aggregation.exact import _BLOCK, SCALE, ExactSum, NamedSum
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
    joint = ExactSum.of([left, right, ExactSum.zeros_like(weights(0.0))], weights(0.0))
    assert whole.sums[0].tobytes() == joint.sums[0].tobytes()
    assert (whole.weight, whole.clients) == (joint.weight, joint.clients) == (left.weight + right.weight, len(clients))


def test_the_sum_of_one_and_of_none() -> None:
    part = ExactSum.zeros_like(weights(0.0))
    part.add(weights(1.5), 2, 2)
    part.failed, part.below = 3, 1
    alone = ExactSum.of([part], weights(0.0))
    assert alone == part and alone is not part
    nothing = ExactSum.of([], weights(0.0), further=["drift"])
    assert not nothing.sums[0].any() and nothing.clients == 0 and not nothing.further["drift"].vectors[0].any()


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


def further(*values: int, **numbers: int) -> NamedSum:
    return NamedSum((np.array(values, np.int64), np.array(sum(values), np.int64)), dict(numbers))


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 99)), max_size=12), st.randoms())
def test_what_is_sent_besides_is_added_as_exactly(clients: list[tuple[int, int]], random: object) -> None:
    shuffled = sorted(clients, key=lambda _: random.random())  # type: ignore[attr-defined]
    whole, *parts = (ExactSum.zeros_like(weights(0.0), further=["a", "b"]) for _ in range(4))
    for value, number in clients:
        assert whole.add(weights(1.0), 1, 12, {"a": further(value, seen=number), "b": further(-value)})
    for place, (value, number) in enumerate(shuffled):
        parts[place % 3].add(weights(1.0), 1, 12, {"a": further(value, seen=number), "b": further(-value)})
    joint = ExactSum.of(parts, weights(0.0), further=["a", "b"])
    assert whole.further["a"].vectors[0].tolist() == joint.further["a"].vectors[0].tolist()
    assert joint.further["a"].vectors[0].tolist() == [sum(v for v, _ in clients)]
    assert joint.further["b"].vectors[1] == -sum(v for v, _ in clients)
    assert joint.further["a"].numbers.get("seen", 0) == sum(n for _, n in clients)


def test_a_number_that_only_one_sum_has_counts_as_zero_in_the_other() -> None:
    assert further(1, a=2).plus(further(1, b=3)).numbers == {"a": 2, "b": 3}


@pytest.mark.parametrize("huge", [2**62 // 3 + 1, -(2**62 // 3 + 1), -(2**63)])
def test_a_client_whose_further_sum_could_overflow_is_left_out_alone(huge: int) -> None:
    total = ExactSum.zeros_like(weights(0.0), further=["a"])
    assert not total.add(weights(1.0), 5, 3, {"a": NamedSum((np.array([huge]), np.array(0)))})
    assert total.add(weights(2.0), 5, 3, {"a": NamedSum((np.array([2**62 // 3]), np.array(0)))})
    assert (total.clients, total.failed, total.weight) == (1, 1, 5)
    assert total.further["a"].vectors[0][0] == 2**62 // 3 and total.sums[0][0] == 2 * 5 * SCALE


@pytest.mark.parametrize("shape", [(), (0,), (5,), (_BLOCK,), (3, _BLOCK)])
@pytest.mark.parametrize("weight", [1, 7, 8000, 2**55 + 1])
def test_the_mean_is_what_its_formula_says_bit_by_bit(shape: tuple[int, ...], weight: int) -> None:
    rng = np.random.default_rng(1)
    start = np.asarray(rng.normal(size=shape), np.float32)
    total = ExactSum((np.asarray(rng.integers(-(2**60), 2**60, shape)),), weight=weight)
    (mean,) = total.mean((start,))
    expected = (start.astype(np.float64) + total.sums[0].astype(np.float64) / SCALE / weight).astype(np.float32)
    assert mean.shape == shape and mean.tobytes() == expected.tobytes()
