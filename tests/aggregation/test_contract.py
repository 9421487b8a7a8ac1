"""What every aggregation keeps: the exact sum to the bit, whatever the split and whoever is lost."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.aggregation.base import Aggregation, Answer, Chunk, RoundPlan
from fedlm.aggregation.exact import ExactSum
from fedlm.aggregation.registry import aggregation_names, build_aggregation
from fedlm.errors import ConfigError
from fedlm.spec import parse_spec
from fedlm.types import TextMetrics, Weights
from tests.support.runs import ROOT, hash_of_run
from tests.support.unlearned import seal, settings

TOY = "tests.support.toys.toy_aggregation:Shares"
AGGREGATIONS = [*aggregation_names(), TOY]
WEIGHTS = (np.zeros((2, 3), np.float32), np.zeros((), np.float32))


def update(client: int) -> Weights:
    rng = np.random.default_rng(client)
    return tuple(np.asarray(rng.normal(size=w.shape) * 10.0 ** (client % 7 - 3), np.float32) for w in WEIGHTS)


def sum_of(clients: list[int], cohort: int) -> ExactSum:
    total = ExactSum.zeros_like(WEIGHTS)
    for client in clients:
        assert total.add(update(client), client + 1, cohort)
    return total


def answer(aggregation: Aggregation, clients: list[int], cohort: int) -> Answer:
    metrics = TextMetrics(float(len(clients)), 1, 2, 2)
    chunk = Chunk(7, np.array(clients, np.uint64))
    return Answer(chunk, aggregation.payload(sum_of(clients, cohort), metrics))


def plan(cohort: int) -> RoundPlan:
    return RoundPlan(1, WEIGHTS, np.arange(cohort, dtype=np.uint64))


@pytest.mark.parametrize("spec", AGGREGATIONS)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), lost=st.sets(st.integers(0, 4)))
def test_the_sum_is_exact_whatever_the_split_and_whoever_is_lost(spec: str, cuts: list[int], lost: set[int]) -> None:
    aggregation = build_aggregation(parse_spec(spec), accepts_mean=False) if spec == "per_client" else None
    aggregation = aggregation or build_aggregation(parse_spec(spec))
    bounds = [0, *sorted(cuts), 9]
    chunks = [Chunk(7, np.arange(a, b, dtype=np.uint64)) for a, b in itertools.pairwise(bounds) if a < b]
    answers = []
    for place, chunk in enumerate(aggregation.chunks(chunks)):
        made = answer(aggregation, [int(c) for c in chunk.clients], 9)
        assert made.payload is not None
        aggregation.check(plan(9), chunk, made.payload)
        answers.append(Answer(chunk, None, "gone") if place in lost else made)
    result = aggregation.open(plan(9), answers)
    kept = sorted(int(c) for a in answers if a.payload is not None for c in a.chunk.clients)
    expected = sum_of(kept, 9)
    assert [s.tobytes() for s in result.total.sums] == [s.tobytes() for s in expected.sums]
    assert (result.total.weight, result.total.clients) == (expected.weight, len(kept))
    assert (result.total.failed, result.lost) == (9 - len(kept), frozenset(range(9)) - set(kept))
    assert len(result.problems) == sum(a.payload is None for a in answers)
    assert len(result.singles) == (len(kept) if aggregation.gives_singles else 0)


def _without(payload: Any, kind: str, name: str) -> Any:
    fields = {"vectors": dict(payload.vectors), "numbers": dict(payload.numbers)}
    del fields[kind][name]
    return type(payload)(**fields)


@pytest.mark.parametrize("spec", AGGREGATIONS)
def test_a_payload_that_no_chunk_can_have_sent_is_refused(spec: str) -> None:
    aggregation = build_aggregation(parse_spec(spec), accepts_mean=spec != "per_client")
    made = answer(aggregation, [0, 1], 2)
    payload, chunk = made.payload, made.chunk
    assert payload is not None
    aggregation.check(plan(2), chunk, payload)
    for name in payload.numbers:
        with pytest.raises(ValueError, match=r"wrong|invalid|out of range|not a whole number"):
            aggregation.check(plan(2), chunk, _without(payload, "numbers", name))
        for bad in (-1, float("nan"), float("inf"), 0.5) if name != "loss-sum" else (float("nan"), float("-inf")):
            with pytest.raises(ValueError, match=r"wrong|invalid|out of range|not a whole number"):
                aggregation.check(plan(2), chunk, type(payload)(payload.vectors, {**payload.numbers, name: bad}))
    for name in payload.vectors:
        with pytest.raises(ValueError, match=r"wrong|no mask"):
            aggregation.check(plan(2), chunk, _without(payload, "vectors", name))
    with pytest.raises(ValueError, match=r"invalid|out of range|not a whole number"):
        aggregation.check(plan(2), chunk, type(payload)(payload.vectors, {**payload.numbers, "clients": 3}))
    with pytest.raises(ValueError, match="names of its vectors"):
        aggregation.check(plan(2), chunk, type(payload)({**payload.vectors, "x": WEIGHTS}, payload.numbers))


@pytest.mark.slow
@pytest.mark.flower
def test_a_toy_aggregation_has_the_hash_of_the_run_in_the_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    vault = seal(tmp_path / "all")
    shares = hash_of_run(vault, tmp_path / "shares", settings(aggregation=TOY, rounds=2), 2)
    assert shares == hash_of_run(vault, tmp_path / "open", settings(rounds=2))


def test_a_rule_over_single_clients_gets_them_and_no_other_aggregation() -> None:
    assert build_aggregation(parse_spec("open"), accepts_mean=False).gives_singles
    with pytest.raises(ConfigError, match="compares single clients"):
        build_aggregation(parse_spec(TOY), accepts_mean=False)
    with pytest.raises(ConfigError, match="There is no aggregation 'masked': use open, per_client"):
        build_aggregation(parse_spec("masked"))


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="has no option 'x'; its options are"):
        build_aggregation(parse_spec(f"{name}(x=1)"))
