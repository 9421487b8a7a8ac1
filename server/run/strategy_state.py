"""The state of a Flower strategy between rounds, as arrays and JSON for a checkpoint."""

from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import Strategy

from fedlm.errors import ConfigError

Arrays = dict[str, npt.NDArray[Any]]


class StrategyState:
    """The attributes of a strategy that change between rounds: arrays, dicts and lists of them, records, numbers.

    Flower's strategies do not declare their state. It is found by comparing all attributes with those of the fresh strategy.

        attribute                array        record              dict, str keys     dict, other keys  list    tuple
        JSON, with one key       {"array": k} {"record": {...}}   {"dict": {...}}    {"pairs": [...]}  {"list": [...]} ...

    where k names an array of the checkpoint, such as "strategy.m_t.0".

    Args:
      strategy: freshly built; its present attributes need no checkpoint.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy, self._fresh = strategy, {k: _copied(v) for k, v in vars(strategy).items()}

    def capture(self) -> tuple[Arrays, dict[str, Any]]:
        """Returns the arrays by key, and a JSON tree that refers to them.

        Raises:
          ConfigError: the strategy has state of another type, so the run could not be resumed.
        """
        arrays: Arrays = {}
        fresh = self._fresh
        changed = {k: v for k, v in vars(self._strategy).items() if k not in fresh or not _same(_copied(v), fresh[k])}
        return arrays, {k: _encode(v, f"strategy.{k}", arrays) for k, v in changed.items()}

    def restore(self, arrays: Arrays, tree: dict[str, Any]) -> None:
        """Restores what `capture` returned."""
        for key, value in tree.items():
            held, found = getattr(self._strategy, key, None), _decode(value, arrays)
            if isinstance(held, dict) and isinstance(found, dict):  # filled in place: it may be a defaultdict
                held.clear()
                held.update(found)
            else:
                setattr(self._strategy, key, found)


def _copied(value: object) -> object:
    """Returns a copy of a value: a strategy may change dicts, lists and arrays in place."""
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
    """Returns whether two copies have the same bits; objects of other types are compared by identity."""
    if type(now) is not type(before):
        return False
    if isinstance(now, np.ndarray):
        return (now.dtype, now.shape) == (before.dtype, before.shape) and now.tobytes() == before.tobytes()
    if isinstance(now, dict):
        return list(now) == list(before) and all(_same(v, before[k]) for k, v in now.items())
    if isinstance(now, list | tuple):
        return len(now) == len(before) and all(map(_same, now, before))
    # repr distinguishes 0.0 from -0.0 and equates NaN with NaN, unlike ==.
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
    if isinstance(value, dict):  # JSON allows only strings as keys
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
