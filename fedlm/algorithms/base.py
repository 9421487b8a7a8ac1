"""The algorithm seam.

In a round, with global weights w and a cohort S, an algorithm

1. sends w and `vectors()` to the nodes;
2. computes, at each client i in S, an update u_i = w_i - w and further vectors (`train`);
3. turns w + mean update and the further sums into the value that the server's optimizer uses as the mean (`step`).

FedAvg is the base class itself: u_i from local gradient descent, no further vectors, the mean unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fedlm.aggregation.base import Check, RoundPlan, RoundResult
from fedlm.aggregation.exact import ExactSum, NamedSum
from fedlm.plugins.options import checked_options
from fedlm.spec import Spec
from fedlm.types import TextMetrics, Weights

Arrays = Mapping[str, npt.NDArray[Any]]


class Start(Protocol):
    """Initial weights in the trainer's own form, converted once for all clients of a message."""

    @property
    def arrays(self) -> Weights:
        """The weights, float32."""


class Trainer(Protocol):
    """What an algorithm needs from a node's trainer; implemented by `fedlm.training.trainer.LocalTrainer`."""

    def begin(self, weights: Weights) -> Any:
        """Returns weights in the trainer's own form; see `Start`."""

    def train(
        self,
        weights: Any,
        client: Any,
        rng: np.random.Generator,
        server_round: int = 1,
        proximal_mu: float | None = None,
    ) -> tuple[Weights, TextMetrics]:
        """Trains one client from a `Start`; returns its update and the sums of its training loss."""


@dataclass(frozen=True)
class LocalTask:
    """One client's part of a round, at its node.

    Attributes:
      trainer: trains the client.
      start: the global weights in the trainer's own form; `trainer.begin` converts others.
      client: the client's text, prepared for the trainer.
      rng: the client's stream in this round.
      server_round: the round, from 1.
      proximal_mu: FedProx's mu in this round.
      vectors: what the server sent in addition to the weights.
      state: what the client kept from its last round; empty at first.
    """

    trainer: Trainer
    start: Start
    client: Any = field(repr=False)
    rng: np.random.Generator
    server_round: int
    proximal_mu: float | None = None
    vectors: Mapping[str, Weights] = field(default_factory=dict)
    state: Arrays = field(default_factory=dict)

    @property
    def weights(self) -> Weights:
        """The weights that the client starts from, float32."""
        return self.start.arrays


@dataclass(frozen=True)
class LocalResult:
    """The result of a client's training.

    Attributes:
      update: local - global.
      metrics: sums of the training loss.
      further: what the client sends in addition, in units of 2**-24; names as in `Algorithm.sends`.
      state: what the client keeps until its next round, if the algorithm keeps state.
    """

    update: Weights
    metrics: TextMetrics
    further: Mapping[str, NamedSum] = field(default_factory=dict)
    state: Arrays = field(default_factory=dict)


class ClientStates(Protocol):
    """Where a node stores its clients' state between rounds: sealed, and deleted with the client."""

    def load(self, client: int) -> Arrays:
        """Returns a client's state; empty without one."""

    def save(self, client: int, state: Arrays) -> None:
        """Replaces a client's state."""


class Algorithm:
    """Base class of algorithms.

    Args:
      spec: the algorithm's name and options.

    Raises:
      ConfigError: an option is unknown or has the wrong type.
    """

    defaults: ClassVar[dict[str, float | int | str | bool]] = {}
    """The options, with their defaults."""

    sends: Mapping[str, Check] = {}
    """The names of further sums, with a check for the sum over a chunk: nodes are not trusted."""

    is_plain: bool = True
    """Whether `train` is that of this class; the clients of a chunk may then run in one compiled program."""

    keeps_state: bool = False
    """Whether clients keep state between rounds."""

    def __init__(self, spec: Spec) -> None:
        self.options = checked_options("algorithm", spec, dict(self.defaults))

    def proximal_mu(self, strategy: Mapping[str, object]) -> float | None:
        """Returns the mu of a round: the one that Flower's strategy sets, or None for that of the configuration."""
        value = strategy.get("proximal-mu", 0.0)
        return float(value) or None if isinstance(value, int | float) else None

    def train(self, task: LocalTask) -> LocalResult:
        """Trains one client."""
        update, metrics = task.trainer.train(task.start, task.client, task.rng, task.server_round, task.proximal_mu)
        return LocalResult(update, metrics)

    def vectors(self) -> Mapping[str, Weights]:
        """Returns what the server sends in addition to the weights, in the weights' shapes."""
        return {}

    def step(self, plan: RoundPlan, result: RoundResult, mean: Weights) -> Weights:
        """Returns the value that the server's optimizer uses as the mean, and updates the server's state.

        Args:
          plan: the round.
          result: its sums.
          mean: global weights + mean update, after the privacy mechanism.
        """
        return mean

    def figures(self, total: ExactSum) -> dict[str, dict[str, float]]:
        """Returns the figures of the further sums for a round's line of metrics."""
        return {}

    def state(self) -> Arrays:
        """Returns the server's state between rounds."""
        return {}

    def restore(self, state: Arrays) -> None:
        """Restores what `state` returned."""
