"""From the results of runs to the tables of a study: means over seeds, differences from the control, the data before training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fedlm.measure.bootstrap import two_level
from fedlm.measure.centralised import compare
from fedlm.measure.fairness import CLIENT_COLUMN, OVER_CLIENTS
from fedlm.measure.registry import known_metrics
from fedlm.measure.statistics import Interval, paired_difference, t_interval
from scenarios.runner.design import Case, Design
from scenarios.runner.record import RunRecord

_TEXT_AND_MODEL = (
    "partition",
    "scrub",
    "max_clients",
    "min_documents",
    "holdout_fraction",
    "vocabulary",
    "model",
    "seq_len",
)


@dataclass(frozen=True)
class Difference:
    """A mean difference from the control, over the seeds that both have; a description, no verdict.

    Attributes:
      mean, low, high, count: the difference, its paired t-interval, and the number of seeds.
      hedges_g: the standardised difference of the pairs.
    """

    mean: float
    low: float
    high: float
    count: int
    hedges_g: float


@dataclass(frozen=True)
class Cell:
    """A metric of a case.

    Attributes:
      mean, low, high, count: over seeds, with the t-interval; a figure over clients has the interval over seeds and clients.
      clients: how many clients that interval resamples, the fewest of a seed; 0 for an interval over seeds.
      difference: from the control; None without one.
    """

    mean: float
    low: float
    high: float
    count: int
    clients: int = 0
    difference: Difference | None = None


@dataclass(frozen=True)
class Row:
    """The metrics of a case; metrics that none of its runs has are omitted.

    Attributes:
      control: it is what others are compared with.
      against: the case with which it is compared, condition and algorithm; None for a control.
    """

    condition: str
    algorithm: str
    x: float | None
    control: bool
    cells: Mapping[str, Cell]
    against: tuple[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; a cell has no `difference` where there is no control."""
        row = asdict(self)
        for cell in row["cells"].values():
            if cell["difference"] is None:
                del cell["difference"]
        return row


def values_of(records: Sequence[RunRecord], case: Case, metric: str) -> dict[int, float]:
    """Returns a metric by seed, for the runs of a case that define it."""
    found = {}
    for record in records:
        value = record.figures.get(metric, math.nan)
        if (record.condition, record.algorithm) == case.name and math.isfinite(value):
            found[record.seed] = value
    return found


def table(study: Design, records: Sequence[RunRecord]) -> list[Row]:
    """Returns a row for each case that has results, in the order of the design."""
    drawn = [m for f in study.figures for m in (f.metric, f.against) if m]
    metrics = list(dict.fromkeys([*study.table, *drawn, *further_metrics(study, records)]))
    rows = []
    for case in study.cases:
        control = study.control_of(case)
        cells: dict[str, Cell] = {}
        clients = over_clients(study, case, records)
        for metric in metrics:
            own = values_of(records, case, metric)
            other = values_of(records, control, metric) if control else {}
            if own:
                cells[metric] = _with_clients(_cell(own, other), clients.get(metric))
        if cells:
            rows.append(
                Row(case.condition, case.algorithm, case.x, control is None, cells, control.name if control else None)
            )
    return rows


def _cell(own: Mapping[int, float], control: Mapping[int, float]) -> Cell:
    """Summarises a metric by seed; the difference is paired: the seed's split, weights and cohorts are the same in both."""
    over_seeds = t_interval(list(own.values()))
    seeds = sorted(own.keys() & control.keys())  # descriptive: a failed run takes its pair out, and the count says so
    if not seeds:
        return Cell(**asdict(over_seeds))
    found = paired_difference([own[s] for s in seeds], [control[s] for s in seeds])
    return Cell(**asdict(over_seeds), difference=Difference(**asdict(found.interval), hedges_g=found.hedges_g))


def _with_clients(cell: Cell, interval: Interval | None) -> Cell:
    """Returns a cell with the interval over seeds and clients in place of that over seeds."""
    if interval is None or math.isnan(interval.low):
        return cell
    return replace(cell, low=interval.low, high=interval.high, clients=interval.count)


