"""From the results of runs to the tables of a study: means over seeds, differences from the control, the data before training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fedlm.measure.centralised import compare
from fedlm.measure.registry import known_metrics
from fedlm.measure.statistics import bootstrap_mean, paired_difference
from scenarios.runner.design import Case, Design
from scenarios.runner.record import RunRecord

FEWEST_SEEDS = 3  # below it, no statement about a difference is made
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
    """A mean difference from the control, over the seeds that both have.

    Attributes:
      mean, low, high, count: the difference, its bootstrap interval over seeds, and the number of seeds.
      effect_size: Cohen's d of the pairs.
      same_sign: how many seeds differ in the direction of the mean.
      excludes_zero: the interval does not hold 0, and there are at least FEWEST_SEEDS seeds. No significance test.
    """

    mean: float
    low: float
    high: float
    count: int
    effect_size: float
    same_sign: int
    excludes_zero: bool


@dataclass(frozen=True)
class Cell:
    """A metric of a case: the mean over seeds, its bootstrap interval, and the difference from the control."""

    mean: float
    low: float
    high: float
    count: int
    difference: Difference | None = None


@dataclass(frozen=True)
class Row:
    """The metrics of a case; metrics that none of its runs has are omitted.

    Attributes:
      control: it is what others are compared with.
    """

    condition: str
    algorithm: str
    x: float | None
    control: bool
    cells: Mapping[str, Cell]

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
        cells = {}
        for metric in metrics:
            own = values_of(records, case, metric)
            other = values_of(records, control, metric) if control else {}
            if own:
                cells[metric] = _cell(own, other)
        if cells:
            rows.append(Row(case.condition, case.algorithm, case.x, control is None, cells))
    return rows


def _cell(own: Mapping[int, float], control: Mapping[int, float]) -> Cell:
    """Summarises a metric by seed; the difference is paired: the seed's split, weights and cohorts are the same in both."""
    over_seeds = bootstrap_mean(list(own.values()))
    seeds = sorted(own.keys() & control.keys())  # a failed run takes its pair out, not its case
    if not seeds:
        return Cell(**asdict(over_seeds))
    found = paired_difference([own[s] for s in seeds], [control[s] for s in seeds])
    return Cell(
        **asdict(over_seeds),
        difference=Difference(
            **asdict(found.interval),
            effect_size=found.effect_size,
            same_sign=found.same_sign,
            excludes_zero=found.excludes_zero and len(seeds) >= FEWEST_SEEDS,
        ),
    )


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
