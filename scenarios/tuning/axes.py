"""The axes of a grid, as `--grid KEY=VALUE,VALUE` writes them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.spec import parse_spec

_REFUSED = {
    **dict.fromkeys(("rounds",), "is the budget, the same for every setting"),
    **dict.fromkeys(("seed",), "is that of the data; a search has seeds of its own, see --seeds"),
    **dict.fromkeys(
        (
            "scrub",
            "partition",
            "max_clients",
            "min_documents",
            "holdout_fraction",
            "validation_fraction",
            "pseudonym_key",
        ),
        "changes the text, and figures on different text cannot be compared",
    ),
    **dict.fromkeys(
        ("workers", "timeout", "eval_every", "eval_clients", "checkpoint_every", "keep_every", "quorum", "drift"),
        "does not change the model",
    ),
}
"""Keys that cannot be tuned, and why."""


@dataclass(frozen=True)
class Axis:
    """A key, or an option of a key's spec, and its values.

    Attributes:
      name: `local_epochs`, or `client_optimizer.learning_rate`.
      values: as they are written.
    """

    name: str
    values: tuple[str, ...]

    @property
    def key(self) -> str:
        """The configuration key."""
        return self.name.partition(".")[0]

    @property
    def option(self) -> str:
        """The option of the key's spec; empty where the key itself varies."""
        return self.name.partition(".")[2]

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The values as numbers; empty if one of them is none."""
        try:
            return {value: float(value) for value in self.values}
        except ValueError:
            return {}


def read_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Returns the axes of `--grid` options.

    Raises:
      ConfigError: there are none, a key is unknown or cannot be tuned, or a list has fewer than two different values.

    >>> read_axes(["strategy=FedAvg,FedAdam(eta=0.1, tau=0.01)"])[0].values
    ('FedAvg', 'FedAdam(eta=0.1, tau=0.01)')
    """
    if not texts:
        raise ConfigError("A search needs a grid: name what to tune with --grid KEY=VALUE,VALUE.")
    axes = [_axis(text) for text in texts]
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--grid names {name} twice: give all its values in one list.")
    return tuple(axes)


def written(grid: Mapping[str, Sequence[object]]) -> list[str]:
    """Returns a grid of Python values as the command line has it.

    >>> written({"local_epochs": [1, 2], "model.mode": ["relu", "a, b"], "strategy": ["FedAvg"]})
    ['local_epochs=1,2', "model.mode='relu','a, b'", 'strategy=FedAvg']
    """
    return [f"{name}={','.join(repr(v) if '.' in name else str(v) for v in values)}" for name, values in grid.items()]


def _axis(text: str) -> Axis:
    name, equals, listed = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not name:
        raise ConfigError(f"--grid {text!r} does not have the form KEY=VALUE,VALUE.")
    axis = Axis(name, tuple(value.strip() for value in _split(listed)))
    _check_key(axis)
    if "" in axis.values:
        raise ConfigError(f"--grid {text!r} has an empty value.")
    if len(axis.values) < 2:
        raise ConfigError(f"--grid {text!r} has one value: give two or more, or set the key with --set.")
    seen: list[object] = []
    for value in axis.values:
        same = _comparable(axis, value)
        if same in seen:
            raise ConfigError(f"--grid {text!r} has the value {value} twice.")
        seen.append(same)
    return axis


def _split(listed: str) -> Iterator[str]:
    """Yields the parts between commas; a comma in brackets or quotes separates nothing."""
    part, depth, quote = "", 0, ""
    for char in listed:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            yield part
            part = ""
            continue
        part += char
    yield part


def _check_key(axis: Axis) -> None:
    field = RunConfig.model_fields.get(axis.key)
    if field is None:
        RunConfig.checked({axis.key: ""})  # the error suggests a key
    if field is None or field.exclude:
        raise ConfigError(f"{axis.key!r} is not a key that you can set.")
    if axis.key in _REFUSED:
        raise ConfigError(f"{axis.key} cannot be tuned: it {_REFUSED[axis.key]}.")
    if axis.option and field.annotation is not str:
        raise ConfigError(f"{axis.key} has no options: its values are not names with options.")


def _comparable(axis: Axis, value: str) -> object:
    """Returns what two equal values have in common, however they are written."""
    if axis.option:
        found = option_value(axis.name, value)
        return type(found) is bool, found
    if value in axis.numbers:
        return axis.numbers[value]
    try:
        return parse_spec(value)
    except ConfigError:
        return value


def option_value(name: str, text: str) -> Any:
    """Returns the value of an option: a plain value of Python, or a bare word for a text.

    Raises:
      ConfigError: it is neither, or no finite number.

    >>> option_value("model.units", "64"), option_value("model.mode", "relu")
    (64, 'relu')
    """
    if text.isidentifier() and text not in ("True", "False", "None") and text.lower() not in ("nan", "inf", "infinity"):
        return text
    try:
        (found,) = parse_spec(f"spec(value={text})").options.values()
    except (ConfigError, ValueError):
        raise ConfigError(f"Invalid value for {name} in --grid: {text!r} is not a plain, finite value.") from None
    if isinstance(found, float) and not math.isfinite(found):
        raise ConfigError(f"Invalid value for {name} in --grid: {text!r} is not a plain, finite value.")
    return found
