"""A figure over categories: a row for each, points with intervals, and no line between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedlm.report.paper.canvas import LINE, WIDE, Draw, ink, legend, lines_of, ticks, wrapped
from fedlm.report.paper.chart import Chart, ground, handle, level, mark, reference_handle
from fedlm.report.paper.looks import MOST_IN_A_LEGEND
from fedlm.report.paper.points import Point

_EACH = 0.12  # inches between the points of one row
_GAP = 0.08  # inches between rows
_NAMES = 0.36  # of the width: the longest line of a row's name


@dataclass(frozen=True)
class Row:
    """A row: its name and its points."""

    name: str
    points: tuple[Point, ...]


def rows_of(chart: Chart) -> dict[str, list[Row]]:
    """Returns the rows by panel.

    A row is a condition and holds its algorithms. With one condition, or more algorithms than a legend takes, a row is an
    algorithm, so that its name stands beside it, and each condition has a panel.
    """
    conditions = list(dict.fromkeys(p.condition for p in chart.points))
    algorithms = list(dict.fromkeys(p.algorithm for p in chart.points))
    if len(algorithms) > 1 and (len(conditions) == 1 or len(algorithms) > MOST_IN_A_LEGEND):
        titles = {c: c if chart.looks.several else "" for c in conditions}
        return {titles[c]: [Row(p.algorithm, (p,)) for p in chart.points if p.condition == c] for c in conditions}
    return {"": [Row(c, tuple(p for p in chart.points if p.condition == c)) for c in conditions]}


def draw_rows(chart: Chart) -> Draw:
    """Returns what draws a chart over categories."""
    panels = rows_of(chart)
    series = list(dict.fromkeys(p.algorithm for own in panels.values() for row in own for p in row.points))
    dodged = any(len(row.points) > 1 for own in panels.values() for row in own)

    def draw(figure: Any, width: float) -> float:
        beside = min(len(panels), 3) if width == WIDE else 1
        down = -(-len(panels) // beside)
        grid = figure.subplots(down, beside, squeeze=False, sharex=True, sharey=_same_rows(panels))
        names = _NAMES * width if beside == 1 else 0.2 * width
        height = max(_height(own, names) for own in panels.values())
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes, (title, own) in zip(grid.flat, panels.items(), strict=False):
            _panel(axes, chart, own, names, height)
            axes.set_title(wrapped(title, 0.8 * width / beside))
        ends = grid[-1, :] if len(panels) == down * beside else grid.flat[: len(panels)]
        for axes in ends:
            axes.tick_params(labelbottom=True)
            ticks(axes.xaxis, (width - names) / beside)
            axes.set_xlabel(wrapped(chart.title, (width - names) / beside - 0.1))
        shown = [handle(s, chart.looks.of[s]) for s in series if s in chart.looks.of] if dodged else []
        shown += [reference_handle(chart.reference)] if chart.reference else []
        legend(figure, shown, width)
        return height

    return draw


def _same_rows(panels: dict[str, list[Row]]) -> bool:
    return len({tuple(row.name for row in own) for own in panels.values()}) == 1


def _height(rows: Sequence[Row], names: float) -> float:
    """Inches of the axes: every row is as high as the highest."""
    lines = max(len(lines_of(row.name, names)) for row in rows)
    points = max(len(row.points) for row in rows)
    return max(0.5, len(rows) * (max(lines * LINE, points * _EACH) + _GAP))


def _panel(axes: Any, chart: Chart, rows: Sequence[Row], names: float, height: float) -> None:
    each = _EACH * len(rows) / height  # the distance of a row's points, in rows
    for place, row in enumerate(rows):
        for number, point in enumerate(row.points):
            mark(axes, chart, point, place + each * (number - (len(row.points) - 1) / 2), across=True)
    axes.set_yticks(range(len(rows)), [wrapped(row.name, names) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    ground(axes, chart, across=True)
    _references(axes, chart, rows)


def _references(axes: Any, chart: Chart, rows: Sequence[Row]) -> None:
    """Draws the reference level: one line, or a line across the row of each condition that has a level of its own."""
    if chart.reference is None:
        return
    if chart.reference.everywhere is not None:
        level(axes, chart.reference.everywhere, across=True)
        return
    for place, row in enumerate(rows):
        value = chart.reference.at.get(row.points[0].condition)
        if value is not None:
            ends = [place - 0.45, place + 0.45]
            axes.plot(
                [value] * 2,
                ends,
                color=ink(),
                linestyle=(0, (4, 2)),
                linewidth=1.0,
                alpha=0.7,
                gid="reference",
                zorder=1,
            )
