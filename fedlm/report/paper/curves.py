"""Learning curves: the mean over seeds at each round, with a band."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedlm.measure.statistics import t_interval
from fedlm.report.paper.beside import Named, write_beside
from fedlm.report.paper.canvas import LINE, WIDE, Draw, legend, wrapped
from fedlm.report.paper.chart import handle, level, reference_handle, style_of
from fedlm.report.paper.looks import MOST_IN_A_LEGEND, Looks
from fedlm.report.paper.points import Case, Reference

FEWEST_SEEDS = 3  # of a band: the t-interval of two seeds is ten times as wide as they are apart
_HEIGHT, _LOW = 1.7, 1.25  # inches of the axes of one panel, and of several
_MARKS = 5  # of a line
_ROOM = 1.15  # inches for names beside lines


@dataclass(frozen=True)
class Curve:
    """A metric of one case over rounds.

    Attributes:
      rounds, mean, low, high: the line and its band over seeds; the ends are NaN where there is no band.
      seeds: the line of each seed, as rounds and values.
    """

    rounds: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]


def curves_of(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[Case, Curve]:
    """Returns the learning curves of a metric by case; those with fewer than two rounds are left out.

    Args:
      rows: with condition, algorithm, seed, round, metric and value. Round 0, the untrained model, is left out: its loss
        would hide the differences of trained ones.
      metric: which one.
    """
    known: dict[Case, dict[int, dict[int, float]]] = {}
    for r in rows:
        if r["metric"] == metric and r["round"] > 0 and math.isfinite(r["value"]):
            known.setdefault((r["condition"], r["algorithm"]), {}).setdefault(r["seed"], {})[r["round"]] = r["value"]
    curves = {case: _curve(by_seed) for case, by_seed in known.items()}
    return {case: curve for case, curve in curves.items() if len(curve.rounds) > 1}


def _curve(by_seed: Mapping[int, Mapping[int, float]]) -> Curve:
    rounds = tuple(sorted({r for own in by_seed.values() for r in own}))
    found = [t_interval([own[r] for own in by_seed.values() if r in own]) for r in rounds]
    banded = [each.count >= FEWEST_SEEDS for each in found]
    seeds = tuple((tuple(sorted(own)), tuple(own[r] for r in sorted(own))) for _, own in sorted(by_seed.items()))
    return Curve(
        rounds,
        tuple(each.mean for each in found),
        tuple(each.low if has else math.nan for each, has in zip(found, banded, strict=True)),
        tuple(each.high if has else math.nan for each, has in zip(found, banded, strict=True)),
        seeds,
    )


@dataclass(frozen=True)
class Panels:
    """Learning curves by panel and series, and how they are drawn.

    Attributes:
      curves: by panel title and series.
      looks, title, reference: of the study, the value axis and the metric.
    """

    curves: Mapping[str, Mapping[str, Curve]]
    looks: Looks
    title: str
    reference: Reference | None

    @property
    def crowded(self) -> bool:
        """Whether bands would hide each other."""
        return max(map(len, self.curves.values())) > MOST_IN_A_LEGEND

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the value axis: means, seeds and levels. A band may go beyond."""
        own = [curve for panel in self.curves.values() for curve in panel.values()]
        values = [v for curve in own for line in (curve.mean, *(y for _, y in curve.seeds)) for v in line]
        values += list(self.reference.at.values()) if self.reference else []
        rim = 0.05 * ((max(values) - min(values)) or abs(max(values)) or 1.0)
        return min(values) - rim, max(values) + rim


def panels_of(curves: Mapping[Case, Curve], looks: Looks) -> dict[str, dict[str, Curve]]:
    """Returns the curves by panel: a panel for each condition, or one for all where the conditions are the series."""
    single = not looks.several or (looks.by_condition and len(curves) <= MOST_IN_A_LEGEND)
    found: dict[str, dict[str, Curve]] = {}
    for (condition, algorithm), curve in curves.items():
        found.setdefault("" if single else condition, {})[looks.series(condition, algorithm)] = curve
    return found


def draw_curves(panels: Panels) -> Draw:
    """Returns what draws learning curves: panels with the same axes."""
    series = [name for name in panels.looks.of if any(name in own for own in panels.curves.values())]
    many = len(series) > MOST_IN_A_LEGEND and not panels.looks.by_condition

    def draw(figure: Any, width: float) -> float:
        most = 1 if many and width != WIDE else 2 if many or width != WIDE else 4
        beside = min(most, len(panels.curves))
        grid = figure.subplots(-(-len(panels.curves) // beside), beside, squeeze=False, sharex=True, sharey=True)
        height = max(_LOW if len(panels.curves) > 1 else _HEIGHT, 1.4 * LINE * len(series) if many else 0)
        for axes in grid.flat[len(panels.curves) :]:
            axes.remove()
        for place, (axes, (title, own)) in enumerate(zip(grid.flat, panels.curves.items(), strict=False)):
            _panel(axes, panels, title, own)
            axes.set_title(wrapped(title, 0.75 * width / beside))
            axes.tick_params(labelbottom=True)
            if many:
                ends = [Named(name, curve.rounds[-1], curve.mean[-1]) for name, curve in own.items()]
                write_beside(axes, ends, panels.limits, height, _ROOM)
            if place % beside == 0:
                axes.set_ylabel(wrapped(panels.title, height))
            if place + beside >= len(panels.curves):
                axes.set_xlabel("round")
        named = panels.looks.by_condition and "" not in panels.curves  # by the titles of their panels
        single = len(series) == 1 or many or named
        shown = [] if single else [handle(name, panels.looks.of[name], line=True) for name in series]
        legend(figure, shown + ([reference_handle(panels.reference)] if panels.reference else []), width)
        return height

    return draw


def _panel(axes: Any, panels: Panels, title: str, curves: Mapping[str, Curve]) -> None:
    for place, (name, curve) in enumerate(curves.items()):
        look = panels.looks.of[name]
        every = max(1, len(curve.rounds) // _MARKS)
        style = {**style_of(look), "markersize": 3.5, "markevery": (place % every, every)}
        axes.plot(curve.rounds, curve.mean, linestyle=look.line, linewidth=1.2, gid="mean", zorder=4, **style)
        if panels.crowded:
            continue
        if math.isfinite(curve.low[-1]):
            axes.fill_between(
                curve.rounds, curve.low, curve.high, color=look.colour, alpha=0.18, linewidth=0, gid="band"
            )
            continue
        for rounds, values in curve.seeds if len(curve.seeds) > 1 else ():
            axes.plot(rounds, values, color=look.colour, linewidth=0.5, alpha=0.5, gid="seed", zorder=3)
    axes.set_ylim(*panels.limits)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
    if panels.reference is not None:
        at = panels.reference.everywhere if not title else panels.reference.at.get(title)
        if at is not None:
            level(axes, at, across=False)


def with_reference(reference: Reference | None, titles: Sequence[str]) -> Reference | None:
    """Returns a reference that the panels can show: one panel of several conditions has no place for several levels."""
    if reference is None or (list(titles) == [""] and reference.everywhere is None):
        return None
    return reference
