"""What a search found: the best setting of each method, how sure that is, and whether the grid was wide enough.

A setting is chosen by the mean over seeds of its loss on validation text, in bits per character. Intervals are Student's over
seeds; the difference from the chosen setting is paired by seed. A setting one of whose runs diverged or failed is not chosen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.measure.statistics import Interval, paired_difference, t_interval
from scenarios.runner.record import RunRecord
from scenarios.tuning.axes import Axis
from scenarios.tuning.grid import Grid, Setting

METRIC, ACCURACY = "bits_per_char", "accuracy"
UNUSABLE = "unusable_updates"  # updates of clients that were not finite, in all rounds


class Status(Enum):
    """What is said of a setting."""

    CHOSEN = "chosen"
    WITHIN_NOISE = "within noise"
    WORSE = ""
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True)
class Budget:
    """What every setting got.

    Attributes:
      data: the name of the corpus or vault.
      rounds, seeds: of every setting.
    """

    data: str
    rounds: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A setting's figures.

    Attributes:
      setting: which.
      status: what is said of it.
      by_seed: validation bits per character, by seed; NaN where the run diverged, None where it failed.
      bits: their mean and interval; NaN unless all runs ended with a finite figure.
      accuracy: the mean share of correct predictions on validation text.
      difference: from the chosen setting of the method, paired by seed; None where either lacks figures.
    """

    setting: Setting
    status: Status
    by_seed: Mapping[int, float | None]
    bits: Interval
    accuracy: float
    difference: Interval | None = None


@dataclass(frozen=True)
class Method:
    """The search within one method.

    Attributes:
      name: empty if the search has one only.
      rows: the best first; those without a figure come last.
      notes: sentences on the choice.
    """

    name: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def chosen(self) -> Row | None:
        """The chosen setting; None if every one has a run that diverged or failed."""
        return self.rows[0] if self.rows[0].status is Status.CHOSEN else None


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    Attributes:
      budget: of every setting.
      methods: in the grid's order.
      notes: sentences on the search as a whole.
    """

    budget: Budget
    methods: tuple[Method, ...]
    notes: tuple[str, ...]

    @property
    def best(self) -> Row | None:
        """The chosen setting of the method with the lowest loss."""
        found = [m.chosen for m in self.methods if m.chosen is not None]
        return min(found, key=lambda row: row.bits.mean, default=None)


def chosen_config(outcome: Outcome, method: str = "") -> RunConfig:
    """Returns the configuration with a method's chosen values, or with the best of all for an empty name.

    Raises:
      ConfigError: there is no such method, or nothing was chosen.
    """
    known = {m.name: m.chosen for m in outcome.methods}
    if method and method not in known:
        raise ConfigError(f"The search has no method {method!r}; its methods are: {', '.join(known)}.")
    row = known[method] if method else outcome.best
    if row is None:
        raise ConfigError("Nothing was chosen: every setting has a run that diverged or failed.")
    return row.setting.config


def compare(grid: Grid, records: Mapping[str, Sequence[RunRecord | None]], budget: Budget, others: int = 0) -> Outcome:
    """Returns what the runs say.

    Args:
      grid: the settings.
      records: the results of each setting's runs in the seeds' order, by its words; None for a run that failed.
      budget: of every setting.
      others: finished runs in the folder that are not of this search.
    """
    methods = []
    for name in grid.methods:
        rows = [_row(s, records[s.words], budget.seeds) for s in grid.settings if s.method == name]
        ranked = _ranked(rows)
        methods.append(Method(name, ranked, tuple(_notes(grid, ranked))))
    notes = [*grid.left_out, *_on_budget(methods)]
    if len(budget.seeds) < 2:
        notes.append("With one seed nothing is known about noise: use --seeds 3 or more.")
    if others:
        notes.append(
            f"The folder has {others} finished runs of other grids, budgets or data; they are not in the table."
        )
    return Outcome(budget, tuple(methods), tuple(notes))


def _row(setting: Setting, records: Sequence[RunRecord | None], seeds: Sequence[int]) -> Row:
    """Returns a setting's figures, not compared yet."""
    by_seed = {seed: None if r is None else _figure(r) for seed, r in zip(seeds, records, strict=True)}
    if any(value is not None and math.isnan(value) for value in by_seed.values()):
        status = Status.DIVERGED
    else:
        status = Status.FAILED if None in by_seed.values() else Status.WORSE
    known = [value for value in by_seed.values() if value is not None] if status is Status.WORSE else []
    accuracies = [r.figures.get(ACCURACY, math.nan) for r in records if r is not None] if known else []
    return Row(setting, status, by_seed, t_interval(known), float(t_interval(accuracies).mean))


