"""A figure over conditions that are numbers: a line for each series; what has no number stands beside it in its own axes."""

from collections.abc import Sequence
from typing import Any

from fedlm.report.paper.beside import Named, write_beside
from fedlm.report.paper.canvas import LINE, Draw, ink, legend, ticks, width_of, wrapped
from fedlm.report.paper.chart import Chart, ground, handle, level, mark, reference_handle
from fedlm.report.paper.looks import MOST_IN_A_LEGEND
from fedlm.report.paper.points import Point

_HEIGHT = 1.7  # inches of the axes
_EACH = 3.5  # points between the marks of one place
_SIDE = 0.4  # inches at least for each condition without a number
_ROOM = 1.15  # inches for names beside lines


def draw_lines(chart: Chart) -> Draw:
    """Returns what draws a chart over numbers."""
    placed = [p for p in chart.points if p.x is not None]
    others = [p for p in chart.points if p.x is None]
    series = list(dict.fromkeys(p.algorithm for p in chart.points))
    joined = list(dict.fromkeys(p.algorithm for p in placed))
    many = len(series) > MOST_IN_A_LEGEND
    height = max(_HEIGHT, 1.4 * LINE * len(joined)) if many else _HEIGHT

    def draw(figure: Any, width: float) -> float:
        side = _side(others, width)
        axes, beside = _axes(figure, width, side)
        for number, algorithm in enumerate(joined):
            own = sorted((p for p in placed if p.algorithm == algorithm), key=lambda p: p.x or 0.0)
            _line(axes, chart, own, number - (len(joined) - 1) / 2)
        ground(axes, chart, across=False)
        inches = width - side - 0.6 - _ROOM * many
        axes.set_xlim(*_ends(placed, len(joined) * _EACH / 72 / inches))
        ticks(axes.xaxis, inches)
        axes.set_xlabel(wrapped(chart.x_label, width - side - 0.7))
        axes.set_ylabel(wrapped(chart.title, height))
        _references(axes, chart, placed)
        if beside is not None:
            _categories(beside, chart, others, side)
        if many:
            ends = [_end(placed, algorithm) for algorithm in joined]
            write_beside(axes, ends, chart.limits, height, _ROOM)
        shown = [] if many or len(series) < 2 else [handle(s, _look(chart, s), line=s in joined) for s in series]
        shown += [reference_handle(chart.reference)] if chart.reference else []
        legend(figure, shown, width)
        return height

    return draw


def _ends(points: Sequence[Point], marks: float) -> tuple[float, float]:
    """The ends of the horizontal axis, with room for the marks of one place: a share of the axis."""
    places = [p.x for p in points if p.x is not None]
    rim = (0.06 + marks / 2) * (max(places) - min(places))
    return min(places) - rim, max(places) + rim


def _side(points: Sequence[Point], width: float) -> float:
    """Inches for the conditions without a number: a third of the figure at most, less where their longest words fit."""
    names = {p.condition for p in points}
    longest = max((width_of(word) for name in names for word in name.split()), default=0.0)
    return min(len(names) * max(_SIDE, longest + 0.1), 0.36 * width)


def _axes(figure: Any, width: float, side: float) -> tuple[Any, Any]:
    """The axes of numbers, and those of conditions without one; None where there are none."""
    if not side:
        return figure.subplots(), None
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=[width - 0.6 - side, side])
    return axes, beside


def _look(chart: Chart, algorithm: str) -> Any:
    return chart.look(next(p for p in chart.points if p.algorithm == algorithm))


def _line(axes: Any, chart: Chart, points: Sequence[Point], shift: float) -> None:
    """A line through the means; marks of several series at one place stand side by side."""
    from matplotlib.transforms import ScaledTranslation

    moved = axes.transData + ScaledTranslation(shift * _EACH / 72, 0, axes.figure.dpi_scale_trans)
    look = chart.look(points[0])
    colour = ink() if chart.looks.by_condition else look.colour
    axes.plot(
        [p.x for p in points],
        [p.mean for p in points],
        color=colour,
        linestyle=look.line if not chart.looks.by_condition else "-",
        linewidth=1.1,
        gid="line",
        transform=moved,
        zorder=2,
    )
    for point in points:
        mark(axes, chart, point, point.x or 0.0, across=False, transform=moved)


def _categories(axes: Any, chart: Chart, points: Sequence[Point], side: float) -> None:
    """Points of the conditions without a number, side by side."""
    names = list(dict.fromkeys(p.condition for p in points))
    for point in points:
        own = [p for p in points if p.condition == point.condition]
        shift = 0.2 * (own.index(point) - (len(own) - 1) / 2)
        mark(axes, chart, point, names.index(point.condition) + shift, across=False)
    axes.set_xticks(range(len(names)), [wrapped(n, side / len(names)) for n in names])
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="both", length=0, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="x")
    ground(axes, chart, across=False)


def _references(axes: Any, chart: Chart, placed: Sequence[Point]) -> None:
    if chart.reference is None:
        return
    if chart.reference.everywhere is not None:
        for each in axes.figure.axes:
            level(each, chart.reference.everywhere, across=False)
        return
    at = sorted({(p.x, chart.reference.at[p.condition]) for p in placed if p.condition in chart.reference.at})
    style: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.0, "alpha": 0.7}
    axes.plot([x for x, _ in at], [y for _, y in at], color=ink(), gid="reference", zorder=1, **style)


def _end(points: Sequence[Point], algorithm: str) -> Named:
    last = max((p for p in points if p.algorithm == algorithm), key=lambda p: p.x or 0.0)
    return Named(algorithm, last.x or 0.0, last.mean)
