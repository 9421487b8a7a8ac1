"""How the commands print what they found."""

import json
from collections.abc import Mapping
from typing import Any

import typer


def print_table(content: Mapping[str, Any], as_json: bool) -> None:
    """Prints one line per key, or JSON; counts and figures by name become one line."""
    if as_json:
        typer.echo(json.dumps(content))
        return
    for key, value in content.items():
        typer.echo(f"{key}: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        parts = [f"{name} {_shown(v)}" if isinstance(v, float) else f"{v} {name}" for name, v in value.items()]
        return ", ".join(parts) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