def _figure(record: RunRecord) -> float:
    """Returns a run's loss; NaN if it diverged, which one update that is not finite shows."""
    value = record.figures.get(METRIC, math.nan)
    return value if math.isfinite(value) and not record.figures.get(UNUSABLE) else math.nan


def _ranked(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Returns the rows in the order of their means, ties in the grid's, compared with the first."""
    whole = sorted((r for r in rows if r.status is Status.WORSE), key=lambda r: r.bits.mean)
    rest = [r for r in rows if r.status is not Status.WORSE]
    return (*(_compared(r, whole[0]) for r in whole), *rest)


def _compared(row: Row, best: Row) -> Row:
    if row is best:
        return replace(row, status=Status.CHOSEN)
    own, theirs = ([v for v in r.by_seed.values() if v is not None] for r in (row, best))
    difference = paired_difference(own, theirs).interval
    status = Status.WITHIN_NOISE if difference.covers(0.0) else Status.WORSE
    return replace(row, status=status, difference=difference)


def _notes(grid: Grid, rows: Sequence[Row]) -> list[str]:
    """Returns the sentences on one method."""
    best = rows[0]
    if best.status is not Status.CHOSEN:
        return ["Every setting has a run that diverged or failed, so none is chosen."]
    found = [sentence for axis in grid.axes if (sentence := _on_edge(axis, best, rows))]
    near = [row for row in rows if row.status is Status.WITHIN_NOISE]
    if near and near[0].difference is not None:
        gap = near[0].difference
        more = (
            f", and so are {len(near) - 1} other settings"
            if len(near) > 2
            else ", and so is 1 other setting"
            if len(near) == 2
            else ""
        )
        found.append(
            f"Within noise of the best: {near[0].setting.words} ({gap.mean:+.3f} bits, interval {gap.low:+.3f} to "
            f"{gap.high:+.3f}){more}."
        )
    lost = sum(row.status is Status.DIVERGED for row in rows), sum(row.status is Status.FAILED for row in rows)
    for count, word in zip(lost, ("diverged", "failed"), strict=True):
        if count:
            found.append(f"{count} of {len(rows)} settings {word} under at least one seed, and cannot be chosen.")
    return found


def _on_edge(axis: Axis, best: Row, rows: Sequence[Row]) -> str:
    """Returns the sentence for a best value at the end of its list; empty where it is not, or can be no further."""
    value = axis.numbers.get(best.setting.values.get(axis.name, ""))
    tried = {axis.numbers[v] for row in rows if (v := row.setting.values.get(axis.name, "")) in axis.numbers}
    if value is None or len(tried) < 2 or min(tried) < value < max(tried) or value in _bounds(axis):
        return ""
    end = "largest" if value == max(tried) else "smallest"
    return f"The best {axis.name}, {best.setting.values[axis.name]}, is the {end} of the grid: widen it."


def _bounds(axis: Axis) -> set[float]:
    """Returns the values beyond which a key cannot go; options end at 0."""
    if axis.option:
        return {0.0}
    rules = RunConfig.model_fields[axis.key].metadata
    return {float(limit) for rule in rules for name in ("ge", "le") if (limit := getattr(rule, name, None)) is not None}


def _on_budget(methods: Sequence[Method]) -> list[str]:
    """Returns a sentence if methods have different numbers of settings."""
    counts = {m.name: len(m.rows) for m in methods}
    if len(set(counts.values())) < 2:
        return []
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [f"Methods have different numbers of settings ({said}): the one with more had more chances."]
