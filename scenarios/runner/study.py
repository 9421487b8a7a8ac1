"""A study in Python: declare or load one, run it, read its table.

from fedlm import Study

result = Study.load("label_skew").run("runs/skew", seeds=3, quick=True)
print(result.answer)
result.table.query("metric == 'bits_per_char'")[["condition", "mean", "low", "high"]]
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fedlm.errors import ConfigError
from fedlm.report.legacy import current_format
from scenarios.runner.catalog import build_study
from scenarios.runner.design import SMALL, Case, Contrast, Design, Figure, Options, Trend, trained
from scenarios.runner.engines import Engine
from scenarios.runner.paper import Paper, Published
from scenarios.runner.runner import Runner, default_seeds

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SMALL",
    "Case",
    "Contrast",
    "Figure",
    "Options",
    "Paper",
    "Published",
    "Study",
    "StudyResult",
    "Trend",
    "trained",
]

_CELL = ("mean", "low", "high", "count")


@dataclass(frozen=True)
class Study(Design):
    """A question and the runs that answer it; see `Design` for what it declares.

    Attributes:
      options: with which it was loaded; its quick version can be built from them. None for a study declared in place.
      source: the name or file that it was loaded from.

    >>> study = Study.load("label_skew")
    >>> study.question
    'What does it cost the model when clients write about different things?'
    >>> len(study.cases) > len(study.version(quick=True).cases)
    True
    """

    options: Options | None = field(default=None, repr=False)
    source: str = field(default="", repr=False)

    @classmethod
    def load(cls, name: str | Path, *, quick: bool = False, corpus: str = "", group: str = "", test: str = "") -> Self:
        """Loads a built-in study by its name, or one of your own by its path (a file that ends in `.py`).

        Args:
          name: see `fedlm study --list`.
          quick: the small version: minutes, not an hour.
          corpus: your own text in place of the study's.
          group: the label that defines groups of clients.
          test: your own test corpus, for a study whose held-out text is given.

        Raises:
          ConfigError: there is no such study, or it needs what the arguments lack.
        """
        options = Options(quick, corpus, group, test)
        built = build_study(str(name), options)
        if not isinstance(built, cls):
            raise ConfigError(f"The function study of {name} returns {type(built).__name__}; it must return a Study.")
        return replace(built, options=options, source=str(name))

    def version(self, *, quick: bool) -> Self:
        """Returns the small or the full version of a loaded study.

        Raises:
          ConfigError: `quick` is set, but the study was declared in place.
        """
        if self.options is None:
            if quick:
                raise ConfigError(f"The study {self.name} has one version: it was declared in place, not loaded.")
            return self
        if self.options.quick == quick:
            return self
        own = self.options
        return self.load(self.source, quick=quick, corpus=own.corpus, group=own.group, test=own.test)

    def run(
        self,
        out: str | Path,
        *,
        seeds: int | Sequence[int] = 0,
        quick: bool = False,
        engine: Engine | None = None,
        echo: Callable[[str], object] | None = None,
    ) -> "StudyResult":
        """Runs what is not done yet in the folder; returns the results.

        After an interrupt, call it again with the same folder: finished runs are kept, and an unfinished run resumes.

        Args:
          out: the study's folder.
          seeds: their number (the seeds are then 0, 1, ...), or a list; 0 means those that
            the study declares (ten by default), or two for the small version.
          quick: run the small version of a study that was loaded in full.
          engine: where the runs go; by default worker processes of this machine, one a core.
          echo: prints a line; by default nothing is shown.

        Raises:
          ConfigError: a setting is invalid, or the folder holds something else.
          FedLMError: all runs failed.
        """
        small = quick or (self.options is not None and self.options.quick)
        chosen = self.version(quick=small)
        Runner(chosen, _seeds(seeds, default_seeds(chosen, quick=small)), Path(out), echo=echo, engine=engine).run()
        return StudyResult(Path(out))


def _seeds(asked: int | Sequence[int], otherwise: int) -> Sequence[int]:
    if not isinstance(asked, int):
        return list(asked)
    if asked < 0:
        raise ConfigError(f"Invalid value for seeds: {asked} is negative.")
    return range(asked or otherwise)


@dataclass(frozen=True)
class StudyResult:
    """What a study found, read from its folder.

    Attributes:
      folder: the study's folder.
    """

    folder: Path

    @property
    def content(self) -> dict[str, Any]:
        """The content of study.json, in the current format."""
        return current_format(json.loads((self.folder / "study.json").read_text(encoding="utf-8")))

    @property
    def answer(self) -> str:
        """The answer in words."""
        return str(self.content["answer"])

    @property
    def contrasts(self) -> "pd.DataFrame":
        """The primary contrasts: a row each, with the difference, its interval, the p-values and the verdict.

        Columns: `metric, name, verdict, mean, low, high, count, hedges_g, p, p_holm, p_equivalent, margin, detectable`.
        """
        import pandas as pd

        keys = ("hedges_g", "p", "p_holm", "p_equivalent", "margin", "detectable")
        return pd.DataFrame(
            [
                {k: c[k] for k in ("metric", "name", "verdict")} | c["interval"] | {k: c[k] for k in keys}
                for c in self.content["contrasts"]
            ]
        )

    @property
    def failed(self) -> dict[str, str]:
        """The reasons of failed runs, by run; empty if all succeeded."""
        return dict(self.content["failed"])

    @property
    def report(self) -> Path:
        """The report, one HTML page."""
        return self.folder / "report.html"

    @property
    def table(self) -> "pd.DataFrame":
        """The table: a row per condition, algorithm and metric.

        Columns: `condition, algorithm, x, control, metric`; `mean, low, high, count` over seeds; and the difference from
        the control, paired by seed: `difference, difference_low, difference_high, hedges_g` (missing for the control itself).
        All of it is descriptive; `contrasts` has the verdicts.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {k: row[k] for k in ("condition", "algorithm", "x", "control")} | {"metric": metric} | _flat(cell)
                for row in self.content["table"]
                for metric, cell in row["cells"].items()
            ]
        )

    @property
    def runs(self) -> "pd.DataFrame":
        """A row per run, client and metric, as results.parquet has them; client -1 means all clients together."""
        import pandas as pd

        return pd.read_parquet(self.folder / "results.parquet")


def _flat(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell of the table as columns."""
    difference = dict(cell.get("difference") or {})
    columns = {k: cell[k] for k in _CELL} | {"difference": difference.pop("mean", None)}
    columns |= {f"difference_{k}": difference.pop(k, None) for k in ("low", "high")}
    return columns | {"hedges_g": difference.get("hedges_g")}
