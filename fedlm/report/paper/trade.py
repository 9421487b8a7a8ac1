"""One metric against another: a panel for each condition, a point for each algorithm, and the Pareto front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedlm.report.paper.beside import Named, write_beside
from fedlm.report.paper.canvas import LINE, WIDE, Draw, ink, legend, ticks, wrapped
from fedlm.report.paper.chart import handle, style_of
from fedlm.report.paper.looks import MOST_IN_A_LEGEND, Looks

_HEIGHT = 1.7  # inches of the axes
_ROOM = 1.15  # inches for names beside points


@dataclass(frozen=True)
class Trade:
    """Two metrics of a study.

    Attributes:
      rows: of the table.
      metrics: the horizontal and the vertical one.
      titles: of the axes.
      lower: whether lower values are better, for each.
      looks: of the study.
    """

    rows: Sequence[Mapping[str, Any]]
    metrics: tuple[str, str]
    titles: tuple[str, str]
    lower: tuple[bool, bool]
    looks: Looks

    @property
    def panels(self) -> dict[str, dict[str, tuple[float, float]]]:
        """The two means by condition and algorithm; one panel where the conditions are the series."""
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for row in self.rows:
            means = [row["cells"].get(metric, {}).get("mean") for metric in self.metrics]
            if None not in means:
                panel = "" if self.looks.by_condition else row["condition"]
                name = self.looks.series(row["condition"], row["algorithm"])
                found.setdefault(panel, {})[name] = (float(means[0]), float(means[1]))
        return found


def draw_trade(trade: Trade) -> Draw:
    """Returns what draws two metrics against each other."""
    panels = trade.panels
    series = [name for name in trade.looks.of if any(name in own for own in panels.values())]
    many = len(series) > MOST_IN_A_LEGEND
    height = max(_HEIGHT, 1.4 * LINE * len(series)) if many else _HEIGHT

    def draw(figure: Any, width: float) -> float:
        beside = min(1 if width != WIDE else 2 if many else 3, len(panels))
        grid = figure.subplots(-(-len(panels) // beside), beside, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes, (title, points) in zip(grid.flat, panels.items(), strict=False):
            limits = _panel(axes, trade, points)
            axes.set_title(wrapped(title if trade.looks.several else "", 0.75 * width / beside))
            axes.set_xlabel(wrapped(trade.titles[0], width / beside - 0.9 - _ROOM * many))
            ticks(axes.xaxis, width / beside - 0.7 - _ROOM * many)
            axes.set_ylabel(wrapped(trade.titles[1], height))
            if many:
                write_beside(axes, [Named(n, *at) for n, at in points.items()], limits, height, _ROOM)
        legend(figure, [] if many else [handle(name, trade.looks.of[name]) for name in series], width)
        return height

    return draw


def _panel(axes: Any, trade: Trade, points: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Draws the points and their front; returns the ends of the vertical axis."""
    places = list(points.values())
    best = sorted(places[i] for i in front(places, trade.lower))
    axes.plot([x for x, _ in best], [y for _, y in best], color=ink(), linewidth=0.8, alpha=0.5, gid="front", zorder=2)
    for name, (x, y) in points.items():
        axes.plot(x, y, linestyle="", gid="mean", zorder=4, **style_of(trade.looks.of[name]))
    ends = []
    for values, setter in (([x for x, _ in places], axes.set_xlim), ([y for _, y in places], axes.set_ylim)):
        rim = 0.08 * ((max(values) - min(values)) or abs(max(values)) or 1.0)
        ends.append((min(values) - rim, max(values) + rim))
        setter(*ends[-1])
    return ends[1]


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
