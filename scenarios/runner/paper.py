"""What a study of `scenarios/published/` declares beside its runs: the figures of a paper. Plain data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One result of a paper, and the figure of this study that is put beside it.

    Attributes:
      condition, algorithm: the case; by default the first algorithm that the condition has.
      metric: of the case, its mean over seeds.
      value: the published figure in the metric's unit; None if the paper states no such figure.
      where: its table, figure or section in the paper.
      says: what the paper concludes, where it states no figure, or one in another unit.
      against, against_algorithm: another case, whose figure is subtracted; empty for none.
      checked: the text against which the figure was checked; empty for one that was not.
    """

    condition: str
    metric: str
    value: float | None
    where: str
    algorithm: str = ""
    says: str = ""
    against: str = ""
    against_algorithm: str = ""
    checked: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper whose results a study repeats.

    Attributes:
      citation: authors, title, place, year.
      url: where it is.
      rows: its results.
      differences: what its runs do differently, each a reason why figures may differ.
      shortened: this is the quick version, which reproduces nothing.
    """

    citation: str
    url: str
    rows: tuple[Published, ...]
    differences: tuple[str, ...]
    shortened: bool = False
