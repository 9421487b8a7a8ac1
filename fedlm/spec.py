"""Spec strings: a name, or `name(key=value, ...)` with Python literals: `dirichlet(alpha=0.1)`.

A name is a plug-in's, an import path (`package.module.Class`), or `package.module:Class`.
"""

import ast
import math
import re
import threading
from dataclasses import dataclass
from typing import Any, Literal, overload

from fedlm.errors import ConfigError

SYNTAX_TREES = threading.RLock()
"""Hold it to build a syntax tree: CPython 3.11 counts their depth for all threads together, and raises a SystemError."""

_SHOWN = 80  # characters of an invalid spec; a remote one may be long


_NOT_FINITE = ("nan", "inf", "infinity")  # Python has no literal for them, but people write them


@dataclass(frozen=True)
class Spec:
    """A plug-in's name and its options."""

    name: str
    options: dict[str, Any]

    def __str__(self) -> str:
        """Returns the spec string.

        >>> str(Spec("lstm", {"units": 64}))
        'lstm(units=64)'
        """
        options = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


@overload
def parsed_source(text: str, mode: Literal["eval"]) -> ast.Expression: ...
@overload
def parsed_source(text: str, mode: Literal["exec"] = ...) -> ast.Module: ...
def parsed_source(text: str, mode: str = "exec") -> ast.AST:
    """Returns the syntax tree of Python source; any thread may ask. Nothing in fedlm calls `ast.parse` but this."""
    with SYNTAX_TREES:
        return ast.parse(text, mode=mode)


def parse_spec(text: str) -> Spec:
    """Reads a spec string. Only literals are evaluated, never code.

    Raises:
      ConfigError: it is not a name with keyword literals, or a number is not finite.

    >>> parse_spec("lstm(units=64)")
    Spec(name='lstm', options={'units': 64})
    >>> parse_spec("mine.models:build(units=8)")
    Spec(name='mine.models:build', options={'units': 8})
    """
    module, rest = _split_module(text.strip())
    try:
        node = parsed_source(rest, "eval").body
        for part in ast.walk(node):  # half of a surrogate pair could not be sent or printed
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value.encode()
        if isinstance(node, ast.Name | ast.Attribute):
            return Spec(module + _dotted(node), {})
        if isinstance(node, ast.Call) and not node.args:
            options = {k.arg: _literal(k.value, k.arg, text, rest) for k in node.keywords if k.arg is not None}
            if len(options) == len(node.keywords):
                return Spec(module + _dotted(node.func), options)
    except ConfigError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested thousands deep
        pass
    shown = repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."
    raise ConfigError(f"{shown} is not a name with options: write name, or name(key=value, ...) with plain values.")


def _literal(node: ast.expr, key: str, text: str, source: str) -> Any:
    """Returns the value of an option; raises a ValueError for what is no literal, a ConfigError for NaN and infinity."""
    for part in ast.walk(node):
        named = isinstance(part, ast.Name) and part.id.lower() in _NOT_FINITE
        if named or (isinstance(part, ast.Constant) and isinstance(part.value, float) and math.isinf(part.value)):
            shown = ast.get_source_segment(source, node)
            raise ConfigError(f"Invalid value for {key} in {text!r}: {shown} is not a finite number.")
    return ast.literal_eval(node)


def _split_module(text: str) -> tuple[str, str]:
    """Returns `package.module:` and what follows; "" and the text where it does not begin like that."""
    found = re.match(r"[A-Za-z_][\w.]*:", text)
    return (found.group(), text[found.end() :]) if found else ("", text)


def _dotted(node: ast.expr) -> str:
    """Returns a name or an import path; raises a ValueError for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise ValueError
