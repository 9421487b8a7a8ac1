"""Plots as SVG text without outside references; lines and letters take the page's own colour, so dark mode works."""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

INK = "#010203"  # replaced by currentColor
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
    "svg.hashsalt": "fedlm",  # the same figures give the same bytes
    "font.size": 11,
}


def _svg(title: str, draw: Callable[[Any], None]) -> str:
    """Returns a figure of 5 x 3 inches with `title` as its accessible name."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3), layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def curve(title: str, rounds: Sequence[int], values: Sequence[float], unit: str) -> str:
    """Returns a figure over rounds, of what is finite."""
    finite = [(r, v) for r, v in zip(rounds, values, strict=True) if math.isfinite(v)]

    def draw(axes: Any) -> None:
        axes.plot([r for r, _ in finite], [v for _, v in finite], marker="." if len(rounds) < 40 else None)
        axes.set(xlabel="round", ylabel=unit)
        axes.xaxis.get_major_locator().set_params(integer=True)

    return _svg(title, draw)


def histogram(title: str, values: Sequence[float], unit: str) -> str:
    """Returns the distribution of a figure over clients, of those where it is finite."""
    finite = [v for v in values if math.isfinite(v)]

    def draw(axes: Any) -> None:
        axes.hist(finite, bins=min(30, max(5, len(finite) // 5)), alpha=0.8)
        axes.set(xlabel=unit, ylabel="clients")

    return _svg(title, draw)
