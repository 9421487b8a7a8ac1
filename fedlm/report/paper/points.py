"""The numbers that figures of a study show, from the content of study.json: levels, paired differences, reference levels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Case = tuple[str, str]  # condition, algorithm


@dataclass(frozen=True)
class Point:
    """A figure of one case, or a difference between two.

    Attributes:
      condition, algorithm, x: the case; for a primary contrast with another case than the control, its name and no x.
      mean, low, high, count: over seeds; the ends are NaN without an interval.
      seeds: the value of each seed.
      primary: it is a primary contrast.
      inner: the quartiles of a distribution, whose median is `mean`; None for a figure over seeds.
    """

    condition: str
    algorithm: str
    x: float | None
    mean: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    seeds: Mapping[int, float] = field(default_factory=dict)
    primary: bool = False
    inner: tuple[float, float] | None = None

    @property
    def case(self) -> Case:
        """Condition and algorithm."""
        return self.condition, self.algorithm


def by_seed(content: Mapping[str, Any], case: Case, metric: str) -> dict[int, float]:
    """Returns a metric of a case by seed, where it is finite."""
    own = [r for r in content["runs"] if (r["condition"], r["algorithm"]) == case]
    known = {int(r["seed"]): r["figures"].get(metric) for r in own}
    return {seed: float(v) for seed, v in sorted(known.items()) if v is not None and math.isfinite(v)}


def levels(content: Mapping[str, Any], metric: str) -> list[Point]:
    """Returns the mean of a metric under each case, without an interval: unpaired ones say nothing about differences."""
    return [
        Point(r["condition"], r["algorithm"], r["x"], float(cell["mean"]), count=cell["count"], seeds=values)
        for r in content["table"]
        if (cell := r["cells"].get(metric)) and cell["mean"] is not None
        for values in (by_seed(content, (r["condition"], r["algorithm"]), metric),)
    ]


def differences(content: Mapping[str, Any], metric: str) -> list[Point]:
    """Returns the paired difference of each case from its control, and the primary contrasts between other cases."""
    contrasts = [c for c in content["contrasts"] if c["metric"] == metric]
    pairs = {tuple(map(tuple, c["sides"])): c for c in contrasts if c.get("sides")}
    found, drawn = [], []
    for row in content["table"]:
        difference = (row["cells"].get(metric) or {}).get("difference")
        if not difference or difference["mean"] is None:
            continue
        case = (row["condition"], row["algorithm"])
        contrast = pairs.get((case, tuple(row.get("against") or ())))
        drawn += [contrast] if contrast else []
        found.append(_difference(content, row, metric, difference, primary=contrast is not None))
    others = [c for c in contrasts if not any(c is d for d in drawn) and c["interval"]["mean"] is not None]
    return [*found, *(_contrast(content, c) for c in others)]


def origins(content: Mapping[str, Any], points: Sequence[Point]) -> list[Point]:
    """Returns the controls with a place on the axis as differences of 0, where the lines of differences begin."""
    algorithms = {p.algorithm for p in points if p.x is not None}
    controls = [r for r in content["table"] if r["control"] and r["x"] is not None and r["algorithm"] in algorithms]
    return [Point(r["condition"], r["algorithm"], r["x"], 0.0) for r in controls]


def _difference(
    content: Mapping[str, Any], row: Mapping[str, Any], metric: str, found: Mapping[str, Any], *, primary: bool
) -> Point:
    case, against = (row["condition"], row["algorithm"]), row.get("against")
    own = by_seed(content, case, metric)
    other = by_seed(content, (against[0], against[1]), metric) if against else {}
    seeds = {s: own[s] - other[s] for s in own if s in other}
    return Point(case[0], case[1], row["x"], *_interval(found), seeds=seeds, primary=primary)


def _contrast(content: Mapping[str, Any], contrast: Mapping[str, Any]) -> Point:
    """A primary contrast that no row of the table has: a trend, or two cases neither of which is the control."""
    cases = [tuple(c) for c in contrast.get("sides") or contrast.get("along") or ()]
    seeds = {int(seed): float(v) for seed, v in contrast["by_seed"].items()}
    algorithm = cases[0][1] if cases else ""
    return Point(contrast_label(content, contrast), algorithm, None, *_interval(contrast["interval"]), seeds, True)


def contrast_label(content: Mapping[str, Any], contrast: Mapping[str, Any]) -> str:
    """Returns the number of a contrast in the table of primary contrasts, which captions explain: `C1`."""
    return f"C{1 + next(place for place, each in enumerate(content['contrasts']) if each is contrast)}"


def _interval(found: Mapping[str, Any]) -> tuple[float, float, float, int]:
    low, high = (math.nan if found[k] is None else float(found[k]) for k in ("low", "high"))
    return float(found["mean"]), low, high, int(found["count"])


@dataclass(frozen=True)
class Reference:
    """A level to compare a metric with: that of chance, or of another model.

    Attributes:
      label, short: what it is, in a caption and in a legend.
      at: its value by condition.
    """

    label: str
    short: str
    at: Mapping[str, float]

    @property
    def everywhere(self) -> float | None:
        """The value, if all conditions have the same; None otherwise."""
        values = list(self.at.values())
        same = bool(values) and all(math.isclose(v, values[0], rel_tol=1e-9) for v in values)
        return values[0] if same else None


def reference(content: Mapping[str, Any], column: Mapping[str, Any]) -> Reference | None:
    """Returns the reference level of a metric, the mean over the runs of each condition; None if it has none."""
    conditions = dict.fromkeys(r["condition"] for r in content["table"])
    if column.get("chance") is not None:
        return Reference("chance", "chance", dict.fromkeys(conditions, float(column["chance"])))
    if not column.get("reference"):
        return None
    name = column["reference"]["metric"]
    known: dict[str, list[float]] = {condition: [] for condition in conditions}
    for run in content["runs"]:
        value = run["figures"].get(name)
        if value is not None and math.isfinite(value) and run["condition"] in known:
            known[run["condition"]].append(float(value))
    at = {condition: math.fsum(values) / len(values) for condition, values in known.items() if values}
    return Reference(column["reference"]["label"], name.replace("_", " "), at) if at else None


def numbered(points: Sequence[Point]) -> bool:
    """Returns whether the conditions have places on an axis: two or more."""
    return len({p.x for p in points if p.x is not None}) > 1
