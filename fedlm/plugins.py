"""Plug-ins: one file in a folder, named by a spec string, or a user's class, named by `package.module:Class`.

A file of a plug-in folder is a plug-in if it defines exactly one public subclass of the folder's base class; the plug-ins
share the other files. No code outside the folder refers to a plug-in by name.
"""

import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TypeVar

from fedlm.errors import ConfigError
from fedlm.spec import Spec

Kind = TypeVar("Kind")


def plugin_names(package: str, base: type[object]) -> tuple[str, ...]:
    """Returns the names of the plug-ins in a folder, in alphabetical order."""
    return tuple(name for name in _files(package) if len(_subclasses(import_module(f"{package}.{name}"), base)) == 1)


@cache
def _files(package: str) -> list[str]:
    return sorted(m.name for m in iter_modules(import_module(package).__path__))


def plugin_class(what: str, spec: Spec, package: str, base: type[Kind]) -> type[Kind]:
    """Returns the class that a spec names.

    Args:
      what: the kind of plug-in for error messages, for example "mechanism".
      spec: its name, or `package.module:Class`; the class itself checks the options.
      package: the folder of plug-ins.
      base: the base class of this kind.

    Raises:
      ConfigError: there is no such plug-in, or the class is not one.
    """
    module, colon, name = spec.name.partition(":")
    if not colon and module not in plugin_names(package, base):
        known = ", ".join(plugin_names(package, base))
        raise ConfigError(f"There is no {what} {spec.name!r}: use {known}, or your own class as package.module:Class.")
    if not colon:
        return _subclasses(import_module(f"{package}.{module}"), base)[0]
    try:
        return _class_named(import_module(module), name, base)
    except (ImportError, AttributeError, TypeError, SyntaxError) as error:
        raise ConfigError(f"The {what} {spec.name!r} cannot be loaded: {error}.") from None


def _class_named(module: ModuleType, name: str, base: type[Kind]) -> type[Kind]:
    found = getattr(module, name)
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise TypeError(f"it is not a subclass of {base.__module__}.{base.__name__}")
    return found


def _subclasses(module: ModuleType, base: type[Kind]) -> list[type[Kind]]:
    """Returns the public subclasses of `base` that a module defines."""
    own = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    return [c for c in own if issubclass(c, base) and c is not base and not c.__name__.startswith("_")]


def checked_options(what: str, spec: Spec, defaults: Mapping[str, float | int | str | bool]) -> dict[str, object]:
    """Returns a plug-in's options with its defaults.

    Raises:
      ConfigError: an option is unknown, or its type is not that of the default.
    """
    for name, value in spec.options.items():
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise ConfigError(f"The {what} {spec.name} has no option {name!r}; its options are: {known}.")
        wanted = type(defaults[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ConfigError(f"The option {name}={value!r} of the {what} {spec.name} is not a {wanted.__name__}.")
    return {**defaults, **spec.options}
