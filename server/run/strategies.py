"""Flower's strategies as the server's optimizer: built by name or import path, given the cohort's mean or single clients."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from inspect import signature
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy
from flwr.supercore.run import Run

from fedlm.aggregation.base import ClientResult, RoundPlan
from fedlm.errors import ConfigError, UnknownOption
from fedlm.messages.fields import record_weights, weights_record
from fedlm.plugins.calls import load_module, loading, running
from fedlm.schedules import rate_factor
from fedlm.spec import parse_spec
from fedlm.types import TextMetrics, Weights

# These get one reply per round, the exact mean; all others get one reply per client.
ACCEPT_MEAN = ("FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedYogi", "FedAdagrad")
PER_CLIENT = ("Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg", "QFedAvg")


def build_strategy(spec: str) -> Strategy:
    """Returns a Flower strategy by name, or a user's by import path: `FedAdam(eta=0.01)`, `mine.rules.Mine(x=1)`.

    Raises:
      ConfigError: there is no such strategy, an option is invalid, or its arithmetic would be wrong here.
    """
    parsed = parse_spec(spec)
    module, _, name = parsed.name.rpartition(".")
    if not module and name not in ACCEPT_MEAN + PER_CLIENT:
        why = (
            "its noise or trees are not supported"
            if name.startswith(("Differential", "DP", "FedXgb"))
            else "no such name"
        )
        known = ", ".join(ACCEPT_MEAN + PER_CLIENT)
        raise ConfigError(
            f"The strategy {name!r} is not supported ({why}): use {known}, or the import path of your own strategy."
        )
    kind = getattr(load_module("strategy", parsed.name, module) if module else flower, name, None)
    if not callable(kind):
        raise ConfigError(f"The strategy {parsed.name!r} cannot be loaded: the module {module} has no class {name}.")
    _check_options(name, kind, parsed.options)
    with loading(f"The strategy {spec!r} cannot be built", module):
        made = kind(**parsed.options)
    if not isinstance(made, Strategy):
        raise ConfigError(f"{parsed.name} is not a subclass of Flower's Strategy.")
    return made


def _check_options(name: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuses an option that the strategy does not have, unless it accepts arbitrary options."""
    try:
        taken = signature(kind).parameters
    except ValueError:  # a class in C, which is no strategy
        return
    unknown = [option for option in options if option not in taken]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        raise UnknownOption(
            unknown[0], f"The strategy {name} has no option {unknown[0]!r}; its options are: {', '.join(taken)}."
        )


def accepts_mean(strategy: Strategy) -> bool:
    """Returns whether a strategy gives the same result for one reply with the cohort's exact mean as for all replies."""
    if type(strategy).__module__.startswith("flwr."):
        return type(strategy).__name__ in ACCEPT_MEAN
    return bool(getattr(strategy, "accepts_mean", False))


class ServerOptimizer:
    """A Flower strategy as the server's optimizer, with a learning-rate schedule.

        w_next = w + factor(round) * (strategy(w, mean) - w)

    A strategy that accepts a mean gets one reply per round, the exact mean with weight 1; any other gets one reply per client.
    The configuration of its messages (`proximal-mu`) is sent to the clients; the messages themselves are dropped.

    Args:
      strategy: freshly built.
      schedule: of the factor; see `fedlm.schedules`.
    """

    def __init__(self, strategy: Strategy, schedule: str = "constant") -> None:
        self.strategy, self._schedule = strategy, schedule

    def begin(self, server_round: int, weights: ArrayRecord) -> Mapping[str, object]:
        """Returns the configuration that the strategy sends to clients.

        FedOpt, FedAvgM and QFedAvg need this call: they store the weights and compare the mean with them in `step`.
        """
        config = ConfigRecord()
        with self._running("configure_train"):
            self.strategy.configure_train(server_round, weights, config, _SurrogateGrid(self.strategy))
        return dict(config)

    def step(
        self, plan: RoundPlan, mean: Weights, singles: Sequence[ClientResult], metrics: TextMetrics | None
    ) -> Weights:
        """Returns the next global weights, float32.

        Args:
          plan: the round.
          mean: global weights + mean update.
          singles: the clients' results, for a strategy that compares them.
          metrics: training figures for the strategy; None under differential privacy, which does not cover them.
        """
        reached = self._aggregated(plan.server_round, mean, singles, metrics or TextMetrics())
        return part_way(plan.weights, reached, rate_factor(self._schedule, plan.server_round))

    def _aggregated(
        self, server_round: int, mean: Weights, singles: Sequence[ClientResult], metrics: TextMetrics
    ) -> Weights:
        if not singles and type(self.strategy) in _HAND_BACK:
            return mean
        replies = [as_reply(s.mean, s.weight, s.metrics) for s in singles] or [as_reply(mean, 1, metrics)]
        with self._running("aggregate_train"):
            arrays, _ = self.strategy.aggregate_train(server_round, replies)
            return mean if arrays is None else record_weights(arrays)

    def _running(self, method: str) -> AbstractContextManager[None]:
        kind = type(self.strategy)
        return running(f"strategy {kind.__module__}.{kind.__qualname__}", method, kind.__module__)


_HAND_BACK = (flower.FedAvg, flower.FedProx)
"""Their result for one reply of weight 1 is that reply, bit for bit, and they keep no state: the call can be skipped."""


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
    """A grid without a network, with as many nodes as the strategy waits for. `sample_nodes` would wait for ever for more."""

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
