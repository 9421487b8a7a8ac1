"""Figures of papers about single rounds, worked out by hand."""

import math
from typing import Any

import pytest

from fedlm.measure.metric import RunEvidence
from fedlm.measure.rounds import LAST, ROUNDS_TO, last_accuracy, mean_of_last, rounds_to, rounds_to_target

CURVE = [(0, 0.0), (10, 0.3), (20, 0.2), (30, 0.5), (40, 0.4)]


@pytest.mark.parametrize(
    ("target", "rounds"),
    [
        (0.3, 10.0),  # an evaluation that is the target
        (0.15, 5.0),  # half of the way from 0 to 0.3
        (0.4, 25.0),  # the best so far is 0.3 in round 20, although that evaluation has 0.2: half of the way to 0.5
        (0.5, 30.0),
        (0.51, None),
        (0.0, 0.0),  # reached before training
    ],
)
def test_rounds_to_a_target_by_hand(target: float, rounds: float | None) -> None:
    assert rounds_to_target(CURVE, target) == (None if rounds is None else pytest.approx(rounds))


def test_a_dip_does_not_move_the_crossing() -> None:
    dipped = [(place, 0.1 if place == 20 else accuracy) for place, accuracy in CURVE]
    assert rounds_to_target(dipped, 0.4) == rounds_to_target(CURVE, 0.4)
    assert rounds_to_target(CURVE[:1], 0.4) is None and rounds_to_target([], 0.4) is None


def test_the_mean_of_the_last_rounds_by_hand() -> None:
    assert mean_of_last(CURVE, 20) == pytest.approx((0.5 + 0.4) / 2)  # of 40 rounds, those after round 20
    assert mean_of_last(CURVE, 21) == pytest.approx((0.2 + 0.5 + 0.4) / 3)
    assert mean_of_last(CURVE, 40) == mean_of_last(CURVE, 10**6) == pytest.approx((0.3 + 0.2 + 0.5 + 0.4) / 4)
    assert math.isnan(mean_of_last(CURVE[:1], 10)) and math.isnan(mean_of_last([], 10))


def test_measures_read_the_lines_of_a_run() -> None:
    lines: list[dict[str, Any]] = [{"round": place, "eval": {"accuracy": value}} for place, value in CURVE]
    lines.insert(1, {"round": 5, "tokens": 7})  # a round without an evaluation
    run = RunEvidence(rounds=lines)
    assert last_accuracy(20).figures(run) == {LAST: pytest.approx(0.45)}
    assert rounds_to(0.4).figures(run) == {ROUNDS_TO: pytest.approx(25.0)}
    assert rounds_to(0.9).figures(run) == {}  # not reached: no figure, and no guess
    (metric,) = rounds_to(0.54).metrics
    assert metric.optional and metric.title == "rounds to an accuracy of 0.54 (rounds)"
