"""The tables of a study: primary contrasts, and all cases with their paired differences; as CSV and LaTeX."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from fedlm.report.page import figure_text
from fedlm.report.paper.captions import title_of
from fedlm.report.paper.latex import escaped, floating, tabular
from fedlm.report.paper.points import contrast_label

CONTRASTS = (
    *("number", "metric", "label", "unit", "comparison", "difference", "low", "high", "paired_seeds", "hedges_g"),
    *("p", "p_holm", "margin", "p_equivalent_holm", "detectable", "verdict"),
)
RESULTS = (
    *("condition", "algorithm", "x", "control", "metric", "label", "unit", "mean", "low", "high", "seeds"),
    *("difference", "difference_low", "difference_high", "paired_seeds", "hedges_g", "primary"),
)
PUBLISHED = (
    "case",
    "metric",
    "label",
    "unit",
    "published",
    "says",
    "ours",
    "difference",
    "where",
    "checked",
    "shortened",
)
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # beginnings that a spreadsheet would run
_MOST_METRICS = 5  # of one LaTeX table: what two columns of a paper take


def as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a CSV (RFC 4180) with numbers in full; a text that a spreadsheet would run begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_plain(row.get(column)) for column in columns] for row in rows)
    return out.getvalue()


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        kept = "".join(c for c in value if c.isprintable() or c in "\n\t\r")
        return f"'{kept}" if kept.startswith(_FORMULAS) else kept
    return value


def contrast_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each primary contrast."""
    return [
        {
            **{
                k: c[k]
                for k in ("metric", "label", "unit", "hedges_g", "p", "p_holm", "margin", "detectable", "verdict")
            },
            "number": contrast_label(content, c),
            "comparison": c["name"],
            "difference": c["interval"]["mean"],
            **{k: c["interval"][k] for k in ("low", "high")},
            "paired_seeds": c["interval"]["count"],
            "p_equivalent_holm": c["p_equivalent"],
        }
        for c in content["contrasts"]
    ]


def result_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each case and metric, those of the study's table first."""
    columns = [*content["columns"], *content["further"]]
    return [
        {
            **{k: row[k] for k in ("condition", "algorithm", "x", "control")},
            **{k: column[k] for k in ("metric", "label", "unit")},
            **{k: cell[k] for k in ("mean", "low", "high")},
            "seeds": cell["count"],
            **_difference(cell),
            "primary": primary_of(content, row, column["metric"]),
        }
        for column in columns
        for row in content["table"]
        if (cell := row["cells"].get(column["metric"]))
    ]


def _difference(cell: Mapping[str, Any]) -> dict[str, Any]:
    found = cell.get("difference") or {}
    named = {"difference": "mean", "difference_low": "low", "difference_high": "high", "paired_seeds": "count"}
    return {column: found.get(key) for column, key in {**named, "hedges_g": "hedges_g"}.items()}


