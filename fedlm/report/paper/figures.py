"""Which figures a study has: those that it declares, and what a reader of its answer needs besides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedlm.report.paper import captions
from fedlm.report.paper.canvas import Draw
from fedlm.report.paper.chart import Chart
from fedlm.report.paper.curves import FEWEST_SEEDS, Panels, curves_of, draw_curves, panels_of, with_reference
from fedlm.report.paper.distribution import distributions
from fedlm.report.paper.lines import draw_lines
from fedlm.report.paper.looks import Looks, looks
from fedlm.report.paper.points import differences, levels, numbered, origins, reference
from fedlm.report.paper.rows import draw_rows
from fedlm.report.paper.trade import Trade, draw_trade

Rows = Sequence[Mapping[str, Any]]
BY_ROUND = {
    "bits_per_char": {"metric": "bits_per_char", "label": "held-out loss", "unit": "bits per character"},
    "train_loss": {"metric": "train_loss", "label": "training loss of the cohort", "unit": "nats per token"},
}


@dataclass(frozen=True)
class Made:
    """A figure: its file name without an ending, its caption, and what draws it."""

    name: str
    caption: str
    draw: Draw


def figures_of(content: Mapping[str, Any], clients: Rows, rounds: Rows) -> list[Made]:
    """Returns the figures of a study, those without anything to draw left out.

    A `line` figure is two: the levels, and the paired differences from the control. Primary contrasts have a figure of
    differences and a study has learning curves, declared or not.

    Args:
      content: of study.json.
      clients: a row for each client and metric.
      rounds: a row for each run, round and metric.
    """
    made = {figure.name: figure for figure in _all(content, clients, rounds)}
    return list(made.values())


def _all(content: Mapping[str, Any], clients: Rows, rounds: Rows) -> Iterator[Made]:
    own = looks(content["design"])
    for contrast in content["contrasts"]:
        yield from _differences(content, _of(content, contrast), own)
    declared = False
    for figure in content["figures"]:
        kind, column = figure["kind"], figure["metric"]
        if kind in ("line", "difference"):
            yield from _differences(content, column, own)
        if kind == "line":
            yield from _levels(content, column, own)
        elif kind == "spread":
            yield from _distributions(content, column, own, clients)
        elif kind == "trade":
            yield from _trade(content, column, figure["against"], own)
        elif kind == "curve":
            made = list(_curves(content, column, own, rounds))
            declared = declared or bool(made)
            yield from made
    if not declared:
        yield from _curves_by_default(content, own, rounds)


def _of(content: Mapping[str, Any], contrast: Mapping[str, Any]) -> Mapping[str, Any]:
    """The column of a contrast's metric."""
    known = [*content["columns"], *content["further"], *(f["metric"] for f in content["figures"])]
    same = [column for column in known if column["metric"] == contrast["metric"]]
    return {
        **next(iter(same), {"better": "neither"}),
        **{k: contrast[k] for k in ("metric", "label", "unit", "margin")},
    }


def _differences(content: Mapping[str, Any], column: Mapping[str, Any], own: Looks) -> Iterator[Made]:
    found = differences(content, column["metric"])
    if not found:
        return
    title = f"difference in {captions.title_of(column, better=True)}"
    placed = numbered([*found, *origins(content, found)])
    points = [*origins(content, found), *found] if placed else found
    chart = Chart(points, own, title, content["x_label"], True, column.get("margin"))
    caption = captions.of_differences(content, column, found, cut=chart.is_cut)
    yield Made(f"difference-{column['metric']}", caption, draw_lines(chart) if placed else draw_rows(chart))


def _levels(content: Mapping[str, Any], column: Mapping[str, Any], own: Looks) -> Iterator[Made]:
    found, level = levels(content, column["metric"]), reference(content, column)
    if found:
        chart = Chart(found, own, captions.title_of(column, better=True), content["x_label"], reference=level)
        draw = draw_lines(chart) if numbered(found) else draw_rows(chart)
        yield Made(f"level-{column['metric']}", captions.of_levels(content, column, found, level), draw)


def _distributions(content: Mapping[str, Any], column: Mapping[str, Any], own: Looks, clients: Rows) -> Iterator[Made]:
    found = distributions(clients, column["metric"])
    if found:
        chart = Chart(found, own, captions.title_of(column, better=True), content["x_label"])
        yield Made(f"clients-{column['metric']}", captions.of_distributions(content, column, found), draw_rows(chart))


def _trade(
    content: Mapping[str, Any], column: Mapping[str, Any], against: Mapping[str, Any], own: Looks
) -> Iterator[Made]:
    both = (column, against)
    lower = (column["better"] != "higher", against["better"] != "higher")
    titles = tuple(captions.title_of(each, better=True) for each in both)
    trade = Trade(content["table"], (column["metric"], against["metric"]), (titles[0], titles[1]), lower, own)
    if trade.panels:
        counts = [row["cells"][m]["count"] for row in content["table"] for m in trade.metrics if m in row["cells"]]
        caption = captions.of_trade(content, column, against, counts)
        yield Made(f"trade-{column['metric']}-{against['metric']}", caption, draw_trade(trade))


def _curves(content: Mapping[str, Any], column: Mapping[str, Any], own: Looks, rounds: Rows) -> Iterator[Made]:
    found = curves_of(rounds, column["metric"])
    if not found:
        return
    panels = panels_of(found, own)
    level = with_reference(reference(content, column), list(panels))
    seeds = [len(curve.seeds) for curve in found.values()]
    shown = Panels(panels, own, captions.title_of(column, better=True), level)
    band = captions.band_of(seeds, banded=min(seeds) >= FEWEST_SEEDS, crowded=shown.crowded)
    caption = captions.of_curves(content, column, seeds, level, band)
    yield Made(f"curve-{column['metric']}", caption, draw_curves(shown))


def _curves_by_default(content: Mapping[str, Any], own: Looks, rounds: Rows) -> Iterator[Made]:
    """Held-out loss over rounds, or the training loss where runs evaluate fewer than two rounds."""
    known = {column["metric"]: column for column in (*content["columns"], *content["further"])}
    for name, column in BY_ROUND.items():
        made = list(_curves(content, {"better": "lower", **column, **known.get(name, {})}, own, rounds))
        if made:
            yield from made
            return
