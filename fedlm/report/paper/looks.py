"""One colour and one marker for each series of a study, the same in all of its figures.

A series is an algorithm, or a condition where the study has one algorithm. Colours are Okabe and Ito's and then Tol's muted
ones, which readers with any colour vision tell apart; markers and line styles differ too, for print in grey.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),  # Okabe and Ito, without yellow and black
    *("#882255", "#999933", "#5E4FA2", "#A0522D", "#888888", "#44AA99"),  # Tol's muted scheme and two more
)
_MARKERS = "osD^vPX*><phd"  # one more than colours: the first 156 series differ in their pairs
_LINES = ("-", "--", "-.", ":")
MOST_IN_A_LEGEND = 8  # beyond it readers search: labels stand beside the points


@dataclass(frozen=True)
class Look:
    """How a series is drawn."""

    colour: str
    marker: str
    line: str


@dataclass(frozen=True)
class Looks:
    """The series of a study and their looks.

    Attributes:
      by_condition: the study has one algorithm, so that its conditions are the series.
      several: it has several conditions, so that a panel of one names it.
      of: the look of each series, in the order of the design.
    """

    by_condition: bool
    several: bool
    of: Mapping[str, Look]

    def series(self, condition: str, algorithm: str) -> str:
        """Returns the series of a case."""
        return condition if self.by_condition else algorithm


def looks(cases: Sequence[Mapping[str, Any]]) -> Looks:
    """Returns the looks of a study.

    Args:
      cases: of the design, with condition and algorithm. A case without results keeps its look, so the others do, too.
    """
    by_condition = len({c["algorithm"] for c in cases}) < 2
    names = dict.fromkeys(c["condition"] if by_condition else c["algorithm"] for c in cases)
    several = len({c["condition"] for c in cases}) > 1
    return Looks(by_condition, several, {name: _look(place) for place, name in enumerate(names)})


def _look(place: int) -> Look:
    return Look(_COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)], _LINES[place % len(_LINES)])
