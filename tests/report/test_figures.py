"""Plots of models that diverged, studies without rows, looks that stay the same; and folders of the version before."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest

from fedlm.measure.registry import known_metrics
from fedlm.report.figures import Axis, Drawn, line, spread, styles, trade
from fedlm.report.legacy import current_format
from fedlm.report.plots import STYLE, WIDTH, curve, histogram, render
from fedlm.report.study import interval_name, write_study_report

ODD = [math.nan, math.inf, -math.inf]
AXIS = Axis("accuracy", "held-out accuracy (fraction of tokens)")
OLD = Path(__file__).with_name("study_format_1.json")


def row(condition: str, algorithm: str, value: float, x: float | None = None) -> dict[str, Any]:
    cell = {"mean": value, "low": value - 1, "high": value + 1, "count": 3}
    return {"condition": condition, "algorithm": algorithm, "x": x, "cells": {"accuracy": cell, "loss": cell}}


def test_plots_show_what_is_finite() -> None:
    assert histogram("h", [1.0, *ODD, 2.0], "bits") == histogram("h", [1.0, 2.0], "bits")
    assert curve("c", [1, 2, 3, 4, 5], [1.0, *ODD, 2.0], "bits") == curve("c", [1, 5], [1.0, 2.0], "bits")
    assert "<svg" in histogram("h", ODD, "bits").svg and "<svg" in curve("c", [1, 2, 3], ODD, "bits").svg


def test_a_study_without_rows_has_empty_plots(recwarn: pytest.WarningsRecorder) -> None:
    for drawn in (line([], AXIS, "alpha"), spread([], AXIS, "alpha"), trade([], (AXIS, AXIS), (True, True))):
        assert "<svg" in render("empty", drawn.draw, drawn.height).svg
    assert not list(recwarn)


def test_values_that_are_not_finite_are_left_out_of_the_spread() -> None:
    rows = [{"condition": "a", "algorithm": "x", "metric": "accuracy", "value": v} for v in (0.1, *ODD, 0.2)]
    drawn, finite = spread(rows, AXIS, "split"), spread([rows[0], rows[-1]], AXIS, "split")
    assert render("s", drawn.draw, drawn.height) == render("s", finite.draw, finite.height)


def test_no_two_algorithms_look_the_same() -> None:
    looks = styles([row("a", f"algorithm {i}", 1.0) for i in range(72)])
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == 72


@pytest.mark.parametrize("x", [None, 0.5])
def test_axes_and_legend_name_what_they_show(x: float | None) -> None:
    rows = [row("one", "FedAvg", 1.0, x), row("one", "FedProx", 2.0, x), row("ceiling", "centralised", 3.0)]
    drawn = line(rows, AXIS, "split")
    svg = render("a & b", drawn.draw, drawn.height).svg
    assert all(word in svg for word in ("FedAvg", "FedProx", "centralised", "fraction", "split"))
    assert 'aria-label="a &amp; b"' in svg


def clipped(drawn: Drawn) -> list[str]:
    """Returns the texts of a figure that do not lie within it."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, drawn.height), layout="constrained")
        drawn.draw(figure)
        FigureCanvasAgg(figure).draw()
        texts = [
            t for t in figure.findobj(Text) if any(c.isalpha() for c in t.get_text())
        ]  # ticks outside are not drawn
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_visible()]
        page = figure.bbox.padded(1)
    return [text for text, box in boxes if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1))]


TITLES = sorted(
    {m.title.format("a label of some length") for m in known_metrics().values()}, key=lambda t: (len(t), t)
)[-8:]


@pytest.mark.parametrize("title", TITLES)
def test_nothing_is_clipped(title: str) -> None:
    axis = Axis("accuracy", title)
    names = ("FedAvg, 5 local epochs", "FedAvgM(server_momentum=0.7) with capped weights")
    conditions = ("IID", "claimed 2, clip missing", "minority available 5 %")
    points = [row(c, a, 1.0 + i) for i, c in enumerate(conditions) for a in names]
    over_numbers = [{**p, "x": i / 7} for i, p in enumerate(points)]
    clients = [{"condition": c, "algorithm": "x", "metric": "accuracy", "value": 1.0} for c in conditions]
    other = Axis("loss", title)
    for drawn in (
        line(points, axis, "Gini coefficient of client sizes"),
        line(over_numbers, axis, "Gini coefficient of client sizes"),
        spread(clients, axis, "Gini coefficient of client sizes"),
        trade(points, (axis, other), (True, False)),
    ):
        assert clipped(drawn) == []


@pytest.mark.parametrize(("seeds", "name"), [(1, "range"), (2, "range"), (3, "range"), (4, "95 %"), (10, "95 %")])
def test_three_seeds_have_a_range_and_no_interval(seeds: int, name: str) -> None:
    assert interval_name(seeds).startswith(name)


def test_a_study_of_the_version_before_opens_with_one_warning(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(OLD.read_text())
    with pytest.warns(FutureWarning, match="earlier version") as caught:
        page = write_study_report(tmp_path).read_text()
    assert len(caught) == 1
    assert "held-out bits per character; lower is better" in page and "range over seeds" in page
    assert len(list((tmp_path / "figures").glob("*.svg"))) == 2


def test_the_current_format_is_read_as_it_is() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        content = current_format(json.loads(OLD.read_text()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_format(content) == content
    cells = [cell for r in content["table"] for cell in r["cells"].values() if "difference" in cell]
    assert cells and all("clear" not in c["difference"] and "excludes_zero" in c["difference"] for c in cells)
