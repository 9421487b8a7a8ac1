"""Spec strings: a name, or `name(key=value, ...)` with Python literals: `dirichlet(alpha=0.1)`.

A name is a plug-in's, an import path (`package.module.Class`), or `package.module:Class`.
"""

import ast
import re
import threading
from dataclasses import dataclass
from typing import Any, Literal, overload

from fedlm.errors import ConfigError

SYNTAX_TREES = threading.RLock()
"""Hold it to build a syntax tree: CPython 3.11 counts their depth for all threads together, and raises a SystemError."""


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
      ConfigError: it is not a name with keyword literals.

    >>> parse_spec("lstm(units=64)")
    Spec(name='lstm', options={'units': 64})
    >>> parse_spec("mine.models:build(units=8)")
    Spec(name='mine.models:build', options={'units': 8})
    """
    module, rest = _split_module(text.strip())
    try:
        node = parsed_source(rest, "eval").body
        if isinstance(node, ast.Name | ast.Attribute):
            return Spec(module + _dotted(node), {})
        if isinstance(node, ast.Call) and not node.args:
            options = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg is not None}
            if len(options) == len(node.keywords):
                return Spec(module + _dotted(node.func), options)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested thousands deep
        pass
    raise ConfigError(f"{text!r} is not a name with options: write name, or name(key=value, ...) with plain values.")


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
