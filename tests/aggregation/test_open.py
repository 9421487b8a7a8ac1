"""What holds for every aggregation of the folder: the sum is exact, whatever the split, who is lost, and what nodes send."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.aggregation import drift
from fedlm.aggregation.base import Aggregation, Answer, Chunk, Payload, RoundPlan, RoundResult
from fedlm.aggregation.exact import LIMIT, SCALE, ExactSum, NamedSum
from fedlm.aggregation.registry import aggregation_names, build_aggregation
from fedlm.errors import ConfigError
from fedlm.spec import Spec
from fedlm.types import TextMetrics, Weights

SHAPES: tuple[tuple[int, ...], ...] = ((2, 3), (), (0,), (4,))
WEIGHTS: Weights = tuple(np.full(s, 0.25, np.float32) for s in SHAPES)
NODES = 3


def is_small(total: ExactSum) -> bool:
    """The check of a further sum of this test: at most 2**30 a coordinate and client."""
    return total.further["more"].fits(2**30 * total.clients)


FURTHER = {drift.NAME: drift.is_possible, "more": is_small}
EVERY = pytest.mark.parametrize("name", aggregation_names())


def test_the_folder_has_its_aggregations() -> None:
    assert {"open", "per_client"} <= set(aggregation_names())


def update_of(client: int) -> Weights:
    """Returns a client's update: small, large, or one that no sum takes (every fifth client)."""
    rng = np.random.default_rng(client)
    scale = 10.0 ** rng.integers(-6, 4)
    arrays = [np.asarray(rng.normal(scale=scale, size=s), np.float32) for s in SHAPES]
    if client % 5 == 4:
        arrays[0][0, 0] = (np.nan, np.inf, 3e38)[client % 3]
    return tuple(arrays)


def contribute(total: ExactSum, client: int, cohort: int, names: Mapping[str, Any]) -> TextMetrics:
    """Trains one client into a sum; returns the figures of one that is in it."""
    update, rng = update_of(client), np.random.default_rng(client + 1)
    more = NamedSum(tuple(rng.integers(-(2**30), 2**30, s) for s in SHAPES), {"seen": client})
    further = {drift.NAME: drift.direction(update), "more": more}
    added = total.add(update, client % 7, cohort, {name: further[name] for name in names})
    return (
        TextMetrics(client / 4, client % 3, client % 7 + 3, client % 11) if added else TextMetrics()
    )  # sums of quarters


def expected(clients: list[int], plan: RoundPlan) -> tuple[ExactSum, TextMetrics]:
    """Returns the exact sum of clients, one after the other."""
    total, metrics = ExactSum.zeros_like(plan.weights, further=plan.further), TextMetrics()
    for client in clients:
        metrics += contribute(total, client, len(plan.cohort), plan.further)
    return total, metrics


def answered(aggregation: Aggregation, plan: RoundPlan, chunk: Chunk) -> Payload:
    """Returns what an honest node sends for a chunk."""
    return aggregation.payload(*expected([int(c) for c in chunk.clients], plan))


def taken(aggregation: Aggregation, plan: RoundPlan, chunk: Chunk, payload: Payload) -> Answer:
    """Returns what a payload is worth, as the round loop does it."""
    try:
        aggregation.check(plan, chunk, payload)
    except ValueError as error:
        return Answer(chunk, None, str(error), is_refused=True)
    return Answer(chunk, payload)


def assert_same(result: RoundResult, clients: list[int], plan: RoundPlan) -> None:
    """Checks a result to the bit against the sum of these clients alone."""
    total, metrics = expected(clients, plan)
    assert [s.tobytes() for s in result.total.sums] == [s.tobytes() for s in total.sums]
    assert [s.shape for s in result.total.sums] == list(SHAPES)
    assert (result.total.weight, result.total.clients) == (total.weight, total.clients)
    assert result.total.failed == len(plan.cohort) - total.clients
    assert result.metrics == metrics
    assert set(result.total.further) == set(plan.further)
    for name, named in total.further.items():
        found = result.total.further[name]
        assert [v.tobytes() for v in found.vectors] == [v.tobytes() for v in named.vectors]
        assert {k: n for k, n in found.numbers.items() if n} == {k: n for k, n in named.numbers.items() if n}
    mean = result.total.mean(plan.weights)
    assert [m.tobytes() for m in mean] == [m.tobytes() for m in total.mean(plan.weights)]


