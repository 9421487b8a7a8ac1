"""Figures of papers about single rounds: the mean of the last rounds, and the rounds to a target accuracy.

A study names them; they are no figure of every run.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedlm.measure.metric import Better, Measure, Metric, RunEvidence

Curve = Sequence[tuple[int, float]]
"""Rounds and accuracies of a run's evaluations, in the order of the rounds."""

LAST, ROUNDS_TO = "last_accuracy", "rounds_to_target"


def last_accuracy(rounds: int) -> Measure:
    """Returns the mean accuracy of the evaluations in a run's last rounds (Reddi et al. 2021: the last 100 rounds).

    Args:
      rounds: their number; of R rounds, those after R - `rounds` count, and never the untrained model.
    """
    metric = Metric(LAST, f"accuracy, mean of the last {rounds} rounds", "fraction", Better.HIGHER)

    def figures(run: RunEvidence) -> dict[str, float]:
        return {LAST: mean_of_last(curve_of(run.rounds), rounds)}

    return Measure((metric,), figures)


def rounds_to(target: float) -> Measure:
    """Returns the rounds to a target accuracy as McMahan et al. 2017 count them; a run that does not reach it has no figure.

    Args:
      target: an accuracy, 0 to 1.
    """
    metric = Metric(ROUNDS_TO, f"rounds to an accuracy of {target:g}", "rounds", Better.LOWER, optional=True)

    def figures(run: RunEvidence) -> dict[str, float]:
        found = rounds_to_target(curve_of(run.rounds), target)
        return {} if found is None else {ROUNDS_TO: found}

    return Measure((metric,), figures)


def curve_of(rounds: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Returns the accuracies of the lines of metrics.jsonl that have an evaluation."""
    return [(int(line["round"]), float(line["eval"]["accuracy"])) for line in rounds if line.get("eval")]


def mean_of_last(curve: Curve, rounds: int) -> float:
    """Returns the mean accuracy of the evaluations in the last rounds; NaN without any.

    >>> mean_of_last([(0, 0.0), (10, 0.2), (20, 0.5), (30, 0.75)], 20)
    0.625
    """
    last = max((place for place, _ in curve), default=0)
    values = [accuracy for place, accuracy in curve if place > max(last - rounds, 0)]
    return math.fsum(values) / len(values) if values else math.nan


def rounds_to_target(curve: Curve, target: float) -> float | None:
    """Returns the round in which the best accuracy so far reaches a target; None if it never does.

    The curve is made monotone, each point the best accuracy up to its round, and is linear between evaluations (McMahan et al.
    2017, section 3, https://arxiv.org/abs/1602.05629).

    >>> rounds_to_target([(0, 0.0), (10, 0.4), (20, 0.3), (30, 0.6)], 0.5)
    25.0
    """
    before, best = 0, -math.inf
    for place, accuracy in curve:
        if accuracy >= target:
            if best == -math.inf:
                return float(place)
            return before + (place - before) * (target - best) / (accuracy - best)
        before, best = place, max(best, accuracy)
    return None
