"""The algorithm seam.

In a round, with global weights w and a cohort S, an algorithm

1. sends w, and `vectors()` beside it, to the nodes;
2. lets each client i in S compute an update u_i = w_i - w and further vectors (`train`);
3. turns the mean of the updates and the further sums into what the server's optimizer takes for the mean (`step`).

FedAvg is this class as it stands: u_i by local gradient descent, nothing further, the mean as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fedlm.aggregation.base import Check, RoundPlan, RoundResult
from fedlm.aggregation.exact import ExactSum, NamedSum
from fedlm.plugins import checked_options
from fedlm.spec import Spec
from fedlm.types import TextMetrics, Weights

Arrays = Mapping[str, npt.NDArray[Any]]


class Start(Protocol):
    """Weights that clients start from, as the trainer holds them: made once, for all clients of a message."""

    @property
    def arrays(self) -> Weights:
        """The weights, float32."""


class Trainer(Protocol):
    """What an algorithm asks of a node's trainer: `fedlm.training.trainer.LocalTrainer`."""

    def begin(self, weights: Weights) -> Any:
        """Returns weights to start from; see `Start`."""

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
      trainer: trains.
      start: the global weights, as the trainer holds them; `trainer.begin` makes others.
      client: the client's text, prepared for the trainer.
      rng: of the client in this round.
      server_round: the round, from 1.
      proximal_mu: FedProx' mu of this round.
      vectors: what the server sent beside the weights.
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
    """What a client computed.

    Attributes:
      update: local - global.
      metrics: sums of the training loss.
      further: what it sends besides, on the lattice of 2**-24; names as in `Algorithm.sends`.
      state: what the client keeps until its next round, where the algorithm keeps state.
    """

    update: Weights
    metrics: TextMetrics
    further: Mapping[str, NamedSum] = field(default_factory=dict)
    state: Arrays = field(default_factory=dict)


class ClientStates(Protocol):
    """Where a node keeps what clients remember between rounds: sealed, and gone with the client."""

    def load(self, client: int) -> Arrays:
        """Returns what a client kept; empty if nothing."""

    def save(self, client: int, state: Arrays) -> None:
        """Keeps a client's arrays, instead of those before."""


class Algorithm:
    """Base class of algorithms.

    Args:
      spec: the algorithm's name and options.

    Raises:
      ConfigError: an option is unknown or of a wrong type.
    """

    defaults: ClassVar[dict[str, float | int | str | bool]] = {}
    """The options, with their defaults."""

    sends: Mapping[str, Check] = {}
    """Further sums by name, and what a sum over a chunk must satisfy, since a node may send anything."""

    is_plain: bool = True
    """Whether `train` is this class's own: the clients of a chunk may then go through one compiled program."""

    keeps_state: bool = False
    """Whether clients remember anything between rounds."""

    def __init__(self, spec: Spec) -> None:
        self.options = checked_options("algorithm", spec, dict(self.defaults))

    def proximal_mu(self, strategy: Mapping[str, object]) -> float | None:
        """Returns the mu of a round: what Flower's strategy tells, or None for that of the configuration."""
        told = strategy.get("proximal-mu", 0.0)
        return float(told) or None if isinstance(told, int | float) else None

    def train(self, task: LocalTask) -> LocalResult:
        """Trains one client."""
        update, metrics = task.trainer.train(task.start, task.client, task.rng, task.server_round, task.proximal_mu)
        return LocalResult(update, metrics)

    def vectors(self) -> Mapping[str, Weights]:
        """Returns what the server sends beside the weights, in the weights' shapes."""
        return {}

    def step(self, plan: RoundPlan, result: RoundResult, mean: Weights) -> Weights:
        """Returns what the server's optimizer takes for the mean, and moves the server's state.

        Args:
          plan: the round.
          result: its sums.
          mean: global weights + mean update, after the privacy mechanism.
        """
        return mean

    def figures(self, total: ExactSum) -> dict[str, dict[str, float]]:
        """Returns what a round's line of metrics says of the further sums."""
        return {}

    def state(self) -> Arrays:
        """Returns what the server remembers between rounds."""
        return {}

    def restore(self, state: Arrays) -> None:
        """Puts back what `state` returned."""
