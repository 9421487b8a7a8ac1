"""What a study declares: one question, a grid of runs, a table, figures and limits. Plain data; the runner does the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fedlm.measure.metric import Measure, Metric
from scenarios.runner.paper import Paper

SMALL: dict[str, object] = {
    "model": "lstm(units=64, layers=1)",
    "client_optimizer": "sgd(learning_rate=3.0)",
    "cohort_size": 8,
}
"""Settings that take minutes where the published model takes hours: a thirtieth of its weights, a higher learning rate."""


def trained(rounds: int, steps: int, *, quick: bool) -> dict[str, object]:
    """Returns settings under which a model passes the pooled 5-gram after some ten million symbols.

    Every client takes the same number of steps in every round, so no condition trains longer than another. The server's
    momentum and the fall of the learning rate belong to every condition alike.

    Args:
      rounds: of four clients each.
      steps: of each client in a round, on 4 rows of 80 symbols.
      quick: half the units, which does not pass the 5-gram.
    """
    return {
        "model": f"lstm(units={64 if quick else 128}, layers=1, embedding=32)",
        "client_optimizer": "sgd(learning_rate=2.0)",
        "client_schedule": f"cosine(rounds={rounds})",
        "strategy": "FedAvgM(server_momentum=0.8)",
        "cohort_size": 4,
        "local_steps": steps,
        "rounds": rounds,
        "eval_every": max(rounds // 8, 1),  # of validation text, for the learning curves
    }


@dataclass(frozen=True)
class Options:
    """The user's choices.

    Attributes:
      quick: the small version of the study.
      corpus: the user's own corpus; empty for the study's.
      group: the label that defines groups of clients; empty for the study's, or none.
      test: the user's own test corpus, for a study whose held-out text is given; empty for none.
    """

    quick: bool = False
    corpus: str = ""
    group: str = ""
    test: str = ""

    def about_groups(self, built_in: str) -> str:
        """Returns what limits a conclusion from groups: of the user's own corpus how they are made, otherwise `built_in`."""
        own = f"The minority is the value of {self.group} with the second most text; all other values are the others."
        return own if self.corpus else built_in


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
      kind: `line` (a metric over the conditions, and its paired differences from the control), `difference` (the
        differences only), `curve` (a metric over rounds), `spread` (a metric's distribution over clients, by condition),
        or `trade` (one metric against another, with the front of the best).
      metric: what is drawn.
      against: the second metric of a `trade`.
    """

    kind: Literal["line", "difference", "curve", "spread", "trade"]
    metric: str
    against: str = ""


@dataclass(frozen=True)
class Contrast:
    """A primary contrast: a metric under one condition minus the same under another, for each seed.

    Attributes:
      metric: what is compared.
      condition, against: the two conditions; the difference is condition - against.
      algorithm: of both cases; by default the first one that the condition has.
      against_algorithm: of the second case, where it differs.
    """

    metric: str
    condition: str
    against: str
    algorithm: str = ""
    against_algorithm: str = ""


@dataclass(frozen=True)
class Trend:
    """A primary contrast: how a metric changes along the axis, by the least-squares slope of each seed.

    The figure is the slope times the length of the axis, so it is in the metric's unit, as the margin is.

    Attributes:
      metric: what is compared.
      algorithm: whose cases; by default the first one that has a place on the axis.
      conditions: those that count; by default all that have a place on the axis (`x`).
    """

    metric: str
    algorithm: str = ""
    conditions: tuple[str, ...] = ()


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
      contrasts: the one or two primary contrasts, which alone get a verdict; none makes the study descriptive.
      seeds: how many each case is repeated with, by default.
      margins: the smallest effect that matters, by metric, where it is not the metric's own.
      baseline: the algorithm with which the others are compared, by condition and seed.
      x_label: of the figures' axis.
      group: the label that defines groups; empty for none.
      minority: the group that is also reported separately; by default the smallest.
      local_passes: passes over its own text of a local-only model for each client; 0 trains none.
      local_clients: how many clients of each group get a local-only model, chosen by hash; 0 for all.
      test_clients: clients of each group, or of all without groups, that never train; figures are over them alone. They
        are the same for all conditions of a seed with the same data. 0 has none, and figures are over all clients.
      client_symbols: test text of each client for figures over clients, in symbols; clients with less are left out.
      measures: further measures of a run, beside those of `fedlm/measure/`.
      limits: what the answer does not cover, for the report.
      test: a corpus whose documents are the held-out text of the users of the same names; empty splits `corpus`.
      paper: the published results that the study repeats; None for a question of its own.
    """

    name: str
    question: str
    corpus: str
    settings: Mapping[str, object]
    cases: tuple[Case, ...]
    control: str
    table: tuple[str, ...]
    figures: tuple[Figure, ...]
    contrasts: tuple[Contrast | Trend, ...] = ()
    seeds: int = 10
    margins: Mapping[str, float] = field(default_factory=dict)
    baseline: str = ""
    x_label: str = "condition"
    group: str = ""
    minority: str = ""
    local_passes: int = 0
    local_clients: int = 0
    test_clients: int = 0
    client_symbols: int = 500
    measures: tuple[Measure, ...] = ()
    limits: tuple[str, ...] = ()
    test: str = ""
    paper: Paper | None = None

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

    def sides(self, contrast: Contrast) -> tuple[Case | None, Case | None]:
        """Returns the two cases of a contrast, the condition's first; None for one that the study does not have."""
        first = self._case(contrast.condition, contrast.algorithm)
        same = first.algorithm if first else contrast.algorithm
        exact = self._case(contrast.against, contrast.against_algorithm or same)
        return first, exact if exact or contrast.against_algorithm else self._case(contrast.against, "")

    def along(self, trend: Trend) -> list[tuple[float, Case]]:
        """Returns the places on the axis and the cases of a trend, in the axis' order."""
        placed = [(c.x, c) for c in self.cases if c.x is not None]
        algorithm = trend.algorithm or next((c.algorithm for _, c in placed), "")
        chosen = [(x, c) for x, c in placed if c.algorithm == algorithm]
        if trend.conditions:
            chosen = [(x, c) for x, c in chosen if c.condition in trend.conditions]
        return sorted(chosen, key=lambda pair: pair[0])

    def _case(self, condition: str, algorithm: str) -> Case | None:
        found = (c for c in self.cases if c.condition == condition and algorithm in ("", c.algorithm))
        return next(found, None)
