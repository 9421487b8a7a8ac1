"""Figures of a study as SVG for the page and PNG for a paper: lines over a condition, spread over clients, trade-offs.

Colours are Okabe and Ito's, told apart by readers with any colour vision; markers and line styles differ too.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedlm.report.plots import INK, STYLE

Rows = Sequence[Mapping[str, Any]]
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#B8860B")
_MARKERS = "osD^vPX*"
_LINES = ("-", "--", "-.", ":")


def render(title: str, draw: Callable[[Any], None]) -> tuple[str, bytes]:
    """Returns a figure as SVG text, in the page's own ink, and as PNG bytes on white.

    Args:
      title: its accessible name.
      draw: fills matplotlib axes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 3.8), layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    name = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1), picture.getvalue()


def _style(place: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": _LINES[place % len(_LINES)],
    }


def _errors(cells: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Lengths of error bars, (2, points); 0 where there is no interval."""
    low = [c["mean"] - c["low"] if c["low"] is not None else 0.0 for c in cells]
    high = [c["high"] - c["mean"] if c["high"] is not None else 0.0 for c in cells]
    return [[max(v, 0.0) for v in low], [max(v, 0.0) for v in high]]


def line(rows: Rows, metric: str, label: str, x_label: str) -> Callable[[Any], None]:
    """Returns what draws a metric over the conditions, a line for each algorithm; a lone point becomes a level."""
    rows = [r for r in rows if metric in r["cells"]]
    names = list(dict.fromkeys(r["condition"] for r in rows if r["x"] is None))
    numeric = [r["x"] for r in rows if r["x"] is not None]
    only_names = not numeric

    def draw(axes: Any) -> None:
        for place, algorithm in enumerate(dict.fromkeys(r["algorithm"] for r in rows)):
            own = [r for r in rows if r["algorithm"] == algorithm]
            points = [r for r in own if only_names or r["x"] is not None]
            levels = [r for r in own if not only_names and r["x"] is None]
            if points:
                at = [names.index(r["condition"]) if only_names else r["x"] for r in points]
                cells = [r["cells"][metric] for r in points]
                means = [c["mean"] for c in cells]
                axes.errorbar(at, means, yerr=_errors(cells), capsize=3, label=algorithm, **_style(place))
            for r in levels:
                name = f"{r['condition']}, {algorithm}"
                axes.axhline(r["cells"][metric]["mean"], label=name, color=_COLOURS[place % 8], linestyle=":")
        if only_names:
            axes.set_xticks(range(len(names)), names, rotation=25 if max(map(len, names), default=0) > 9 else 0)
        axes.set(xlabel=x_label, ylabel=label)
        if rows:
            axes.legend(fontsize=9, frameon=False)

    return draw


def spread(clients: Rows, metric: str, label: str, x_label: str) -> Callable[[Any], None]:
    """Returns what draws the distribution over clients (all seeds together), a box for each condition, whiskers 5 to 95 %.

    Args:
      clients: a row per client with condition, algorithm, metric and value; the first algorithm is drawn.
      metric: of the clients.
      label, x_label: of the axes.
    """
    first = clients[0]["algorithm"] if clients else ""
    values: dict[str, list[float]] = {}
    for row in clients:
        if row["metric"] == metric and row["algorithm"] == first:
            values.setdefault(row["condition"], []).append(row["value"])

    def draw(axes: Any) -> None:
        style = {"color": _COLOURS[0]}
        axes.boxplot(
            list(values.values()),
            whis=(5, 95),
            showfliers=False,
            boxprops=style,
            whiskerprops=style,
            capprops=style,
            medianprops={"color": _COLOURS[1]},
        )
        axes.set_xticks(range(1, len(values) + 1), list(values), rotation=25 if len(values) > 4 else 0)
        axes.set(xlabel=x_label, ylabel=label, title=first)

    return draw


def front(points: Sequence[tuple[float, float]], less: tuple[bool, bool]) -> list[int]:
    """Returns the places of the points that no other one beats on both axes.

    >>> front([(1.0, 3.0), (2.0, 2.0), (3.0, 3.0)], (True, True))
    [0, 1]
    """
    signed = [tuple(v if small else -v for v, small in zip(p, less, strict=True)) for p in points]
    return [
        i
        for i, p in enumerate(signed)
        if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in signed)
    ]


def trade(
    rows: Rows, metrics: tuple[str, str], labels: tuple[str, str], less: tuple[bool, bool]
) -> Callable[[Any], None]:
    """Returns what draws one metric against another, a point for each algorithm and condition, with the front of the best."""
    rows = [r for r in rows if all(m in r["cells"] for m in metrics)]
    points = [(float(r["cells"][metrics[0]]["mean"]), float(r["cells"][metrics[1]]["mean"])) for r in rows]

    def draw(axes: Any) -> None:
        algorithms = list(dict.fromkeys(r["algorithm"] for r in rows))
        conditions = list(dict.fromkeys(r["condition"] for r in rows))
        for r, (x, y) in zip(rows, points, strict=True):
            place = algorithms.index(r["algorithm"])
            name = r["algorithm"] if len(conditions) == 1 else f"{r['condition']}: {r['algorithm']}"
            marker = _MARKERS[conditions.index(r["condition"]) % 8] if len(conditions) > 1 else _MARKERS[place % 8]
            axes.plot(x, y, marker=marker, linestyle="", color=_COLOURS[place % 8], label=name)
        for condition in conditions:
            own = [p for r, p in zip(rows, points, strict=True) if r["condition"] == condition]
            best = sorted(own[i] for i in front(own, less))
            axes.plot([x for x, _ in best], [y for _, y in best], color=INK, linewidth=1, alpha=0.5)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.legend(fontsize=6, frameon=False, bbox_to_anchor=(1, 1), loc="upper left")

    return draw
