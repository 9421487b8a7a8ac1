"""Flower's strategies by name or import path, what they need, see and tell, and their state for a checkpoint."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy
from flwr.supercore.run import Run

from fedlm.errors import ConfigError
from fedlm.messages import wire
from fedlm.spec import parse_spec
from fedlm.types import TextMetrics, Weights

# These see one reply a round, the exact mean; every other one sees a reply per client.
ACCEPT_MEAN = ("FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedYogi", "FedAdagrad")
PER_CLIENT = ("Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg", "QFedAvg")


def build_strategy(spec: str) -> Strategy:
    """Returns a strategy of Flower's by name, or a user's own by import path: `FedAdam(eta=0.01)`, `mine.rules.Mine(x=1)`.

    Raises:
      ConfigError: there is none, an option does not do, or it is one whose arithmetic would be wrong here.
    """
    parsed = parse_spec(spec)
    module, _, name = parsed.name.rpartition(".")
    if not module and name not in ACCEPT_MEAN + PER_CLIENT:
        why = (
            "its noise or its trees do not fit" if name.startswith(("Differential", "DP", "FedXgb")) else "no such name"
        )
        known = ", ".join(ACCEPT_MEAN + PER_CLIENT)
        raise ConfigError(f"The strategy {name!r} does not do ({why}): use {known}, or an import path of your own.")
    try:
        kind = getattr(import_module(module) if module else flower, name)
        _check_options(name, kind, parsed.options)
        made = kind(**parsed.options)
    except ConfigError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"The strategy {spec!r} does not build: {error}.") from None
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


def hands_back(strategy: Strategy) -> bool:
    """Returns whether a strategy's result for one reply of weight 1 is that reply, bit by bit, and it remembers nothing."""
    return type(strategy) in (flower.FedAvg, flower.FedProx)


def told_to_clients(strategy: Strategy, server_round: int, weights: ArrayRecord) -> ConfigRecord:
    """Returns what a strategy tells its clients. FedOpt, FedAvgM and QFedAvg remember the weights given here."""
    config = ConfigRecord()
    strategy.configure_train(server_round, weights, config, _StandInGrid(strategy))
    return config


def as_reply(weights: Weights, num_examples: int, metrics: TextMetrics) -> Message:
    """Returns local weights as the reply that Flower's strategies expect."""
    loss = metrics.loss_sum / max(metrics.tokens, 1)
    figures = MetricRecord({"num-examples": num_examples, "train_loss": loss})
    content = RecordDict({"arrays": wire.weights_record(weights), "metrics": figures})
    return Message(content, reply_to=Message(RecordDict(), 0, MessageType.TRAIN))


class _StandInGrid(Grid):
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
