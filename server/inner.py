"""Flower's strategies by name or import path, what they need, see and tell, and their state for a checkpoint."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy
from flwr.supercore.run import Run

from fedlm import wire
from fedlm.errors import ConfigError
from fedlm.spec import parse_spec
from fedlm.types import TextMetrics, Weights

# These see one reply a round, the exact mean; every other one sees a reply per client.
ACCEPT_MEAN = ("FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedYogi", "FedAdagrad")
PER_CLIENT = ("Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg", "QFedAvg")

Arrays = dict[str, npt.NDArray[Any]]


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


class StrategyState:
    """What changes in a strategy from round to round: arrays, their dicts and lists, records, numbers.

    Args:
      strategy: freshly built; what it holds now needs no checkpoint.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy, self._fresh = strategy, {k: _copied(v) for k, v in vars(strategy).items()}

    def capture(self) -> tuple[Arrays, dict[str, Any]]:
        """Returns the arrays by key, and a JSON tree that names them.

        Raises:
          ConfigError: the strategy keeps something else, so the run could not resume.
        """
        arrays: Arrays = {}
        fresh = self._fresh
        changed = {k: v for k, v in vars(self._strategy).items() if k not in fresh or not _same(_copied(v), fresh[k])}
        return arrays, {k: _encode(v, f"strategy.{k}", arrays) for k, v in changed.items()}

    def restore(self, arrays: Arrays, tree: dict[str, Any]) -> None:
        """Puts back what `capture` returned."""
        for key, value in tree.items():
            held, found = getattr(self._strategy, key, None), _decode(value, arrays)
            if isinstance(held, dict) and isinstance(found, dict):  # it may be a defaultdict
                held.clear()
                held.update(found)
            else:
                setattr(self._strategy, key, found)


def _copied(value: object) -> object:
    """Returns what a value holds now: a strategy may change dicts, lists and arrays in place."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, ArrayRecord):
        return {k: (a.dtype, a.shape, a.data) for k, a in value.items()}
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(v) for v in value] if isinstance(value, list) else tuple(_copied(v) for v in value)
    return value


def _same(now: Any, before: Any) -> bool:
    """Returns whether two copies have the same bits; of an object of another kind, whether it is the same one."""
    if type(now) is not type(before):
        return False
    if isinstance(now, np.ndarray):
        return (now.dtype, now.shape) == (before.dtype, before.shape) and now.tobytes() == before.tobytes()
    if isinstance(now, dict):
        return list(now) == list(before) and all(_same(v, before[k]) for k, v in now.items())
    if isinstance(now, list | tuple):
        return len(now) == len(before) and all(map(_same, now, before))
    plain = isinstance(now, bool | int | float | str | bytes)
    return now is before or (plain and repr(now) == repr(before))


def _encode(value: object, path: str, arrays: Arrays) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        arrays[path] = np.ascontiguousarray(value).reshape(np.shape(value))
        return {"array": path}
    if isinstance(value, ArrayRecord):
        return {"record": {k: _encode(a.numpy(), f"{path}.{k}", arrays) for k, a in value.items()}}
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {"dict": {k: _encode(v, f"{path}.{k}", arrays) for k, v in value.items()}}
    if isinstance(value, dict):  # JSON has no other keys than strings
        return {"pairs": [_encode(pair, f"{path}.{i}", arrays) for i, pair in enumerate(value.items())]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(v, f"{path}.{i}", arrays) for i, v in enumerate(value)]}
    raise ConfigError(f"The strategy keeps a {type(value).__name__} in {path}; a run with it cannot be resumed.")


def _decode(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "record":
        return ArrayRecord({k: Array(np.asarray(_decode(v, arrays))) for k, v in content.items()})
    if kind == "dict":
        return {k: _decode(v, arrays) for k, v in content.items()}
    values = [_decode(v, arrays) for v in content]
    return {"pairs": dict, "tuple": tuple}.get(kind, list)(values)


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
