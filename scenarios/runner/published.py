"""Published figures beside those of a study: the table "published, ours, difference"."""

from collections.abc import Sequence
from typing import Any

from fedlm.measure.registry import find_metric
from scenarios.runner.design import Case, Design
from scenarios.runner.paper import Published
from scenarios.runner.record import RunRecord
from scenarios.runner.table import values_of

SHORTENED = "This is the shortened version of the study: it reproduces nothing, and no figure of it may be cited."
NOT_CHECKED = "as reported, not checked against the paper"


def beside(study: Design, records: Sequence[RunRecord]) -> dict[str, Any] | None:
    """Returns the paper and a row for each of its results, for study.json; None for a study that repeats no paper.

    A row's `ours` is the mean over seeds, `by_seed` the figures of the single seeds, `difference` ours minus published. They
    are None where no run defines the metric, such as the rounds to a target that was not reached.
    """
    paper = study.paper
    if paper is None:
        return None
    return {
        "citation": paper.citation,
        "url": paper.url,
        "differences": list(paper.differences),
        "shortened": paper.shortened,
        "rows": [_row(study, row, records) | {"shortened": paper.shortened} for row in paper.rows],
    }


def published_answers(study: Design, records: Sequence[RunRecord]) -> list[str]:
    """Returns the sentences about a paper's results for the answer; none for a study that repeats no paper."""
    found = beside(study, records)
    if found is None:
        return []
    rows = found["rows"]
    measured = [row for row in rows if row["ours"] is not None]
    compared = [row for row in measured if row["difference"] is not None]
    sentences = [SHORTENED] if found["shortened"] else []
    sentences.append(f"{len(measured)} of {len(rows)} published results have a figure of this study beside them.")
    if measured and not compared:
        sentences.append("The paper states them in words or curves; the table has what it says beside our figures.")
    if compared and not found["shortened"]:
        largest = max(compared, key=lambda row: abs(row["difference"]))
        sentences.append(
            f"The largest difference is {largest['difference']:+.4g} ({largest['case']}: published "
            f"{largest['published']:.4g}, ours {largest['ours']:.4g}; {largest['label']})."
        )
    return sentences


def sides(study: Design, row: Published) -> tuple[Case | None, Case | None]:
    """Returns the case of a published result, and the one that is subtracted; None where it names none or none exists."""
    first = _case(study, row.condition, row.algorithm)
    same = first.algorithm if first else ""
    return first, _case(study, row.against, row.against_algorithm or same) if row.against else None


def _case(study: Design, condition: str, algorithm: str) -> Case | None:
    found = (c for c in study.cases if c.condition == condition and algorithm in ("", c.algorithm))
    return next(found, None)


def _row(study: Design, row: Published, records: Sequence[RunRecord]) -> dict[str, Any]:
    metric = find_metric(row.metric, study.metrics)
    by_seed = _by_seed(study, row, records)
    ours = sum(by_seed.values()) / len(by_seed) if by_seed else None
    return {
        "case": _words(study, row),
        "metric": row.metric,
        "label": metric.label,
        "unit": metric.unit,
        "published": row.value,
        "says": row.says,
        "where": row.where,
        "checked": row.checked,
        "ours": ours,
        "by_seed": {str(seed): value for seed, value in sorted(by_seed.items())},
        "difference": None if ours is None or row.value is None else ours - row.value,
    }


def _by_seed(study: Design, row: Published, records: Sequence[RunRecord]) -> dict[int, float]:
    """Returns a case's figure by seed, minus that of the other case where the result compares two."""
    case, other = sides(study, row)
    if case is None:
        return {}
    own = values_of(records, case, row.metric)
    if not row.against:
        return own
    against = values_of(records, other, row.metric) if other else {}
    return {seed: own[seed] - against[seed] for seed in own.keys() & against.keys()}


def _words(study: Design, row: Published) -> str:
    """Names the case, or the two cases that are compared; the algorithm only where a study has several."""
    several = len({case.algorithm for case in study.cases}) > 1
    names = [
        f"{case.condition}, {case.algorithm}" if several and case.algorithm != case.condition else case.condition
        for case in sides(study, row)
        if case is not None
    ]
    return " minus ".join(names)
