"""The files of a finished study: results.parquet and study.json. The report is made from them and from nothing else.

study.json        everything in the report, and the figures of each run (`format` 3; the report reads 1 and 2, too)
results.parquet   a row per run, client and metric; client -1 means all clients together
rounds.parquet    a row per run, round and metric: the learning curves
paper/            figures, tables and data for a paper (`fedlm/report/paper/`)
report.html       one page without outside references
"""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fedlm.measure.above_ngram import not_passed
from fedlm.measure.registry import find_metric
from fedlm.system.figures_json import to_json
from fedlm.system.files import replacing
from scenarios.runner.design import Case, Design, Figure
from scenarios.runner.primary import primaries
from scenarios.runner.published import beside, published_answers
from scenarios.runner.record import RunRecord
from scenarios.runner.rounds import write_rounds
from scenarios.runner.table import data_table, further_metrics, table, with_central_gap
from scenarios.runner.wording import answers, defaults, method, minority_named

FORMAT = 3
_PACKAGES = ("fedlm", "flwr", "tensorflow", "keras", "numpy")


@dataclass(frozen=True)
class Ended:
    """A finished study: its design and the results of its runs.

    Attributes:
      study, seeds: what was run.
      records: of the runs that succeeded.
      failed: the reason by run, for the others.
      command: that repeats the study.
      seconds: that it took, this time.
    """

    study: Design
    seeds: Sequence[int]
    records: Sequence[RunRecord]
    failed: Mapping[str, str]
    command: str
    seconds: float


def write_results(ended: Ended, out: Path) -> None:
    """Writes study.json, results.parquet and rounds.parquet into the study's folder, each whole or not at all."""
    name, records = ended.study.name, with_central_gap(ended.study, ended.records)
    content = study_content(ended)
    _write_parquet(out / "results.parquet", name, records)
    write_rounds(out, name, records)
    with replacing(out / "study.json") as beside:
        beside.write_text(to_json(content, indent=1) + "\n", encoding="utf-8")


def study_content(ended: Ended) -> dict[str, Any]:
    """Returns the content of study.json: everything in the report, and the figures of each run."""
    study, records = ended.study, with_central_gap(ended.study, ended.records)
    rows, data = table(study, records), data_table(study, records)
    found = primaries(study, ended.seeds, records)
    answered = [*published_answers(study, records), *answers(study, found, rows)]
    behind = not_passed([record.figures for record in records])
    return {
        "format": FORMAT,
        "name": study.name,
        "question": study.question,
        "answer": " ".join(answered),
        "answers": answered,
        "contrasts": [each.to_json() for each in found],
        "method": method(study, ended.seeds, len(ended.failed)) + minority_named(records),
        "corpus": study.corpus,
        "test": study.test,
        "paper": beside(study, records),
        "control": study.baseline or study.control,
        "x_label": study.x_label,
        "group": study.group,
        "test_clients": study.test_clients,
        "seeds": list(ended.seeds),
        "declared_seeds": study.seeds,
        "settings": dict(study.settings),
        "defaults": defaults(study),
        "design": [_case(c) for c in study.cases],
        "columns": [_column(m, study) for m in study.table],
        "further": [_column(m, study) for m in further_metrics(study, records)],
        "table": [row.to_json() for row in rows],
        "data": data,
        "data_columns": [_column(m, study) for m in _names(data)],
        "figures": [_figure(f, study) for f in study.figures],
        "runs": [{k: v for k, v in r.to_json().items() if k != "clients"} for r in records],
        "failed": dict(ended.failed),
        "limits": [*study.limits, *([behind] if behind else [])],
        "command": ended.command,
        "versions": {p: metadata.version(p) for p in _PACKAGES} | {"python": platform.python_version()},
        "seconds": round(ended.seconds, 1),
        "run_seconds": round(sum(r.seconds for r in records), 1),
    }


def _case(case: Case) -> dict[str, Any]:
    """What differs in a case, for the design table."""
    further = {"corpus": case.corpus, "client sampling": case.sampling, "training": "centralised" * case.centralised}
    settings = {**case.settings, **{k: v for k, v in further.items() if v}}
    return {"condition": case.condition, "algorithm": case.algorithm, "settings": settings}


def _column(name: str, study: Design) -> dict[str, Any]:
    metric = find_metric(name, study.metrics)
    margin: float | None = dict[str, float | None](study.margins).get(name, metric.smallest_effect)
    named = {"metric": name, "label": metric.label, "unit": metric.unit, "better": metric.better.value}
    reference = {"reference": _column(metric.reference, study)} if metric.reference else {}
    return {**named, "margin": margin, "chance": metric.chance, **reference}


def _figure(figure: Figure, study: Design) -> dict[str, Any]:
    against = {"against": _column(figure.against, study)} if figure.against else {}
    return {"kind": figure.kind, "metric": _column(figure.metric, study), **against}


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in dict.fromkeys(k for row in rows for k in row) if name != "condition"]


def _write_parquet(path: Path, name: str, records: Sequence[RunRecord]) -> None:
    """Writes a tidy row per run, client and metric; client -1 means all clients together."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [row for record in records for row in _tidy(name, record)]
    schema = pa.schema(
        [(k, pa.string()) for k in ("study", "condition", "algorithm")]
        + [("x", pa.float64()), ("seed", pa.int64()), ("client", pa.int64()), ("group", pa.string())]
        + [("metric", pa.string()), ("value", pa.float64())]
    )
    with replacing(path) as beside:
        parquet.write_table(pa.Table.from_pylist(rows, schema), beside)


def _tidy(name: str, record: RunRecord) -> list[dict[str, Any]]:
    """The rows of one run; undefined metrics have none."""
    run = {"study": name, **{k: getattr(record, k) for k in ("condition", "algorithm", "x", "seed")}}
    rows = [{**run, "client": -1, "group": "", "metric": m, "value": v} for m, v in record.figures.items()]
    for client in record.clients:
        known = {"client": client["client"], "group": client["group"]}
        rows += [{**run, **known, "metric": m, "value": float(v)} for m, v in client.items() if m not in known]
    return [row for row in rows if math.isfinite(row["value"])]
