"""The options of a plug-in, or of a function: known names, and values of the right type."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fedlm.errors import ConfigError, UnknownOption
from fedlm.spec import Spec


def checked_options(what: str, spec: Spec, defaults: Mapping[str, float | int | str | bool]) -> dict[str, object]:
    """Returns a plug-in's options with its defaults.

    Raises:
      ConfigError: an option is unknown, or its type is not that of the default.
    """
    _check_options(what, spec, {name: type(default) for name, default in defaults.items()})
    return {**defaults, **spec.options}


def check_arguments(what: str, spec: Spec, function: Callable[..., object], beside: Collection[str] = ()) -> None:
    """Checks that a function takes the options of a spec as keyword arguments.

    Args:
      what: the kind of thing for error messages, for example "corpus".
      spec: its name and options.
      function: its signature says which options there are, which are required, and of which type the plain ones are.
      beside: parameters that do not come from the spec.

    Raises:
      ConfigError: an option is unknown, missing or of another type.
    """
    taken = {n: p for n, p in inspect.signature(function).parameters.items() if n not in beside}
    _check_options(what, spec, {name: p.annotation for name, p in taken.items()})
    missing = [n for n, p in taken.items() if p.default is p.empty and n not in spec.options]
    if missing:
        raise ConfigError(f"The {what} {spec.name} needs the option{'s' * (len(missing) > 1)} {', '.join(missing)}.")


_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "True or False", list[str]: "a list of texts"}
"""The types of options that are checked, and how a user knows them."""


def type_problem(value: object, kind: Any) -> str:
    """Returns what is wrong with an option's type, "" if nothing; a whole number is a number, other types are not checked.

    >>> type_problem(2.5, int), type_problem(2, float)
    ('is not a whole number', '')
    """
    if kind == list[str]:
        right = isinstance(value, list) and all(isinstance(each, str) for each in value)
    else:
        right = kind not in _PLAIN or type(value) is kind or (kind is float and type(value) is int)
    return "" if right else f"is not {_PLAIN[kind]}"


def _check_options(what: str, spec: Spec, types: Mapping[str, Any]) -> None:
    for name, value in spec.options.items():
        if name not in types:
            known = ", ".join(types) or "none"
            raise UnknownOption(name, f"The {what} {spec.name} has no option {name!r}; its options are: {known}.")
        if problem := type_problem(value, types[name]):
            raise ConfigError(f"The option {name}={value!r} of the {what} {spec.name} {problem}.")
