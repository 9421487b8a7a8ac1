"""`fedlm config`."""

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.errors import ConfigError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_KINDS = {"int": "whole number", "float": "number", "bool": "true or false"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def config(key: Annotated[str, typer.Argument(help="One key; by default, all keys are printed.")] = "") -> None:
    """Prints the configuration keys: defaults, types, ranges and meaning."""
    from fedlm.config import RunConfig

    fields = {name: info for name, info in RunConfig.model_fields.items() if not info.exclude}
    key = key.replace("-", "_")
    if key and key not in fields:
        RunConfig.checked({key: ""})  # says what is near
        raise ConfigError(f"{key!r} is not a key that you can set.")
    defaults = {line.partition(" = ")[0]: line for line in RunConfig().to_toml().splitlines()}
    for name in [key] if key else fields:
        typer.echo(f"{defaults[name]}  # {_range(fields[name])}")
        typer.echo(textwrap.indent(textwrap.fill(f"{fields[name].description}", 92), "    "))


def _range(info: "FieldInfo") -> str:
    """Returns a key's type and bounds."""
    kind = _KINDS.get(getattr(info.annotation, "__name__", ""), "text")
    bounds = [
        f"{sign} {'2^63' if limit == 2**63 else f'{limit:g}'}"
        for rule in info.metadata
        for name, sign in _BOUNDS.items()
        if (limit := getattr(rule, name, None)) is not None
    ]
    return ", ".join([kind, *bounds])
