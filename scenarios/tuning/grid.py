"""The grid of a search: configuration keys and options of specs, each with its values; every combination is one setting.

    strategy=FedAvg,FedAdam  strategy.eta=0.01,0.1   ->   FedAvg;  FedAdam(eta=0.01);  FedAdam(eta=0.1)

An option that a method does not have is left out for it, so FedAvg is one setting here, not two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from fedlm.config import RunConfig
from fedlm.errors import ConfigError, UnknownOption
from fedlm.spec import Spec, parse_spec
from scenarios.tuning.axes import Axis, option_value
from server.run.strategies import accepts_mean, build_strategy

MOST_SETTINGS = 1000


@dataclass(frozen=True)
class Setting:
    """One combination of values.

    Attributes:
      method: its value of the key for whose values the search tunes separately; empty without one.
      values: by axis, as they are written; an axis is missing where its option is left out.
      config: the configuration, without the seed of a run.
    """

    method: str
    values: Mapping[str, str]
    config: RunConfig

    @property
    def words(self) -> str:
        """The values in one line."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items())


@dataclass(frozen=True)
class Grid:
    """All settings of a search.

    Attributes:
      axes: what varies.
      per: the axis for whose values the search tunes separately; empty for none.
      settings: each once.
      left_out: a sentence for each method and option that do not go together.
    """

    axes: tuple[Axis, ...]
    per: str
    settings: tuple[Setting, ...]
    left_out: tuple[str, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the grid's order."""
        return tuple(dict.fromkeys(s.method for s in self.settings))


def build_grid(base: RunConfig, axes: Sequence[Axis], per: str = "") -> Grid:
    """Returns every combination of values as a setting, each checked.

    Args:
      base: the configuration of all that does not vary.
      axes: what varies.
      per: the name of an axis, whose values are tuned separately.

    Raises:
      ConfigError: a setting is invalid, no method has an option of the grid, or `per` names no axis.
    """
    per = per.replace("-", "_")
    if per and per not in [axis.name for axis in axes]:
        raise ConfigError(f"--per {per} names nothing of the grid: {', '.join(axis.name for axis in axes)}.")
    if (count := math.prod(len(axis.values) for axis in axes)) > MOST_SETTINGS:
        raise ConfigError(f"The grid has {count:,} settings; a search takes at most {MOST_SETTINGS:,}.")
    options = _Options(base, axes)
    settings: dict[tuple[tuple[str, str], ...], Setting] = {}
    for combination in product(*(axis.values for axis in axes)):
        values = options.kept(dict(zip([axis.name for axis in axes], combination, strict=True)))
        if (same := tuple(values.items())) not in settings:
            settings[same] = Setting(values.get(per, ""), values, options.config(values))
    options.check_used()
    return Grid(tuple(axes), per, tuple(settings.values()), tuple(options.left_out))


class _Options:
    """The options of a grid's methods: which of them a method has, and the configuration with them.

    Args:
      base, axes: see `build_grid`.
    """

    def __init__(self, base: RunConfig, axes: Sequence[Axis]) -> None:
        self._base, self._axes = base, axes
        self._lacking: dict[tuple[str, str], UnknownOption | None] = {}  # by axis and spec

    @property
    def left_out(self) -> list[str]:
        """A sentence for each option that a method does not have."""
        return [
            f"{spec} has no option {axis.partition('.')[2]}, so {axis} is left out for it."
            for (axis, spec), error in self._lacking.items()
            if error is not None
        ]

    def kept(self, values: Mapping[str, str]) -> dict[str, str]:
        """Returns the values without those of options that the setting's methods do not have."""
        return {axis.name: values[axis.name] for axis in self._axes if not (axis.option and self._lacks(axis, values))}

    def _lacks(self, axis: Axis, values: Mapping[str, str]) -> bool:
        spec = values.get(axis.key, getattr(self._base, axis.key))
        if axis.key in values and axis.option in parse_spec(spec).options:
            raise ConfigError(f"{spec} sets {axis.option}, which --grid {axis.name} varies: give it in one place.")
        if (axis.name, spec) not in self._lacking:
            self._lacking[axis.name, spec] = self._missing(
                axis, {**self._own(axis.key, values), axis.name: axis.values[0]}
            )
        return self._lacking[axis.name, spec] is not None

    @staticmethod
    def _own(key: str, values: Mapping[str, str]) -> dict[str, str]:
        return {key: values[key]} if key in values else {}

    def _missing(self, axis: Axis, values: Mapping[str, str]) -> UnknownOption | None:
        """Returns the error if a method does not have an option; any other mistake is found in a whole setting."""
        try:
            self.config(values)
        except UnknownOption as error:
            return error if error.option == axis.option else None
        except ConfigError:
            return None
        return None

    def check_used(self) -> None:
        """Refuses an option that no method has."""
        for axis in self._axes:
            found = [error for (name, _), error in self._lacking.items() if name == axis.name]
            if found and (error := found[0]) is not None and None not in found:
                raise error

    def config(self, values: Mapping[str, str]) -> RunConfig:
        """Returns the configuration of a setting."""
        overrides = {axis.key: values[axis.name] for axis in self._axes if axis.name in values and not axis.option}
        specs: dict[str, Spec] = {}
        for axis in self._axes:
            if axis.option and axis.name in values:
                spec = specs.get(axis.key) or parse_spec(overrides.get(axis.key, getattr(self._base, axis.key)))
                specs[axis.key] = Spec(
                    spec.name, {**spec.options, axis.option: option_value(axis.name, values[axis.name])}
                )
        overrides |= {key: str(spec) for key, spec in specs.items()}
        config = RunConfig.load(self._base, [f"{key}={value}" for key, value in overrides.items()])
        config.privacy.check(accepts_mean=accepts_mean(build_strategy(config.strategy)))
        return config
