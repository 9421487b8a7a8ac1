"""Plug-ins that are classes: one file in a folder, named by a spec string, or a user's class, `package.module:Class`.

A file of a plug-in folder is a plug-in if it defines exactly one public subclass of the folder's base class; the plug-ins
share the other files. No code outside the folder refers to a plug-in by name.

A user's class is checked when it is loaded: it overrides what it must, and its methods accept what fedlm passes to the base
class' methods. A method that fails later names the class, the method, and the line.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType, new_class
from typing import Any, Generic, TypeVar, cast

from fedlm.errors import ConfigError, PluginFailure
from fedlm.plugins.calls import load_module, loading, running, takes
from fedlm.spec import Spec

Base = TypeVar("Base")
Types = type | tuple[type, ...]


@dataclass(frozen=True, eq=False)
class PluginKind(Generic[Base]):
    """A kind of plug-in.

    Attributes:
      what: its name in sentences, for example "mechanism".
      package: the folder of fedlm's own.
      base: the base class.
      required: what a class must define itself.
      returns: the types that methods return, where a wrong one would only be noticed later.
      refuses: methods that may raise a ValueError, which their caller reads.
      problem: returns what else is wrong with a class, or "".
    """

    what: str
    package: str
    base: type[Base]
    required: tuple[str, ...] = ()
    returns: Mapping[str, Types] = field(default_factory=dict)
    refuses: tuple[str, ...] = ()
    problem: Callable[[type[Base]], str] = lambda _: ""

    def names(self) -> tuple[str, ...]:
        """Returns the names of fedlm's own plug-ins, in alphabetical order."""
        files = _files(self.package)
        return tuple(n for n in files if len(_subclasses(import_module(f"{self.package}.{n}"), self.base)) == 1)

    def find(self, spec: Spec) -> type[Base]:
        """Returns the class that a spec names; the class itself checks the options.

        Raises:
          ConfigError: there is no such plug-in, it does not load, or the class is not one.
        """
        module, colon, name = spec.name.partition(":")
        if not colon and module not in self.names():
            known = ", ".join(self.names())
            raise ConfigError(
                f"There is no {self.what} {spec.name!r}: use {known}, or your own class as package.module:Class."
            )
        if not colon:
            return _subclasses(import_module(f"{self.package}.{module}"), self.base)[0]
        found = getattr(load_module(self.what, spec.name, module), name, None)
        if problem := self._wrong(found, module, name):
            raise ConfigError(f"The {self.what} {spec.name!r} cannot be used: {problem}.")
        return cast(type[Base], _watched(self, found))

    def build(self, spec: Spec, *arguments: object) -> Base:
        """Returns a plug-in, made from the arguments.

        Raises:
          ConfigError: there is no such plug-in, an option is wrong, or its `__init__` raises an exception.
        """
        make: Any = self.find(spec)
        module, colon, _ = spec.name.partition(":")
        if not colon:
            return cast(Base, make(*arguments))
        with loading(f"The {self.what} {spec.name!r} cannot be built", module):
            return cast(Base, make(*arguments))

    def methods(self) -> list[str]:
        """Returns the methods that fedlm may call."""
        return [name for name, value in vars(self.base).items() if inspect.isfunction(value) and name[0] != "_"]

    def _wrong(self, found: Any, module: str, name: str) -> str:
        """Returns what is wrong with what a user's module has under a name; "" if it is a plug-in of this kind."""
        if found is None:
            return f"the module {module} has no class {name}"
        if not (inspect.isclass(found) and issubclass(found, self.base)):
            return f"it is not a subclass of {self.base.__module__}.{self.base.__name__}"
        lacks = [r for r in self.required if getattr(found, r, None) is getattr(self.base, r, None)]
        if lacks:
            return f"the class must define {', '.join(lacks)}"
        return next(filter(None, (_mismatch(found, self.base, m) for m in ("__init__", *self.methods()))), "") or (
            self.problem(found)
        )


def label_of(plugin: object) -> str:
    """Returns the name of a plug-in's class, as a configuration names one of the user's own."""
    return f"{type(plugin).__module__}:{type(plugin).__qualname__}"


@cache
def _files(package: str) -> list[str]:
    return sorted(m.name for m in iter_modules(import_module(package).__path__))


def _subclasses(module: ModuleType, base: type[Base]) -> list[type[Base]]:
    """Returns the public subclasses of `base` that a module defines."""
    own = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    return [c for c in own if issubclass(c, base) and c is not base and not c.__name__.startswith("_")]


def _mismatch(found: type, base: type, name: str) -> str:
    """Returns why a method cannot be called as that of the base class is; "" if it can."""
    own, theirs = getattr(found, name), getattr(base, name)
    if own is theirs:
        return ""
    if not callable(own):
        return f"its {name} must be a method"
    arguments = list(inspect.signature(theirs).parameters)[1:]
    is_bound = isinstance(inspect.getattr_static(found, name), staticmethod | classmethod)
    fits = takes(own, arguments if is_bound else ["self", *arguments])
    return "" if fits else f"its {name}() must accept ({', '.join(arguments) or 'no arguments'})"


@cache
def _watched(kind: PluginKind[Any], found: type) -> type:
    """Returns a subclass of a user's class whose methods name the class when they fail."""

    def describe(space: dict[str, Any]) -> None:
        space |= {k: getattr(found, k) for k in ("__module__", "__qualname__", "__doc__")}

    watched = new_class(found.__name__, (found,), {}, describe)
    for name in kind.methods():
        if getattr(found, name) is not getattr(kind.base, name):
            setattr(watched, name, _watched_method(kind, watched, name))
    return watched


def _watched_method(kind: PluginKind[Any], watched: type, name: str) -> Callable[..., Any]:
    what, module = f"{kind.what} {watched.__module__}:{watched.__qualname__}", watched.__module__
    passes = (ValueError,) if name in kind.refuses else ()
    wanted = kind.returns.get(name)

    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        with running(what, name, module, passes):
            result = getattr(super(watched, self), name)(*arguments, **keywords)
        if wanted is not None and not isinstance(result, wanted):
            first = wanted[0] if isinstance(wanted, tuple) else wanted
            raise PluginFailure(
                f"The {what} failed in {name}(): it returned a {type(result).__name__}, not a {first.__name__}."
            )
        return result

    method.__doc__ = getattr(watched, name).__doc__
    return method