def deals_anew(study: Design, case: Case) -> bool:
    """Returns whether every seed deals new clients; otherwise the population is the same under every seed."""
    dealt = {**study.settings, **case.settings}.get("partition", "")
    return bool(dealt) or "{seed}" in (case.corpus or study.corpus)


def over_clients(study: Design, case: Case, records: Sequence[RunRecord]) -> dict[str, Interval]:
    """Returns the two-level bootstrap intervals of a case's figures over clients, by metric; nothing without clients."""
    own = [r for r in records if (r.condition, r.algorithm) == case.name]
    by_seed = [{int(c["client"]): float(c[CLIENT_COLUMN]) for c in r.clients if CLIENT_COLUMN in c} for r in own]
    by_seed = [{c: v for c, v in of.items() if math.isfinite(v)} for of in by_seed if of]
    crossed = not deals_anew(study, case)
    if crossed and by_seed:
        everywhere = sorted(set.intersection(*(set(of) for of in by_seed)))
        by_seed = [{c: of[c] for c in everywhere} for of in by_seed]
    if not by_seed or not all(by_seed):
        return {}
    values = [np.array(list(of.values())) for of in by_seed]
    found = two_level(values, list(OVER_CLIENTS.values()), crossed=crossed)
    return dict(zip(OVER_CLIENTS, found, strict=True))


def further_metrics(study: Design, records: Sequence[RunRecord]) -> list[str]:
    """Returns what the runs measured besides the table: declared metrics first, then members of families, by name."""
    found, known = {m for r in records for m in r.figures}, known_metrics(study.metrics)
    shown = {*study.table, *(name for name, metric in known.items() if metric.describes_data)}
    declared = [name for name in known if name in found and name not in shown]
    return declared + sorted(n for n in found - known.keys() if not _family_of_data(n, study))


def data_table(study: Design, records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Returns a row per condition: the data's heterogeneity before training, means over seeds."""
    found = {m for r in records for m in r.figures}
    names = [n for n, metric in known_metrics(study.metrics).items() if metric.describes_data and n in found]
    names += sorted(n for n in found if _family_of_data(n, study))
    rows: dict[str, dict[str, float]] = {}
    for case in study.cases:
        values = {name: list(values_of(records, case, name).values()) for name in names}
        if case.condition not in rows and any(values.values()):
            rows[case.condition] = {name: sum(v) / len(v) for name, v in values.items() if v}
    return [{"condition": condition, **row} for condition, row in rows.items()]


def _family_of_data(name: str, study: Design) -> bool:
    """Returns whether a metric belongs to a family that describes the data (`label_entropy:play`)."""
    family, colon, _ = name.partition(":")
    metric = known_metrics(study.metrics).get(f"{family}:")
    return bool(colon) and metric is not None and metric.describes_data


def with_central_gap(study: Design, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Returns the records, compared with the centralised run of the same seed, text and model where there is one."""
    ceilings = {_text_and_model(study, c): c for c in study.cases if c.centralised}
    ceiling_of = {c.name: ceilings.get(_text_and_model(study, c)) for c in study.cases if not c.centralised}
    figures = {(r.condition, r.algorithm, r.seed): r.figures for r in records}
    found = []
    for record in records:
        # Bits per character over other text, or of another model, would not be comparable.
        ceiling = ceiling_of.get((record.condition, record.algorithm))
        reference = figures.get((*ceiling.name, record.seed)) if ceiling else None
        more = compare(record.figures, reference) if reference else {}
        found.append(replace(record, figures={**record.figures, **more}))
    return found


def _text_and_model(study: Design, case: Case) -> tuple[object, ...]:
    """What two runs must share to be compared with each other."""
    settings = {**study.settings, **case.settings}
    return (case.corpus or study.corpus, *(settings.get(k) for k in _TEXT_AND_MODEL))
