"""What a scenario declares: one question, a grid of runs, a table and figures. Plain data; the runner does the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fedlm.types import TextMetrics

Score = Callable[[Sequence[str]], Sequence[TextMetrics]]
"""Returns the sums of texts under a run's final model."""


@dataclass(frozen=True)
class Options:
    """What the command line asked for.

    Attributes:
      quick: the small version.
      corpus: the user's own, or empty.
      group: the label that tells groups apart, or empty.
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
      algorithm: how it is trained, by name.
      x: its place on the figures' axis; None for a category.
      corpus: another than the study's; `{seed}` is replaced.
      draw: who takes part, a spec of `scenarios.runner.cohorts`; empty is the run's own cohort.
      pooled: all text at one place, the ceiling; nothing is federated.
      grouped: the study's groups exist in its data.
    """

    condition: str
    settings: Mapping[str, object] = field(default_factory=dict)
    algorithm: str = "FedAvg"
    x: float | None = None
    corpus: str = ""
    draw: str = ""
    pooled: bool = False
    grouped: bool = True


@dataclass(frozen=True)
class Figure:
    """One figure: `line` over x, `spread` over clients, `trade` of two metrics with its front."""

    kind: str
    metric: str
    against: str = ""


@dataclass(frozen=True)
class Study:
    """A question and the runs that answer it.

    Attributes:
      name, question: the scenario's.
      corpus: of every run; `{seed}` is replaced.
      settings: held constant (keys of RunConfig).
      cases: the grid; seeds come on top.
      control: the condition that the others are compared with, by algorithm and seed; empty if `baseline` is set.
      baseline: the algorithm that the others are compared with, by condition and seed.
      table: metrics of the table, the main one first.
      figures: what is drawn.
      x_label: of the figures' axis.
      group: the label that tells groups apart; empty for none.
      minority: the group whose figures stand by themselves; by default the smallest.
      alone: passes over its own text of a model for each client alone; 0 for none.
      alone_clients: so many clients of each group get one, drawn by hash; 0 for all.
      probe: further figures of a run's final model.
      limits: what the answer does not cover.
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
    alone: int = 0
    alone_clients: int = 0
    probe: Callable[[Score, int], Mapping[str, float]] | None = None
    limits: tuple[str, ...] = ()


# What a metric is called, and whether less of it is better (None: neither).
SMALL: dict[str, object] = {
    "model": "lstm(units=64, layers=1)",
    "client_optimizer": "sgd(learning_rate=3.0)",
    "cohort_size": 8,
}
"""A model that answers in minutes what the published one answers in hours: a thirtieth of its weights, a higher rate."""

METRICS: dict[str, tuple[str, bool | None]] = {
    "bits_per_char": ("held-out bits per character", True),
    "accuracy": ("held-out accuracy", False),
    "perplexity": ("held-out perplexity", True),
    "loss": ("held-out loss, nats per token", True),
    "best_tenth": ("bits per character, best tenth of clients", True),
    "worst_tenth": ("bits per character, worst tenth of clients", True),
    "worst_tenth_perplexity": ("perplexity per character, worst tenth of clients", True),
    "small_clients": ("bits per character, quarter of clients with the least text", True),
    "client_mean": ("bits per character, mean over clients", True),
    "client_deviation": ("standard deviation over clients, bits per character", True),
    "client_gini": ("Gini of bits per character over clients", True),
    "client_jain": ("Jain's index of bits per character", False),
    "central_gap": ("bits per character above the central model, same text", True),
    "worse_than_local": ("share of clients worse than alone", True),
    "personal_gap": ("bits per character saved against alone, mean over clients", False),
    "group_gap": ("gap between groups, bits per character", True),
    "worst_group": ("bits per character, worst group", True),
    "minority": ("bits per character of the minority", True),
    "minority_personal_gap": ("bits per character saved against alone, mean over the minority", False),
    "minority_worse_than_local": ("share of minority clients worse than alone", True),
    "tokens_per_second": ("training tokens a second", False),
    "bytes_per_round": ("bytes a round and node", True),
    "best_round": ("best round on held-out text", None),
    "best_bits_per_char": ("bits per character in the best round", True),
    "generalisation_gap": ("held-out minus training loss at the end, bits a symbol", True),
    "bias": ("bias, nats a sentence pair", True),
    "bias_per_symbol": ("bias, nats a symbol", True),
    "preferred": ("share of stereotyped sentences preferred", None),
    "secrets_completed": ("share of planted secrets that rank first", True),
    "secrets_exposure": ("exposure of planted secrets, bits", True),
    "update_cosine": ("cosine of updates to their mean, mean over clients and rounds", None),
    "update_norm": ("norm of updates, mean over clients and rounds", None),
    "audited_epsilon": ("epsilon refuted from outside, at least, at 95 %", None),
    "right_guesses": ("share of canaries' coins guessed right", None),
    "size_gini": ("Gini of client sizes", None),
    "size_effective_number": ("effective number of clients", None),
    "ngram_distance": ("mean Jensen-Shannon distance of clients' trigrams", None),
    "unknown_share": ("share of symbols out of vocabulary", None),
}
