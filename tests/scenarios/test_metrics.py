"""Run metrics by hand: who counts, which group is the minority, what a row of a client says."""

import math
from dataclasses import replace

import pytest

from fedlm.measure.metric import RunEvidence
from fedlm.types import TextMetrics
from scenarios.runner.metrics import Profile, _minority, client_sums, run_metrics
from tests.support.toys.toy_measure import TOY

BIT = math.log(2)
PROFILE = Profile({1: "a", 2: "b", 3: "a"}, {1: 10, 2: 20, 3: 30}, {"clients": 3.0}, "b")
HELD_OUT = {3: TextMetrics(30 * BIT, 0, 10, 10), 1: TextMetrics(70 * BIT, 0, 10, 10), 2: TextMetrics(0.0, 0, 0, 0)}


def test_clients_without_held_out_text_do_not_count_and_the_others_are_in_order() -> None:
    clients = client_sums(PROFILE, HELD_OUT, {3: TextMetrics(50 * BIT, 0, 10, 10)}, {3: TextMetrics(8 * BIT, 0, 2, 2)})
    assert [(c.train_tokens, c.group, c.local_only is None) for c in clients] == [(10, "a", True), (30, "a", False)]
    found = run_metrics(RunEvidence(clients), PROFILE, (TOY,))
    assert found.figures["bits_per_char"] == pytest.approx(5) and found.figures["clients"] == 3
    assert found.figures["toy_above_bound"] == 0.5  # 7 and 3 bits per character, bound 6
    first, second = found.clients
    assert first == {
        "client": 0,
        "group": "a",
        "train_tokens": 10,
        "held_out_tokens": 10,
        "bits_per_char": pytest.approx(7),
    }
    assert second["equal_bits_per_char"] == pytest.approx(4)
    assert second["local_only_bits_per_char"] == pytest.approx(5) and second["bits_per_char"] == pytest.approx(3)
    assert found.over_clients["bits_per_char"] == pytest.approx([3, 7])  # two clients: their range


def test_a_run_without_clients_has_metrics() -> None:
    found = run_metrics(RunEvidence(), replace(PROFILE, minority=""), (TOY,))
    assert math.isnan(found.figures["bits_per_char"]) and found.clients == () and "toy_above_bound" not in found.figures


@pytest.mark.parametrize(
    ("groups", "named", "minority"),
    [
        ([], "", ""),
        (["a", "a"], "a", ""),  # one group has no minority
        (["a", "a", "b"], "", "b"),
        (["a", "a", "b"], "a", "a"),
        (["a", "a", "b"], "gone", "b"),
        (["b", "a"], "", "a"),  # of groups of one size, the first by name
    ],
)
def test_the_minority_is_the_named_or_the_smallest_group(groups: list[str], named: str, minority: str) -> None:
    assert _minority(groups, named) == minority
