"""The figures of a study: a metric over the conditions, its spread over clients, one metric against another.

An algorithm has the same colour and marker in all figures of a study. Colours are Okabe and Ito's, which readers with any
colour vision tell apart; markers and line styles differ too, for print in grey.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlm.report.plots import INK, Draw, wrapped

Rows = Sequence[Mapping[str, Any]]
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#B8860B")
_MARKERS = "osD^vPX*>"  # one more than colours: no two of the first 72 algorithms look the same
_LINES = ("-", "--", "-.", ":")
_CATEGORY_WIDTH = 20  # characters of a line
_LEGEND_WIDTH = 52  # characters that fit into the figure's width
_LEGEND_LINE, _CATEGORY_LINE = 0.21, 0.26  # inches
_PLOT, _AXES = 3.2, 2.1  # inches: height of a figure without its legend, and of its axes
_ACROSS = 2.6  # inches: width of the axes beside the names of categories
_SPREAD = 0.5  # of a category's place that its algorithms take


@dataclass(frozen=True)
class Drawn:
    """What draws a figure, and the height in inches that it needs."""

    draw: Draw
    height: float


@dataclass(frozen=True)
class Axis:
    """A metric as an axis: its key and its title, which is label and unit."""

    metric: str
    title: str


def styles(rows: Rows) -> dict[str, dict[str, Any]]:
    """Returns colour, marker and line style of each algorithm of a study."""
    return {
        algorithm: {
            "color": _COLOURS[place % len(_COLOURS)],
            "marker": _MARKERS[place % len(_MARKERS)],
            "linestyle": _LINES[place % len(_LINES)],
        }
        for place, algorithm in enumerate(dict.fromkeys(r["algorithm"] for r in rows))
    }


def line(rows: Rows, axis: Axis, x_label: str) -> Drawn:
    """Draws a metric over the conditions: lines where the conditions are numbers, points where they are categories."""
    looks = styles(rows)
    shown = [r for r in rows if axis.metric in r["cells"]]
    if any(r["x"] is not None for r in shown):
        return _over_numbers(shown, axis, x_label, looks)
    return _over_categories(shown, axis, x_label, looks)


def _over_numbers(rows: Rows, axis: Axis, x_label: str, looks: Mapping[str, Mapping[str, Any]]) -> Drawn:
    """A line for each algorithm; a condition without a number becomes a horizontal level."""
    names = [_level(r) if r["x"] is None else r["algorithm"] for r in rows]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for algorithm, look in looks.items():
            own = [r for r in rows if r["algorithm"] == algorithm]
            points = sorted((r for r in own if r["x"] is not None), key=lambda r: r["x"])
            if points:
                cells = [r["cells"][axis.metric] for r in points]
                at, means = [r["x"] for r in points], [c["mean"] for c in cells]
                axes.errorbar(at, means, yerr=_errors(cells), capsize=3, label=algorithm, **look)
            for r in (r for r in own if r["x"] is None):
                axes.axhline(r["cells"][axis.metric]["mean"], label=_level(r), color=look["color"], linestyle=":")
        axes.set(xlabel=x_label, ylabel=wrapped(axis.title, _AXES))
        _legend(figure, names)

    return Drawn(draw, _PLOT + _legend_height(names))


def _level(row: Mapping[str, Any]) -> str:
    """The name of a horizontal level; once where condition and algorithm have the same."""
    return ", ".join(dict.fromkeys((row["condition"], row["algorithm"])))


def _over_categories(rows: Rows, axis: Axis, x_label: str, looks: Mapping[str, Mapping[str, Any]]) -> Drawn:
    """A row for each condition, from top to bottom, and a point for each algorithm: categories have no line between them."""
    conditions = list(dict.fromkeys(r["condition"] for r in rows))
    algorithms = [a for a in looks if any(r["algorithm"] == a for r in rows)]
    single = len(algorithms) == 1

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for place, algorithm in enumerate(algorithms):
            own = [r for r in rows if r["algorithm"] == algorithm]
            shift = 0.0 if single else _SPREAD * (place / (len(algorithms) - 1) - 0.5)
            at = [conditions.index(r["condition"]) + shift for r in own]
            cells = [r["cells"][axis.metric] for r in own]
            look = {**looks[algorithm], "linestyle": ""}
            axes.errorbar([c["mean"] for c in cells], at, xerr=_errors(cells), capsize=3, label=algorithm, **look)
        _categories(axes, conditions)
        axes.set(xlabel=wrapped(axis.title, _ACROSS), ylabel=wrapped(x_label, rows_height))
        _legend(figure, [] if single else algorithms)

    rows_height = _CATEGORY_LINE * sum(max(len(_lines(c)), 0.7 * len(algorithms), 1.4) for c in conditions)
    return Drawn(draw, max(1.2 + rows_height, 2.2) + (0 if single else _legend_height(algorithms)))


def spread(clients: Rows, axis: Axis, x_label: str) -> Drawn:
    """Draws a metric's distribution over clients, all seeds together: median, quartiles, and the 5th to 95th percentile.

    Args:
      clients: a row per client with condition, algorithm, metric and value; the first algorithm is drawn.
      axis: the metric.
      x_label: what the conditions are.
    """
    values = values_by_condition(clients, axis.metric)
    names = list(values)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for place, found in enumerate(values.values()):
            low, first, median, third, high = np.percentile(found, [5, 25, 50, 75, 95])
            axes.hlines(place, low, high, color=_COLOURS[0], linewidth=1.5)
            axes.hlines(place, first, third, color=_COLOURS[0], linewidth=8, alpha=0.6)
            axes.plot(median, place, marker="|", markersize=13, markeredgewidth=3, color=_COLOURS[1])
        _categories(axes, names)
        axes.set(xlabel=wrapped(axis.title, _ACROSS), ylabel=wrapped(x_label, rows_height))

    rows_height = _CATEGORY_LINE * sum(max(len(_lines(n)), 1.4) for n in names)
    return Drawn(draw, max(2.2, 1.2 + rows_height))


def values_by_condition(clients: Rows, metric: str) -> dict[str, list[float]]:
    """Returns a metric of the clients by condition, for the first algorithm; values that are not finite are left out."""
    first = clients[0]["algorithm"] if clients else ""
    values: dict[str, list[float]] = {}
    for row in clients:
        if row["metric"] == metric and row["algorithm"] == first and math.isfinite(row["value"]):
            values.setdefault(row["condition"], []).append(row["value"])
    return values


def trade(rows: Rows, axes_of: tuple[Axis, Axis], lower: tuple[bool, bool]) -> Drawn:
    """Draws one metric against another: a panel for each condition, a point for each algorithm, and the Pareto front.

    Args:
      rows: of the table.
      axes_of: the horizontal and the vertical metric.
      lower: whether lower values are better, for each.
    """
    looks = styles(rows)
    shown = [r for r in rows if all(a.metric in r["cells"] for a in axes_of)]
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in shown:
        panels.setdefault(row["condition"], []).append(row)
    algorithms = list(dict.fromkeys(r["algorithm"] for r in shown))

    def draw(figure: Any) -> None:
        all_axes = figure.subplots(max(len(panels), 1), 1, squeeze=False)[:, 0]
        for axes, (name, own) in zip(all_axes, panels.items(), strict=False):
            _panel(axes, own, axes_of, lower, looks)
            axes.set_title(name if len(panels) > 1 else "", fontsize=11, loc="left")
            axes.set(ylabel=wrapped(axes_of[1].title, 1.8), xlabel=wrapped(axes_of[0].title, _ACROSS))
        _legend(figure, algorithms)

    return Drawn(draw, 2.9 * max(len(panels), 1) + _legend_height(algorithms))


def _panel(
    axes: Any, rows: Rows, axes_of: tuple[Axis, Axis], lower: tuple[bool, bool], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    points = [
        (float(r["cells"][axes_of[0].metric]["mean"]), float(r["cells"][axes_of[1].metric]["mean"])) for r in rows
    ]
    best = sorted(points[i] for i in front(points, lower))
    axes.plot([x for x, _ in best], [y for _, y in best], color=INK, linewidth=1, alpha=0.5)
    for row, (x, y) in zip(rows, points, strict=True):
        axes.plot(x, y, label=row["algorithm"], **{**looks[row["algorithm"]], "linestyle": ""})


def front(points: Sequence[tuple[float, float]], lower: tuple[bool, bool]) -> list[int]:
    """Returns the places of the points that no other point beats on both axes.

    >>> front([(1.0, 3.0), (2.0, 2.0), (3.0, 3.0)], (True, True))
    [0, 1]
    """
    signed = [tuple(v if small else -v for v, small in zip(p, lower, strict=True)) for p in points]
    return [
        i
        for i, p in enumerate(signed)
        if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in signed)
    ]


def _errors(cells: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Lengths of error bars, (2, points); 0 where there is no interval."""
    low = [c["mean"] - c["low"] if c["low"] is not None else 0.0 for c in cells]
    high = [c["high"] - c["mean"] if c["high"] is not None else 0.0 for c in cells]
    return [[max(v, 0.0) for v in low], [max(v, 0.0) for v in high]]


def _categories(axes: Any, names: Sequence[str]) -> None:
    """Names the rows of the vertical axis, the first one at the top."""
    axes.set_yticks(range(len(names)), ["\n".join(_lines(n)) for n in names])
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)


def _lines(name: str) -> list[str]:
    """A category's name in lines; a number and its per cent sign stay together."""
    return textwrap.wrap(name.replace(" %", "\u00a0%"), _CATEGORY_WIDTH) or [""]


def _columns(names: Sequence[str]) -> int:
    """How many columns of the legend fit; a marker takes the width of six characters."""
    return max(1, _LEGEND_WIDTH // (max(map(len, names), default=0) + 6))


def _legend(figure: Any, names: Sequence[str]) -> None:
    """Puts the legend below the axes, each name once."""
    if not names:
        return
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    ordered = [n for n in dict.fromkeys(names) if n in found]
    handles = [found[n] for n in ordered]
    figure.legend(handles, ordered, loc="outside lower center", ncols=_columns(ordered), frameon=False, fontsize=10)


def _legend_height(names: Sequence[str]) -> float:
    shown = list(dict.fromkeys(names))
    return _LEGEND_LINE * math.ceil(len(shown) / _columns(shown))
