"""Spec strings: `name`, or `name(key=value, ...)` with Python literals, e.g. `dirichlet(alpha=0.1)`.

A name is a plug-in's, or the import path of one's own: `package.module.Name` or `package.module:name`.
"""

import ast
import re
import threading
from dataclasses import dataclass
from typing import Any

from fedlm.errors import ConfigError

# CPython 3.11 keeps one recursion count for all threads that build syntax trees: two at once can raise a SystemError.
_ONE_AT_A_TIME = threading.Lock()


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


def parse_spec(text: str) -> Spec:
    """Reads a spec string. Only literals are evaluated, never code.

    Raises:
      ConfigError: not a name with keyword literals.

    >>> parse_spec("lstm(units=64)")
    Spec(name='lstm', options={'units': 64})
    >>> parse_spec("mine.models:build(units=8)")
    Spec(name='mine.models:build', options={'units': 8})
    """
    module, rest = _split_module(text.strip())
    try:
        with _ONE_AT_A_TIME:
            node = ast.parse(rest, mode="eval").body
        if isinstance(node, ast.Name | ast.Attribute):
            return Spec(module + _dotted(node), {})
        if isinstance(node, ast.Call) and not node.args:
            options = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg is not None}
            if len(options) == len(node.keywords):
                return Spec(module + _dotted(node.func), options)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested thousands deep
        pass
    raise ConfigError(f"{text!r} is no name with options: write name, or name(key=value, ...) with plain values.")


def _split_module(text: str) -> tuple[str, str]:
    """Returns `package.module:` and what follows; "" and the text where it does not begin like that."""
    found = re.match(r"[A-Za-z_][\w.]*:", text)
    return (found.group(), text[found.end() :]) if found else ("", text)


def _dotted(node: ast.expr) -> str:
    """Returns a name or an import path; ValueError for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise ValueError
