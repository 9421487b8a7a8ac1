"""Plots as SVG for a page and PNG for a paper, without outside references; and the two plots of a run's report.

Lines and letters of the SVG take the page's own colour, so dark mode works.
"""

import io
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fedlm.system.plotting import load_matplotlib

INK = "#010203"  # replaced by currentColor in the SVG
STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with dollar signs is a name
    "svg.hashsalt": "fedlm",  # the same figures give the same bytes
    "font.size": 11,
}
Draw = Callable[[Any], None]
"""Fills a matplotlib figure that has no axes yet."""
WIDTH = 5.0  # inches: 360 points, so that letters have their size on a phone
_LETTERS = 14  # of a label to the inch


def wrapped(text: str, inches: float) -> str:
    """Returns a label in lines that fit into so many inches."""
    return textwrap.fill(text, max(12, int(_LETTERS * inches)))


@dataclass(frozen=True)
class Plot:
    """A rendered figure: SVG text in the page's own ink, and PNG bytes on white."""

    svg: str
    png: bytes


def render(title: str, draw: Draw, height: float = 3.2) -> Plot:
    """Renders a figure.

    Args:
      title: its accessible name.
      draw: fills it.
      height: in inches; the width is WIDTH.
    """
    load_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a matplotlibrc of the user's changes no figure of a report
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        buffer, picture = io.StringIO(), io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        figure.savefig(picture, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return Plot(for_a_page(buffer.getvalue(), title), picture.getvalue())


def for_a_page(text: str, title: str) -> str:
    """Returns matplotlib's SVG without its header and metadata, in the page's ink, with an accessible name."""
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    name = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace(INK, "currentColor").replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def curve(title: str, rounds: Sequence[int], values: Sequence[float], label: str) -> Plot:
    """Returns a learning curve: a figure over rounds; values that are not finite are left out.

    Args:
      title: the accessible name.
      rounds, values: the points.
      label: of the vertical axis, with the unit.
    """
    finite = [(r, v) for r, v in zip(rounds, values, strict=True) if math.isfinite(v)]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([r for r, _ in finite], [v for _, v in finite], marker="." if len(rounds) < 40 else None)
        axes.set(xlabel="round", ylabel=wrapped(label, 2.4))
        axes.xaxis.get_major_locator().set_params(integer=True)

    return render(title, draw)


def histogram(title: str, values: Sequence[float], label: str) -> Plot:
    """Returns the distribution of a figure over clients, of those where it is finite."""
    finite = [v for v in values if math.isfinite(v)]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.hist(finite, bins=min(30, max(5, len(finite) // 5)), alpha=0.8)
        axes.set(xlabel=label, ylabel="number of clients")
        axes.yaxis.get_major_locator().set_params(integer=True)

    return render(title, draw)