@st.composite
def splits(draw: st.DrawFn) -> tuple[RoundPlan, list[Chunk]]:
    """Draws a round: its clients, some of them absent, over some nodes, and what is sent besides."""
    clients = draw(st.lists(st.integers(0, 60), unique=True, max_size=12))
    absent = frozenset(draw(st.lists(st.sampled_from(clients), max_size=3)) if clients else [])
    names = draw(st.sampled_from([(), ("more",), (drift.NAME,), tuple(FURTHER)]))
    nodes: dict[int, list[int]] = {}
    for client in clients:
        if client not in absent:
            nodes.setdefault(draw(st.integers(0, NODES - 1)), []).append(client)
    plan = RoundPlan(1, WEIGHTS, np.array(clients, np.uint64), absent, {n: FURTHER[n] for n in names})
    return plan, [Chunk(node, np.array(own, np.uint64)) for node, own in nodes.items()]


@EVERY
@given(round_=splits(), lost=st.sets(st.integers(0, 12)), order=st.randoms())
@settings(max_examples=80, deadline=None)
def test_the_sum_is_that_of_all_clients_whose_chunk_came_back(
    name: str, round_: tuple[RoundPlan, list[Chunk]], lost: set[int], order: Any
) -> None:
    plan, split = round_
    aggregation = build_aggregation(Spec(name, {}))
    chunks = aggregation.chunks(split)
    assert sorted(c for chunk in chunks for c in chunk.clients.tolist()) == sorted(
        set(plan.cohort.tolist()) - plan.absent
    )
    answers = [
        Answer(chunk, None, "lost")
        if place in lost
        else taken(aggregation, plan, chunk, answered(aggregation, plan, chunk))
        for place, chunk in enumerate(chunks)
    ]
    assert not any(a.is_refused for a in answers)  # an honest node is never refused
    gone = {int(c) for a in answers if a.payload is None for c in a.chunk.clients}
    order.shuffle(answers)
    result = aggregation.open(plan, aggregation.complete(plan, answers, lambda chunks: []))
    assert_same(result, [c for c in plan.cohort.tolist() if c not in gone | plan.absent], plan)
    assert result.lost == gone | plan.absent and result.refused == 0
    assert len(result.problems) == sum(a.payload is None for a in answers)


Damage = Callable[[Payload], Payload]


def number(name: str, value: Any) -> Damage:
    return lambda payload: replace(payload, numbers={**payload.numbers, name: value})


def without(name: str) -> Damage:
    return lambda payload: replace(payload, numbers={k: n for k, n in payload.numbers.items() if k != name})


def vectors(**change: Any) -> Damage:
    def damaged(payload: Payload) -> Payload:
        other = {**payload.vectors, **change}
        return replace(payload, vectors={k: v for k, v in other.items() if v is not None})

    return damaged


LARGE = tuple(np.full(s, 2**62) for s in SHAPES)
COUNTS = ("weight", "clients", "failed", "below", "correct", "tokens", "characters")
OF_FURTHER = ("drift.norms", "drift.clients", "more.seen")
NO_COUNTS = (-1, -1.0, 0.5, math.nan, math.inf, -math.inf, None, [1])
NUMBERS = [(name, value) for name in (*COUNTS, *OF_FURTHER) for value in NO_COUNTS]
NUMBERS += [("loss-sum", value) for value in (math.nan, math.inf, None, 10**400)]
NUMBERS += [("clients", 10**9), ("clients", 1e300), ("drift.clients", 10**9), ("drift.x", 1)]
DAMAGES: dict[str, Damage] = {f"{name} is {value!r:.9}": number(name, value) for name, value in NUMBERS}
DAMAGES |= {f"no {name}": without(name) for name in (*COUNTS, "loss-sum", "drift.norms", "drift.clients")}
DAMAGES |= {f"no vector {name}": vectors(**{name: None}) for name in ("update", "drift", "more")}
DAMAGES |= {f"{name} is too large": vectors(**{name: LARGE}) for name in ("drift", "more")}
DAMAGES |= {"another vector": vectors(other=LARGE), "nothing": lambda payload: Payload({}, {})}


