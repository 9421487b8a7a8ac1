"""Names in the margin beside points or the ends of lines, joined to them by thin lines: for more series than a legend takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedlm.report.paper.canvas import LINE, ink, lines_of


@dataclass(frozen=True)
class Named:
    """A name and the point that it belongs to."""

    name: str
    x: float
    y: float


def write_beside(axes: Any, named: Sequence[Named], limits: tuple[float, float], height: float, inches: float) -> None:
    """Writes names to the right of the axes, none over another.

    Args:
      axes: whose points they are.
      named: the names.
      limits: of the vertical axis.
      height: of the axes, in inches.
      inches: the room of a line of text.
    """
    ordered = sorted(named, key=lambda each: -each.y)
    texts = ["\n".join(lines_of(each.name, inches)) for each in ordered]
    heights = [LINE * (text.count("\n") + 1) / height for text in texts]
    wanted = [(each.y - limits[0]) / (limits[1] - limits[0]) for each in ordered]
    for each, text, at in zip(ordered, texts, spread_out(wanted, heights), strict=True):
        axes.annotate(
            text,
            (each.x, each.y),
            (1.06, at),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "linewidth": 0.5,
                "color": ink(),
                "alpha": 0.45,
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def spread_out(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Returns places from the top down, near those wanted, at which boxes of these heights do not overlap.

    >>> [round(at, 3) for at in spread_out([0.5, 0.5, 0.1], [0.2, 0.2, 0.2])]
    [0.5, 0.3, 0.1]
    """
    found: list[float] = []
    for at, height in zip(wanted, heights, strict=True):
        highest = found[-1] - (heights[len(found) - 1] + height) / 2 if found else 1 - height / 2
        found.append(min(at, highest))
    lowest = 0.0
    for place in reversed(range(len(found))):  # what went below the axes moves up again
        found[place] = max(found[place], lowest + heights[place] / 2)
        lowest = found[place] + heights[place] / 2
    return found
