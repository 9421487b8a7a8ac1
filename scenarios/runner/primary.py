"""The primary contrasts of a study, from its runs: a difference for each seed, the verdict, and the sentence for the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fedlm.measure.contrasts import Decision, Sample, Verdict, decide
from fedlm.measure.metric import Better, Metric
from fedlm.measure.registry import find_metric
from scenarios.runner.design import Case, Contrast, Design, Trend
from scenarios.runner.record import RunRecord

Figures = Mapping[tuple[str, str, int], float]  # of (condition, algorithm, seed); finite


@dataclass(frozen=True)
class Primary:
    """A primary contrast and what the runs say about it.

    Attributes:
      metric: what is compared.
      name: the comparison in words.
      differences: by seed, of the seeds whose runs all have a finite figure.
      missing: the other seeds, and the cases that failed or diverged under each.
      cases: that are compared: the two sides, or the places of a trend in its order.
      decision: the verdict.
    """

    metric: Metric
    name: str
    differences: Mapping[int, float]
    missing: Mapping[int, str]
    decision: Decision
    cases: tuple[tuple[str, str], ...] = ()
    is_trend: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, with the sentence."""
        decision = asdict(self.decision) | {"verdict": self.decision.verdict.value}
        shown = {"metric": self.metric.name, "label": self.metric.label, "unit": self.metric.unit}
        by_seed = {str(seed): value for seed, value in self.differences.items()}
        missing = {str(seed): why for seed, why in self.missing.items()}
        return {
            **shown,
            "name": self.name,
            **decision,
            "by_seed": by_seed,
            "missing": missing,
            "along" if self.is_trend else "sides": [list(case) for case in self.cases],
            "sentence": sentence(self),
        }


def primaries(study: Design, seeds: Sequence[int], records: Sequence[RunRecord]) -> list[Primary]:
    """Returns the study's primary contrasts, decided together.

    A seed one of whose runs failed, or has a figure that is not finite, has no difference: the contrast is then not decided,
    because the runs that diverge are those of one condition more often than of the other.
    """
    found = []
    for contrast in study.contrasts:
        known = _figures(records, contrast.metric)
        cases, weights = _combination(study, contrast)
        missing = {s: absent for s in seeds if (absent := _absent(cases, s, known))}
        whole = [s for s in seeds if s not in missing]
        differences = {s: _combined(cases, weights, s, known) for s in whole}
        found.append((contrast, differences, missing, tuple(case.name for case in cases)))
    decisions = decide([_sample(study, *each[:3]) for each in found])
    return [
        Primary(
            find_metric(c.metric, study.metrics),
            name_of(study, c),
            differences,
            missing,
            decision,
            cases,
            isinstance(c, Trend),
        )
        for (c, differences, missing, cases), decision in zip(found, decisions, strict=True)
    ]


def _sample(
    study: Design, contrast: Contrast | Trend, differences: Mapping[int, float], missing: Mapping[int, str]
) -> Sample:
    own = find_metric(contrast.metric, study.metrics).smallest_effect
    return Sample(np.array(list(differences.values())), study.margins.get(contrast.metric, own), not missing)


def _figures(records: Sequence[RunRecord], metric: str) -> Figures:
    known = {(r.condition, r.algorithm, r.seed): r.figures.get(metric, math.nan) for r in records}
    return {run: value for run, value in known.items() if math.isfinite(value)}


def _combination(study: Design, contrast: Contrast | Trend) -> tuple[list[Case], list[float]]:
    """The cases of a contrast, and the weights with which their figures add up to the difference of a seed."""
    if isinstance(contrast, Contrast):
        return [case for case in study.sides(contrast) if case], [1.0, -1.0]
    placed = study.along(contrast)
    x = np.array([place for place, _ in placed])
    # Least squares: slope = sum((x - mean x) y) / sum((x - mean x)^2); times the length of the axis.
    centred = x - x.mean()
    return [case for _, case in placed], list(centred / np.sum(centred**2) * (x.max() - x.min()))


def _absent(cases: Sequence[Case], seed: int, known: Figures) -> str:
    return "; ".join(", ".join(case.name) for case in cases if (*case.name, seed) not in known)


def _combined(cases: Sequence[Case], weights: Sequence[float], seed: int, known: Figures) -> float:
    return math.fsum(w * known[(*case.name, seed)] for w, case in zip(weights, cases, strict=True))


def name_of(study: Design, contrast: Contrast | Trend) -> str:
    """Returns a contrast in words."""
    if isinstance(contrast, Contrast):
        first, second = (case.name if case else ("", "") for case in study.sides(contrast))
        if first[1] == second[1]:
            return f"{first[0]} against {second[0]} ({first[1]})"
        return f"{first[0]} ({first[1]}) against {second[0]} ({second[1]})"
    placed = study.along(contrast)
    ends = f"{placed[0][1].condition} to {placed[-1][1].condition}"
    return f"trend over {study.x_label}, {ends} ({placed[0][1].algorithm})"


def sentence(primary: Primary) -> str:
    """Returns the answer of one contrast: the difference, its interval, the tests, the verdict."""
    found, count = primary.decision, len(primary.differences)
    if count == 0:
        return f"{_upper(primary.metric.title)}, {primary.name}: not decided, no seed has all of its runs. {_told(primary)}"
    words = f"{_upper(primary.metric.title)}, {primary.name}: {_effect(found, count)}"
    return f"{words}. {_verdict(primary)}{' ' if primary.missing else ''}{_told(primary)}"


def _effect(found: Decision, count: int) -> str:
    words = f"{found.interval.mean:+.3f}"
    if count > 1:
        words += f" (95 % t-interval {found.interval.low:+.3f} to {found.interval.high:+.3f})"
    return f"{words} over {count} paired seed{'s' * (count != 1)}"


def _verdict(primary: Primary) -> str:
    found, metric = primary.decision, primary.metric
    p, alike = f"p = {_p(found.p_holm)}", f"p = {_p(found.p_equivalent)}"
    match found.verdict:
        case Verdict.SIGNIFICANT:
            return f"Significant: {_direction(metric, found.interval.mean)} ({p})."
        case Verdict.SMALL:
            return (
                f"Significant, below the margin: {_direction(metric, found.interval.mean)} ({p}), by less than "
                f"{found.margin:g} ({alike})."
            )
        case Verdict.EQUIVALENT:
            return f"Equivalent: the two differ by less than {found.margin:g} ({alike})."
        case _:
            return f"Not decided{_detectable(primary)}."


def _detectable(primary: Primary) -> str:
    """What effect the study could have found; nothing where a seed is missing, because no number of seeds would decide."""
    found, count = primary.decision, len(primary.differences)
    if primary.missing:
        return ""
    if count < found.needed:
        return (
            f": {count} seed{'s are' if count != 1 else ' is'} too few, nothing can be significant below {found.needed}"
        )
    return (
        f" (p = {_p(found.p_holm)}): a difference of {found.detectable:.3f} would have been found with probability 0.8"
    )


def _told(primary: Primary) -> str:
    if not primary.missing:
        return ""
    runs = "; ".join(f"seed {seed}: {why}" for seed, why in primary.missing.items())
    return f"Runs without a finite figure leave the contrast undecided ({runs})."


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"


def _direction(metric: Metric, change: float) -> str:
    side = "higher" if change > 0 else "lower"
    if metric.better is Better.NEITHER:
        return side
    return f"{side}, which is {'worse' if (change > 0) == (metric.better is Better.LOWER) else 'better'}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
