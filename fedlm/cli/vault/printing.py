"""How the commands print what they found."""

from collections.abc import Mapping
from typing import Any

import typer

from fedlm.system.figures_json import to_json


def print_table(content: Mapping[str, Any], as_json: bool) -> None:
    """Prints one line per key, or JSON; counts and figures by name become one line."""
    if as_json:
        typer.echo(to_json(content))
        return
    for key, value in content.items():
        typer.echo(f"{key}: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        parts = [f"{name} {_shown(v)}" if isinstance(v, float) else f"{v} {name}" for name, v in value.items()]
        return ", ".join(parts) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
