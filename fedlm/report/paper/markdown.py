"""A study as a section of a page in Markdown: question, design, primary contrasts, results, figures, limits.

docs/results.md is made of these sections. What a name holds is shown and never read as Markdown or HTML.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedlm.errors import counted
from fedlm.report.page import figure_text
from fedlm.report.paper.captions import title_of, upper
from fedlm.report.paper.tables import contrast_rows, primary_of

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!&~$])")
_DESCRIPTIVE = "\u2020: primary contrast. All other differences are descriptive and not corrected for their number."


def section(content: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Returns the section.

    Args:
      content: of study.json.
      figures: the caption of each figure, by the name of its file without ending.
    """
    drawn = [
        f"![{plain(caption.partition(':')[0])}]({file}.svg)\n\n{plain(caption)}\n" for file, caption in figures.items()
    ]
    parts = [
        f"### {plain(content['name'])}\n",
        f"**{plain(content['question'])}**\n",
        f"{plain(content['method'])}\n",
        "\n".join(f"- {plain(upper(answer))}" for answer in content["answers"]) + "\n",
        _published(content),
        _contrasts(content),
        _results(content),
        *drawn,
        "\n".join(f"- {plain(limit)}" for limit in content["limits"]) + "\n",
        f"```\n{_line(content['command']).replace('```', '` ` `')}\n```\n",
        f"{counted(len(content['runs']), 'run')}, {content['run_seconds'] / 60:,.0f} minutes of training together.\n",
    ]
    return "\n".join(part for part in parts if part.strip())


def plain(text: str) -> str:
    r"""Returns text that Markdown shows as it is, on one line.

    >>> print(plain("a_b | <i> *c*"))
    a\_b \| \<i\> \*c\*
    """
    return _SPECIAL.sub(r"\\\1", _line(text))


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _published(content: Mapping[str, Any]) -> str:
    """The figures of a paper that the study repeats, beside its own."""
    rows = [
        [
            plain(row["case"]),
            plain(title_of(row)),
            plain(row["says"] or "\u2013") if row["published"] is None else figure_text(row["published"]),
            figure_text(row["ours"]),
            figure_text(row["difference"], sign=True),
            plain(row["where"]),
            plain(row["checked"] or "as reported, not checked against the paper"),
        ]
        for row in (content.get("paper") or {}).get("rows", ())
    ]
    return (
        table(["result", "figure", "published", "ours", "difference", "in the paper", "checked against"], rows)
        if rows
        else ""
    )


def _contrasts(content: Mapping[str, Any]) -> str:
    rows = [
        [
            plain(row["number"]),
            plain(title_of(row)),
            plain(row["comparison"]),
            _interval(row["difference"], row["low"], row["high"]),
            str(row["paired_seeds"]),
            figure_text(row["hedges_g"], sign=True),
            _p(row["p_holm"]),
            figure_text(row["margin"]),
            _p(row["p_equivalent_holm"]),
            plain(row["verdict"]),
        ]
        for row in contrast_rows(content)
    ]
    head = ["", "metric", "comparison", "difference, 95 % interval", "seeds", "Hedges' g", "p (Holm)", "margin"]
    return table([*head, "p (equivalence)", "verdict"], rows) if rows else ""


def _results(content: Mapping[str, Any]) -> str:
    columns = content["columns"]
    head = ["condition", "algorithm", *(plain(title_of(c, better=True)) for c in columns)]
    rows = [
        [plain(row["condition"]), plain(row["algorithm"]), *(_cell(content, row, c["metric"]) for c in columns)]
        for row in content["table"]
    ]
    body = table(head, rows)
    return f"{body}\n{_DESCRIPTIVE}\n" if "\u2020" in body else body


def _cell(content: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> str:
    """The mean; after a semicolon the paired difference from the control with its interval."""
    cell = row["cells"].get(metric) or {}
    mean, found = figure_text(cell.get("mean")), cell.get("difference")
    if not found:
        return mean
    dagger = " \u2020" if primary_of(content, row, metric) else ""
    return f"{mean}; {_interval(found.get('mean'), found.get('low'), found.get('high'))}{dagger}"


def _interval(mean: float | None, low: float | None, high: float | None) -> str:
    ends = "" if low is None else f" [{figure_text(low, sign=True)}, {figure_text(high, sign=True)}]"
    return f"{figure_text(mean, sign=True)}{ends}"


def _p(value: float | None) -> str:
    return "\u2013" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
