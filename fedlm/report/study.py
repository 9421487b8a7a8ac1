"""The report of a study: figures as SVG and PNG, and one HTML file without outside references."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError
from fedlm.measure.statistics import is_range
from fedlm.report.figures import Axis, Drawn, line, spread, trade, values_by_condition
from fedlm.report.legacy import current_format
from fedlm.report.page import write_page
from fedlm.report.plots import render


@dataclass(frozen=True)
class Captioned:
    """A figure of the page: its file name without an ending, its caption, and what draws it."""

    name: str
    caption: str
    drawn: Drawn


def write_study_report(study: Path) -> Path:
    """Writes figures/ and report.html from study.json and results.parquet; returns the report's path.

    Raises:
      ConfigError: it is not the folder of a study.
    """
    if not (study / "study.json").is_file():
        raise ConfigError(f"{study} is not the folder of a study: it has no study.json.")
    content = current_format(json.loads((study / "study.json").read_text(encoding="utf-8")))
    context = {
        **content,
        "plots": _write_figures(study, content),
        "interval": interval_name(len(content["seeds"])),
        "is_range": is_range(len(content["seeds"])),
        "constant": _constant(content),
    }
    return write_page(study / "report.html", "study.html.jinja", context)


def interval_name(seeds: int) -> str:
    """Returns what the brackets over so many seeds are."""
    return "range over seeds" if is_range(seeds) else "95 % bootstrap interval over seeds"


def _constant(content: Mapping[str, Any]) -> dict[str, object]:
    """The settings that no case changes."""
    changed = {k for case in content["design"] for k in case["settings"]}
    own = {k: v for k, v in content["settings"].items() if k not in changed}
    return {**({} if "corpus" in changed else {"corpus": content["corpus"]}), **own}


def _write_figures(study: Path, content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Writes each figure as SVG and PNG; returns the SVGs and captions for the page."""
    folder = study / "figures"
    folder.mkdir(exist_ok=True)
    clients = _clients(study) if any(f["kind"] == "spread" for f in content["figures"]) else []
    made = []
    for figure in (_captioned(f, content, clients) for f in content["figures"]):
        plot = render(figure.caption, figure.drawn.draw, figure.drawn.height)
        # A separate file has no page to take a colour from: its ink is black.
        (folder / f"{figure.name}.svg").write_text(plot.svg.replace("currentColor", "#000000"), encoding="utf-8")
        (folder / f"{figure.name}.png").write_bytes(plot.png)
        made.append({"svg": plot.svg, "caption": figure.caption})
    return made


def _clients(study: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(
        study / "results.parquet", filters=[("client", ">=", 0)]
    ).to_pylist()
    return rows


def _captioned(figure: Mapping[str, Any], content: Mapping[str, Any], clients: list[dict[str, Any]]) -> Captioned:
    """Returns a figure with its caption, which says n and what bars mean."""
    metric, against = figure["metric"], figure.get("against")
    axis, x_label, seeds = _axis(metric), content["x_label"], len(content["seeds"])
    name = "-".join([figure["kind"], metric["metric"], *([against["metric"]] if against else [])])
    over = f"means over {seeds} seed{'s' * (seeds != 1)}"
    if figure["kind"] == "spread":
        counts = [len(v) for v in values_by_condition(clients, axis.metric).values()]
        caption = _spread_caption(metric["label"], clients, counts, seeds)
        return Captioned(name, caption, spread(clients, axis, x_label))
    if against:
        lower = (metric["better"] != "higher", against["better"] != "higher")
        caption = f"{_upper(metric['label'])} against {against['label']}: {over}. The line joins the Pareto front."
        return Captioned(name, caption, trade(content["table"], (axis, _axis(against)), lower))
    bars = f"; bars: {interval_name(seeds)}" if seeds > 1 else ""
    caption = f"{_upper(metric['label'])} by {x_label}: {over}{bars}."
    return Captioned(name, caption, line(content["table"], axis, x_label))


def _spread_caption(label: str, clients: Sequence[Mapping[str, Any]], counts: list[int], seeds: int) -> str:
    algorithm = clients[0]["algorithm"] if clients else "no runs"
    low, high = min(counts, default=0), max(counts, default=0)
    number = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"{_upper(label)} over clients under {algorithm}: n = {number} per condition (clients of {seeds} "
        f"seed{'s' * (seeds != 1)}). Mark: median; box: quartiles; line: 5th to 95th percentile."
    )


def _axis(column: Mapping[str, Any]) -> Axis:
    unit = f" ({column['unit']})" if column["unit"] else ""
    return Axis(column["metric"], f"{column['label']}{unit}")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