@EVERY
@given(
    round_=splits().filter(lambda r: len(r[1]) > 0 and len(r[0].further) == 2),
    damage=st.sampled_from(sorted(DAMAGES)),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_a_malformed_payload_is_refused_and_touches_no_other(
    name: str, round_: tuple[RoundPlan, list[Chunk]], damage: str, data: st.DataObject
) -> None:
    plan, split = round_
    aggregation = build_aggregation(Spec(name, {}))
    chunks = aggregation.chunks(split)
    bad = data.draw(st.integers(0, len(chunks) - 1))
    answers = []
    for place, chunk in enumerate(chunks):
        payload = answered(aggregation, plan, chunk)
        answers.append(taken(aggregation, plan, chunk, DAMAGES[damage](payload) if place == bad else payload))
    # A chunk in which no client was trained has no direction, and so no figures of one to be wrong.
    if not answers[bad].is_refused:
        assert answered(aggregation, plan, chunks[bad]).numbers["clients"] == 0
        return
    gone = {int(c) for c in chunks[bad].clients}
    result = aggregation.open(plan, answers)
    assert_same(result, [c for c in plan.cohort.tolist() if c not in gone | plan.absent], plan)
    assert (result.refused, result.lost) == (1, gone | plan.absent) and len(result.problems) == 1


@EVERY
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_refused_with_a_sentence(name: str, damage: str) -> None:
    aggregation = build_aggregation(Spec(name, {}))
    plan = RoundPlan(1, WEIGHTS, np.array([1], np.uint64), further=FURTHER)
    chunk = Chunk(7, plan.cohort)
    payload = answered(aggregation, plan, chunk)
    aggregation.check(plan, chunk, payload)
    with pytest.raises(ValueError, match=r"wrong|invalid|out of range|not a whole number"):
        aggregation.check(plan, chunk, DAMAGES[damage](payload))


@EVERY
def test_a_round_of_nobody_and_one_that_lost_everybody_are_empty_sums(name: str) -> None:
    aggregation = build_aggregation(Spec(name, {}))
    for clients in ([], [1, 2, 3]):
        plan = RoundPlan(1, WEIGHTS, np.array(clients, np.uint64), further=FURTHER)
        chunks = aggregation.chunks([Chunk(7, plan.cohort)] if clients else [])
        result = aggregation.open(plan, [Answer(chunk, None, "lost") for chunk in chunks])
        assert_same(result, [], plan)
        assert result.lost == set(clients) and result.singles == ()
        assert result.total.mean(WEIGHTS) is WEIGHTS


@EVERY
def test_the_largest_cohort_at_its_bound_does_not_overflow(name: str) -> None:
    aggregation, cohort = build_aggregation(Spec(name, {})), 4
    plan = RoundPlan(1, WEIGHTS, np.arange(cohort, dtype=np.uint64))
    largest = tuple(np.full(s, LIMIT / cohort / SCALE, np.float32) for s in SHAPES)
    answers = []
    for chunk in aggregation.chunks([Chunk(n, plan.cohort[n : n + 1]) for n in range(cohort)]):
        total = ExactSum.zeros_like(WEIGHTS)
        assert total.add(largest, 1, cohort)
        answers.append(taken(aggregation, plan, chunk, aggregation.payload(total, TextMetrics())))
    assert all((s == LIMIT).all() for s in aggregation.open(plan, answers).total.sums)


@EVERY
def test_opening_changes_no_payload(name: str) -> None:
    aggregation = build_aggregation(Spec(name, {}))
    plan = RoundPlan(1, WEIGHTS, np.arange(3, dtype=np.uint64))
    chunks = aggregation.chunks([Chunk(n, plan.cohort[n : n + 1]) for n in range(3)])
    answers = [Answer(chunk, answered(aggregation, plan, chunk)) for chunk in chunks]
    once, twice = aggregation.open(plan, answers), aggregation.open(plan, answers)
    assert [s.tobytes() for s in once.total.sums] == [s.tobytes() for s in twice.total.sums]
    assert once.total.weight == twice.total.weight and once.total.failed == twice.total.failed == 0


def test_a_client_a_message_is_handed_over_by_its_own_mean_in_the_order_of_its_content() -> None:
    aggregation = build_aggregation(Spec("per_client", {}))
    plan = RoundPlan(1, WEIGHTS, np.arange(12, dtype=np.uint64))
    chunks = aggregation.chunks([Chunk(3, plan.cohort[:5]), Chunk(4, plan.cohort[5:])])
    assert [(c.node, c.clients.tolist()) for c in chunks] == [(3 if n < 5 else 4, [n]) for n in range(12)]
    answers = [Answer(chunk, answered(aggregation, plan, chunk)) for chunk in chunks]
    there, back = (aggregation.open(plan, order).singles for order in (answers, answers[::-1]))
    assert [s.mean[0].tobytes() for s in there] == [s.mean[0].tobytes() for s in back]
    alone = {m[0].tobytes() for m in (expected([c], plan)[0].mean(WEIGHTS) for c in range(12) if c % 5 != 4)}
    assert {s.mean[0].tobytes() for s in there} == alone and len(there) == 10
    assert build_aggregation(Spec("open", {})).open(plan, answers).singles == ()


def test_a_rule_that_compares_clients_gets_them_one_by_one_or_is_refused() -> None:
    assert build_aggregation(Spec("open", {}), accepts_mean=False).gives_singles
    assert not build_aggregation(Spec("open", {})).gives_singles
    assert build_aggregation(Spec("per_client", {})).gives_singles
    with pytest.raises(ConfigError, match="no aggregation 'nothing': use open, per_client"):
        build_aggregation(Spec("nothing", {}))
