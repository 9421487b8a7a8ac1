"""What a study declares: one question, a grid of runs, a table, figures and limits. Plain data; the runner does the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fedlm.measure.metric import Measure, Metric

SMALL: dict[str, object] = {
    "model": "lstm(units=64, layers=1)",
    "client_optimizer": "sgd(learning_rate=3.0)",
    "cohort_size": 8,
}
"""Settings that take minutes where the published model takes hours: a thirtieth of its weights, a higher learning rate."""


@dataclass(frozen=True)
class Options:
    """The user's choices.

    Attributes:
      quick: the small version of the study.
      corpus: the user's own corpus; empty for the study's.
      group: the label that defines groups of clients; empty for the study's, or none.
    """

    quick: bool = False
    corpus: str = ""
    group: str = ""


@dataclass(frozen=True)
class Case:
    """One condition under one algorithm; the runner repeats it for each seed.

    Attributes:
      condition: its name in tables.
      settings: what differs from the study's settings (keys of RunConfig).
      algorithm: the name of how it is trained.
      x: its place on the figures' axis; None for a category.
      corpus: another corpus than the study's; `{seed}` is replaced.
      sampling: client sampling, a spec of `scenarios.runner.cohorts`; empty for the run's own.
      centralised: train one model on all text, the upper reference; nothing is federated.
      grouped: the study's groups exist in the data of this case.
    """

    condition: str
    settings: Mapping[str, object] = field(default_factory=dict)
    algorithm: str = "FedAvg"
    x: float | None = None
    corpus: str = ""
    sampling: str = ""
    centralised: bool = False
    grouped: bool = True

    @property
    def name(self) -> tuple[str, str]:
        """Condition and algorithm; no other case of the study has the same."""
        return self.condition, self.algorithm


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Attributes:
      kind: `line` (a metric over the conditions), `spread` (a metric's distribution over clients, by condition), or
        `trade` (one metric against another, with the front of the best).
      metric: what is drawn.
      against: the second metric of a `trade`.
    """

    kind: Literal["line", "spread", "trade"]
    metric: str
    against: str = ""


@dataclass(frozen=True)
class Design:
    """A question and the runs that answer it.

    Attributes:
      name, question: of the study.
      corpus: of every run; `{seed}` is replaced.
      settings: held constant (keys of RunConfig).
      cases: the grid; each is repeated for every seed.
      control: the condition with which the others are compared, by algorithm and seed; empty if `baseline` is set.
      table: metrics of the table, the main one first.
      figures: what is drawn.
      baseline: the algorithm with which the others are compared, by condition and seed.
      x_label: of the figures' axis.
      group: the label that defines groups; empty for none.
      minority: the group that is also reported separately; by default the smallest.
      local_passes: passes over its own text of a local-only model for each client; 0 trains none.
      local_clients: how many clients of each group get a local-only model, chosen by hash; 0 for all.
      measures: further measures of a run, beside those of `fedlm/measure/`.
      limits: what the answer does not cover, for the report.
    """

    name: str
    question: str
    corpus: str
    settings: Mapping[str, object]
    cases: tuple[Case, ...]
    control: str
    table: tuple[str, ...]
    figures: tuple[Figure, ...]
    baseline: str = ""
    x_label: str = "condition"
    group: str = ""
    minority: str = ""
    local_passes: int = 0
    local_clients: int = 0
    measures: tuple[Measure, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the study's own measures."""
        return tuple(metric for measure in self.measures for metric in measure.metrics)

    def control_of(self, case: Case) -> Case | None:
        """Returns the case with which another is compared; None for a control itself.

        It is the baseline algorithm in the same condition, or the control condition under the same algorithm (under the
        first one that it has, where it lacks that algorithm).
        """
        if self.baseline:
            controls = [c for c in self.cases if c.name == (case.condition, self.baseline)]
        else:
            controls = [c for c in self.cases if c.condition == self.control]
        same = [c for c in controls if c.algorithm == case.algorithm]
        found = next(iter([*same, *controls]), None)
        return None if found is case else found