def primary_of(content: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> str:
    """Returns the number of the primary contrast that a row's difference is; empty if it is none."""
    sides = [[row["condition"], row["algorithm"]], list(row.get("against") or ())]
    same = [c for c in content["contrasts"] if c["metric"] == metric and c.get("sides") == sides]
    return contrast_label(content, same[0]) if same else ""


def contrasts_tex(content: Mapping[str, Any], name: str) -> str:
    """Returns the table of primary contrasts as a LaTeX float; a comment where there is none."""
    if not content["contrasts"]:
        return "% The study declares no primary contrast.\n"
    head = [
        "",
        "Metric",
        "Comparison",
        "Difference [95\\,\\% CI]",
        "$n$",
        "$g$",
        "$p$ (Holm)",
        "Margin",
        "$p$ (equiv.)",
    ]
    body = [[_contrast_cells(row)] for row in contrast_rows(content)]
    caption = (
        "Primary contrasts, declared before the runs. Difference: mean over n paired seeds with the paired 95 % t-interval "
        "(Student). p: exact sign-flip test; equivalence: two one-sided t-tests within the margin; both corrected by Holm's "
        "method. g: Hedges' g of the pairs."
    )
    columns = f"l{_column(0.14)}{_column(0.15)}{_column(0.13)}rrrrr{_column(0.1)}"
    table = tabular(columns, [[*head, "Verdict"]], body)
    return _NEEDS + floating("table", f"{name}-contrasts", caption, f"{_SMALL}{table}")


_NEEDS = "% Needs \\usepackage{booktabs,array}, \\usepackage[T1]{fontenc} and UTF-8.\n"


_SMALL = "\\scriptsize\n\\setlength{\\tabcolsep}{2pt}\n"


def _column(share: float) -> str:
    """A column of a share of the text's width, whose lines break."""
    return f">{{\\raggedright\\arraybackslash}}p{{{share:.3f}\\textwidth}}"


def _contrast_cells(row: Mapping[str, Any]) -> list[str]:
    p = [_p(row[k]) for k in ("p_holm", "p_equivalent_holm")]
    numbers = [_number(row["hedges_g"], sign=True), p[0], _number(row["margin"]), p[1]]
    words = [row["number"], title_of(row), row["comparison"]]
    return [
        *map(escaped, words),
        _with_interval(row["difference"], row["low"], row["high"]),
        str(row["paired_seeds"]),
        *numbers,
        escaped(row["verdict"]),
    ]


def results_tex(content: Mapping[str, Any], name: str) -> str:
    """Returns the study's table as LaTeX floats of a few metrics each: mean and paired difference with its interval."""
    columns = content["columns"]
    parts = [columns[i : i + _MOST_METRICS] for i in range(0, len(columns), _MOST_METRICS)]
    return _NEEDS + "\n".join(_results(content, name, part, place) for place, part in enumerate(parts, 1))


def _results(content: Mapping[str, Any], name: str, columns: Sequence[Mapping[str, Any]], place: int) -> str:
    ragged = _column(0.9 / (2 + len(columns)))
    head = ["Condition", "Algorithm", *(escaped(title_of(c, better=True)) for c in columns)]
    body = [_case_rows(content, row, columns) for row in content["table"]]
    caption = (
        f"Means over {len(content['seeds'])} seeds; below, the difference from {content['control'] or 'the control'}, paired "
        "by seed, with the 95 % t-interval (Student). \u2020: primary contrast; all other differences are descriptive, not "
        "corrected for their number."
    )
    table = tabular(ragged * (2 + len(columns)), [head], body)
    return floating("table", f"{name}-results{'' if place == 1 else f'-{place}'}", caption, f"{_SMALL}{table}")


def _case_rows(
    content: Mapping[str, Any], row: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]
) -> list[list[str]]:
    """The two rows of a case: means, and differences from the control where it has any."""
    cells = [row["cells"].get(c["metric"]) or {} for c in columns]
    means = [_number(cell.get("mean")) for cell in cells]
    first = [escaped(row["condition"]), escaped(row["algorithm"]), *means]
    if not any(cell.get("difference") for cell in cells):
        return [first]
    second = []
    for cell, column in zip(cells, columns, strict=True):
        found = cell.get("difference") or {}
        dagger = "$^{\\dagger}$" if primary_of(content, row, column["metric"]) else ""
        shown = _with_interval(found.get("mean"), found.get("low"), found.get("high")) if found else ""
        second.append(f"{shown}{dagger}")
    return [first, ["", "", *second]]


def _with_interval(mean: float | None, low: float | None, high: float | None) -> str:
    ends = "" if low is None else f" {{[}}{_number(low, sign=True)}, {_number(high, sign=True)}{{]}}"
    return f"{_number(mean, sign=True)}{ends}"


def _number(value: float | None, *, sign: bool = False) -> str:
    r"""Returns a number for LaTeX, with the digits of the report's.

    >>> _number(-0.1234), _number(1234.0), _number(None)
    ('$-0.123$', '$1{,}234$', '--')
    """
    if value is None:
        return "--"
    return f"${figure_text(value, sign).replace(',', '{,}')}$"


def _p(value: float | None) -> str:
    return "--" if value is None else "$<0.001$" if value < 0.001 else f"${value:.3f}$"
