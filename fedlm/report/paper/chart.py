"""What figures over conditions share: the value axis, points with intervals, and levels to compare with."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fedlm.report.paper.canvas import ink, paper
from fedlm.report.paper.looks import Look, Looks
from fedlm.report.paper.points import Point, Reference

_CUT = 1.5  # spans of means and seeds beyond which an interval is cut: two seeds have intervals that hide the rest
_MARKER = 5.0  # points; the size of a mark
_NO_SERIES = Look("#555555", "d", "-")  # of a contrast that belongs to no series


@dataclass(frozen=True)
class Chart:
    """A metric over the conditions of a study.

    Attributes:
      points, looks: what is drawn, and how.
      title: of the value axis.
      x_label: what the conditions are.
      compares: the points are differences, so 0 is marked.
      margin: the smallest difference that matters; None for none.
      reference: a level to compare with.
    """

    points: Sequence[Point]
    looks: Looks
    title: str
    x_label: str
    compares: bool = False
    margin: float | None = None
    reference: Reference | None = None

    def look(self, point: Point) -> Look:
        """Returns the look of a point's series."""
        return self.looks.of.get(self.looks.series(point.condition, point.algorithm), _NO_SERIES)

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the value axis: all means, seeds and levels, and intervals as far as they leave the rest readable."""
        core = [v for p in self.points for v in (p.mean, *p.seeds.values())]
        core += [v for p in self.points if p.inner is not None for v in (p.low, p.high)]
        core += list(self.reference.at.values()) if self.reference else []
        core += [0.0] if self.compares else []
        low, high = min(core), max(core)
        span = (high - low) or abs(high) or 1.0
        ends = [v for p in self.points for v in (p.low, p.high) if math.isfinite(v)]
        ends += [-self.margin, self.margin] if self.margin is not None and self.compares else []
        low = max(min([low, *ends]), low - _CUT * span)
        high = min(max([high, *ends]), high + _CUT * span)
        return low - 0.05 * (high - low or span), high + 0.05 * (high - low or span)

    @property
    def is_cut(self) -> bool:
        """Whether an interval goes beyond the axis; an arrow then shows it."""
        low, high = self.limits
        return any(math.isfinite(p.low) and (p.low < low or p.high > high) for p in self.points)


def mark(axes: Any, chart: Chart, point: Point, place: float, *, across: bool, transform: Any = None) -> None:
    """Draws a point with its interval and its seeds.

    Args:
      axes: of the figure.
      chart, point: what is drawn.
      place: on the axis of conditions.
      across: values go from left to right.
      transform: of the points; the data's by default.
    """
    look, more = chart.look(point), {} if transform is None else {"transform": transform}

    def plot(values: Iterable[float], **style: Any) -> None:
        known = list(values)
        places = [place] * len(known)
        axes.plot(*((known, places) if across else (places, known)), **style, **more)

    tick = "|" if across else "_"
    plot(point.seeds.values(), marker=tick, markersize=5, linestyle="", color=ink(), alpha=0.6, gid="seeds", zorder=3.5)
    low, high = (min(max(v, chart.limits[0]), chart.limits[1]) for v in (point.low, point.high))
    if math.isfinite(point.low):
        plot((low, high), color=look.colour, linewidth=2.0 if point.primary else 1.0, gid="interval", zorder=3)
        arrows = ("<", ">") if across else ("v", "^")
        for end, shown, arrow in ((point.low, low, arrows[0]), (point.high, high, arrows[1])):
            if end != shown:
                plot((shown,), marker=arrow, markersize=4, linestyle="", color=look.colour, gid="cut", zorder=3)
    if point.inner is not None:
        plot(
            point.inner, color=look.colour, linewidth=4.5, alpha=0.45, solid_capstyle="butt", gid="quartiles", zorder=3
        )
    plot(
        (point.mean,), **style_of(look, filled=point.primary or not chart.compares), linestyle="", gid="mean", zorder=4
    )


def style_of(look: Look, *, filled: bool = True) -> dict[str, Any]:
    """Returns the marker of a series; one that is filled has an edge in ink, so that light colours are seen on white."""
    return {
        "marker": look.marker,
        "markersize": _MARKER,
        "color": look.colour,
        "markerfacecolor": look.colour if filled else paper(),
        "markeredgecolor": ink() if filled else look.colour,
        "markeredgewidth": 0.5 if filled else 1.1,
    }


def handle(name: str, look: Look, *, line: bool = False) -> Any:
    """Returns the entry of a series in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=name, linestyle=look.line if line else "", linewidth=1.2, **style_of(look))


def reference_handle(reference: Reference) -> Any:
    """Returns the entry of a reference level in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=reference.short, linestyle=(0, (4, 2)), linewidth=1.0, color=ink(), alpha=0.7)


def ground(axes: Any, chart: Chart, *, across: bool) -> None:
    """Draws the value axis' limits, the line of no difference, and the margin."""
    (axes.set_xlim if across else axes.set_ylim)(*chart.limits)
    if not chart.compares:
        return
    line, span = (axes.axvline, axes.axvspan) if across else (axes.axhline, axes.axhspan)
    line(0, color=ink(), linewidth=0.8, gid="zero", zorder=1)
    if chart.margin is not None:
        span(-chart.margin, chart.margin, color=ink(), alpha=0.08, linewidth=0, gid="margin", zorder=0)


def level(axes: Any, value: float, *, across: bool) -> None:
    """Draws a reference level over all conditions."""
    line = axes.axvline if across else axes.axhline
    line(value, color=ink(), linestyle=(0, (4, 2)), linewidth=1.0, alpha=0.7, gid="reference", zorder=1)
