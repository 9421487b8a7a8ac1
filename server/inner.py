"""Flower's strategies by name or import path, what they need, and their state for a checkpoint."""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from fedlm.errors import ConfigError
from fedlm.spec import parse_spec

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
        made = getattr(import_module(module) if module else flower, name)(**parsed.options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"The strategy {spec!r} does not build: {error}.") from None
    if not isinstance(made, Strategy):
        raise ConfigError(f"{parsed.name} is not a Flower Strategy.")
    return made


def accepts_mean(strategy: Strategy) -> bool:
    """Returns whether a strategy gives the same result for one reply, the cohort's exact mean, as for all replies."""
    if type(strategy).__module__.startswith("flwr."):
        return type(strategy).__name__ in ACCEPT_MEAN
    return bool(getattr(strategy, "accepts_mean", False))


def hands_back(strategy: Strategy) -> bool:
    """Returns whether a strategy's result for one reply of weight 1 is that reply, bit by bit, and it remembers nothing."""
    return type(strategy) in (flower.FedAvg, flower.FedProx)


class StrategyState:
    """What changes in a strategy from round to round: arrays, their dicts and lists, records, numbers.

    Args:
      strategy: freshly built; what it holds now needs no checkpoint.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy, self._fresh = strategy, dict(vars(strategy))

    def capture(self) -> tuple[Arrays, dict[str, Any]]:
        """Returns the arrays by key, and a JSON tree that names them.

        Raises:
          ConfigError: the strategy keeps something else, so the run could not resume.
        """
        arrays: Arrays = {}
        changed = {k: v for k, v in vars(self._strategy).items() if k not in self._fresh or v is not self._fresh[k]}
        return arrays, {k: _encode(v, f"strategy.{k}", arrays) for k, v in changed.items()}

    def restore(self, arrays: Arrays, tree: dict[str, Any]) -> None:
        """Puts back what `capture` returned."""
        for key, value in tree.items():
            setattr(self._strategy, key, _decode(value, arrays))


def _encode(value: object, path: str, arrays: Arrays) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        arrays[path] = np.ascontiguousarray(value).reshape(np.shape(value))
        return {"array": path}
    if isinstance(value, ArrayRecord):
        return {"record": {k: _encode(a.numpy(), f"{path}.{k}", arrays) for k, a in value.items()}}
    if isinstance(value, dict):
        return {"dict": {str(k): _encode(v, f"{path}.{k}", arrays) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        return {"list": [_encode(v, f"{path}.{i}", arrays) for i, v in enumerate(value)]}
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
    return [_decode(v, arrays) for v in content]
