"""Flower's strategies as the server's optimizer: by name or import path, what they see, and what they tell clients."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy
from flwr.supercore.run import Run

from fedlm.aggregation.base import ClientResult, RoundPlan
from fedlm.errors import ConfigError
from fedlm.messages.fields import record_weights, weights_record
from fedlm.schedules import rate_factor
from fedlm.spec import parse_spec
from fedlm.types import TextMetrics, Weights

# These see one reply a round, the exact mean; every other one sees a reply per client.
ACCEPT_MEAN = ("FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedYogi", "FedAdagrad")
PER_CLIENT = ("Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg", "QFedAvg")


def build_strategy(spec: str) -> Strategy:
    """Returns a strategy of Flower's by name, or a user's own by import path: `FedAdam(eta=0.01)`, `mine.rules.Mine(x=1)`.

    Raises:
      ConfigError: there is none, an option is invalid, or it is one whose arithmetic would be wrong here.
    """
    parsed = parse_spec(spec)
    module, _, name = parsed.name.rpartition(".")
    if not module and name not in ACCEPT_MEAN + PER_CLIENT:
        why = (
            "its noise or its trees do not fit" if name.startswith(("Differential", "DP", "FedXgb")) else "no such name"
        )
        known = ", ".join(ACCEPT_MEAN + PER_CLIENT)
        raise ConfigError(
            f"The strategy {name!r} is not supported ({why}): use {known}, or an import path of your own."
        )
    try:
        kind = getattr(import_module(module) if module else flower, name)
        _check_options(name, kind, parsed.options)
        made = kind(**parsed.options)
    except ConfigError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"The strategy {spec!r} cannot be built: {error}.") from None
    if not isinstance(made, Strategy):
        raise ConfigError(f"{parsed.name} is not a Flower Strategy.")
    return made


def _check_options(name: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuses an option that a strategy does not have, unless it takes any."""
    taken = signature(kind).parameters
    unknown = [option for option in options if option not in taken]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        raise ConfigError(f"The strategy {name} has no option {unknown[0]}; it has {', '.join(taken)}.")


def accepts_mean(strategy: Strategy) -> bool:
    """Returns whether a strategy gives the same result for one reply, the cohort's exact mean, as for all replies."""
    if type(strategy).__module__.startswith("flwr."):
        return type(strategy).__name__ in ACCEPT_MEAN
    return bool(getattr(strategy, "accepts_mean", False))


class ServerOptimizer:
    """One of Flower's strategies as the server's optimizer, and the share of its step that the schedule takes.

    A strategy that accepts a mean sees one reply a round, the exact mean with weight 1; any other sees one reply a client.
    What it puts into its messages' configuration (`proximal-mu`) goes to the clients; its messages are dropped.

    Args:
      strategy: freshly built.
      schedule: of the share; see `fedlm.schedules`.
    """

    def __init__(self, strategy: Strategy, schedule: str = "constant") -> None:
        self.strategy, self._schedule = strategy, schedule

    def begin(self, server_round: int, weights: ArrayRecord) -> Mapping[str, object]:
        """Returns what the strategy tells its clients. FedOpt, FedAvgM and QFedAvg remember the weights given here."""
        config = ConfigRecord()
        self.strategy.configure_train(server_round, weights, config, _SurrogateGrid(self.strategy))
        return dict(config)

    def step(
        self, plan: RoundPlan, mean: Weights, singles: Sequence[ClientResult], metrics: TextMetrics | None
    ) -> Weights:
        """Returns the next global weights, float32.

        Args:
          plan: the round.
          mean: global weights + mean update.
          singles: clients one by one, for a strategy that compares them.
          metrics: training figures that the strategy may see; None where no noise covers them.
        """
        reached = self._aggregated(plan.server_round, mean, singles, metrics or TextMetrics())
        return part_way(plan.weights, reached, rate_factor(self._schedule, plan.server_round))

    def _aggregated(
        self, server_round: int, mean: Weights, singles: Sequence[ClientResult], metrics: TextMetrics
    ) -> Weights:
        if not singles and type(self.strategy) in _HAND_BACK:
            return mean
        replies = [as_reply(s.mean, s.weight, s.metrics) for s in singles] or [as_reply(mean, 1, metrics)]
        arrays, _ = self.strategy.aggregate_train(server_round, replies)
        return mean if arrays is None else record_weights(arrays)


_HAND_BACK = (flower.FedAvg, flower.FedProx)
"""Their result for one reply of weight 1 is that reply, bit by bit, and they remember nothing: they need not be asked."""


def part_way(start: Weights, end: Weights, share: float) -> Weights:
    """Returns float32(start + share * (end - start)); `end` itself for a share of 1."""
    if share == 1.0:
        return end
    return tuple((s + share * (e.astype(np.float64) - s)).astype(np.float32) for s, e in zip(start, end, strict=True))


def as_reply(weights: Weights, num_examples: int, metrics: TextMetrics) -> Message:
    """Returns local weights as the reply that Flower's strategies expect."""
    loss = metrics.loss_sum / max(metrics.tokens, 1)
    figures = MetricRecord({"num-examples": num_examples, "train_loss": loss})
    content = RecordDict({"arrays": weights_record(weights), "metrics": figures})
    return Message(content, reply_to=Message(RecordDict(), 0, MessageType.TRAIN))


class _SurrogateGrid(Grid):
    """As many nodes as a strategy's sampling waits for, it makes a message for each; nothing is sent through it."""

    def __init__(self, inner: Strategy) -> None:
        needed = [getattr(inner, f"min_{kind}_nodes", 2) for kind in ("available", "train", "evaluate")]
        self._nodes = range(max(needed))

    def set_run(self, run: Run) -> None: ...

    @property
    def run(self) -> Run:
        return Run.create_empty(0)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type)

    def get_node_ids(self) -> Iterable[int]:
        return self._nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return []
