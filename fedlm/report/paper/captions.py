"""Captions of figures: what is drawn, over how many seeds and clients, and what intervals and marks mean."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedlm.report.paper.points import Point, Reference, contrast_label


def title_of(column: Mapping[str, Any], *, better: bool = False) -> str:
    """Returns the title of an axis: label and unit, and which values are better."""
    unit = f" ({column['unit']})" if column["unit"] else ""
    side = column.get("better", "neither")
    return f"{column['label']}{unit}" + (f"; {side} is better" if better and side != "neither" else "")


def counted(numbers: Sequence[int], word: str) -> str:
    """Returns a number or a range of numbers of things.

    >>> counted([3, 3], "seed"), counted([1], "seed"), counted([2, 3], "seed")
    ('3 seeds', '1 seed', '2 to 3 seeds')
    """
    low, high = min(numbers, default=0), max(numbers, default=0)
    return f"{low} {word}{'s' * (low != 1)}" if low == high else f"{low} to {high} {word}s"


def of_levels(
    content: Mapping[str, Any], column: Mapping[str, Any], points: Sequence[Point], level: Reference | None
) -> str:
    """Returns the caption of a metric under each case."""
    dots = " Thin ticks: single seeds." if any(len(p.seeds) > 1 for p in points) else ""
    return (
        f"{upper(title_of(column))}{_by(content)}: means over {_seeds(content, [p.count for p in points])}"
        f"{_clients(content)}.{dots}{_level(level)} Conditions share their seeds, so intervals are those of their paired "
        "differences and are not drawn here."
    )


def of_differences(content: Mapping[str, Any], column: Mapping[str, Any], points: Sequence[Point], *, cut: bool) -> str:
    """Returns the caption of paired differences."""
    counts = [p.count for p in points if p.count]
    over = f"means over {_seeds(content, counts, 'paired seed')}{_clients(content)}"
    bars = "; bars: 95 % paired t-intervals (Student)" if max(counts, default=0) > 1 else ""
    dots = ". Thin ticks: single seeds" if max(counts, default=0) > 1 else ""
    arrows = "; an arrow: the interval goes on" if cut else ""
    return (
        f"Difference in {title_of(column)} from {_control(content)}: {over}{bars}{arrows}{dots}."
        f"{_marks(points)}{_margin(column)}{_named(content, column, points)}"
    )


def of_curves(
    content: Mapping[str, Any], column: Mapping[str, Any], seeds: Sequence[int], level: Reference | None, band: str
) -> str:
    """Returns the caption of learning curves; `band` says what is drawn beside the means."""
    over = f"mean over {_seeds(content, seeds)}{_clients(content)}"
    return f"{upper(title_of(column))} over rounds: {over}{band}.{_level(level)}"


def band_of(seeds: Sequence[int], *, banded: bool, crowded: bool) -> str:
    """Returns what learning curves show beside the means."""
    if max(seeds, default=0) < 2:
        return ""
    if crowded:
        return "; the spread over seeds is not drawn, because the lines are many"
    return (
        "; band: 95 % t-interval over seeds at each round, unpaired, cut at the axes"
        if banded
        else "; thin lines: single seeds"
    )


def of_distributions(content: Mapping[str, Any], column: Mapping[str, Any], points: Sequence[Point]) -> str:
    """Returns the caption of distributions over clients."""
    seeds = len(content["seeds"])
    return (
        f"{upper(title_of(column))} over clients{_by(content)}: n = {counted([p.count for p in points], 'client')} per case "
        f"(of {counted([seeds], 'seed')}, together). Mark: median; thick line: quartiles; thin line: 5th to 95th percentile. "
        "The distribution is over clients, not an interval of its median."
    )


def of_trade(
    content: Mapping[str, Any], column: Mapping[str, Any], against: Mapping[str, Any], points: Sequence[int]
) -> str:
    """Returns the caption of one metric against another."""
    return (
        f"{upper(title_of(column))} against {title_of(against)}: means over {_seeds(content, points)}{_clients(content)}. "
        "The line joins the Pareto front of the means; the intervals of paired differences are in the table."
    )


def _seeds(content: Mapping[str, Any], counts: Sequence[int], word: str = "seed") -> str:
    few = min(counts, default=0) < len(content["seeds"])
    return f"n = {counted(counts, word)}" + " (fewer than all where runs failed or diverged)" * few


def _by(content: Mapping[str, Any]) -> str:
    return "" if content["x_label"] == "condition" else f" by {content['x_label']}"


def _clients(content: Mapping[str, Any]) -> str:
    counts = [round(row["clients"]) for row in content["data"] if row.get("clients")]
    tests = content.get("test_clients")
    tested = f", figures over {tests} test clients{' of each group' if content['group'] else ''}" if tests else ""
    return f" of {counted(counts, 'client')}{tested}" if counts else ""


def _control(content: Mapping[str, Any]) -> str:
    return f"\u201c{content['control']}\u201d" if content["control"] else "the control"


def _marks(points: Sequence[Point]) -> str:
    one = len(points) == 1
    if not any(p.primary for p in points):
        words = "It is" if one else "All of them are"
        return f" {words} descriptive: no verdict rests on it, and intervals are not corrected for their number."
    if all(p.primary for p in points):
        return " It is a primary contrast." if one else " All of them are primary contrasts."
    return (
        " Filled marks with thick bars: primary contrasts, which alone have a verdict; open marks: descriptive, not "
        "corrected for their number."
    )


def _margin(column: Mapping[str, Any]) -> str:
    margin = column.get("margin")
    return "" if margin is None else f" Shaded: within the smallest effect that matters, {margin:g}."


def _level(reference: Reference | None) -> str:
    return "" if reference is None else f" Dashed: {reference.label}."


def _named(content: Mapping[str, Any], column: Mapping[str, Any], points: Sequence[Point]) -> str:
    """What the numbers of contrasts mean that no row of the table has."""
    shown = {p.condition for p in points if p.primary}
    own = [(contrast_label(content, c), c) for c in content["contrasts"] if c["metric"] == column["metric"]]
    return "".join(f" {label}: {c['name']}." for label, c in own if label in shown)


def upper(text: str) -> str:
    """Returns a text with a capital first letter."""
    return text[:1].upper() + text[1:]
