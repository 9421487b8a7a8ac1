"""How the commands print what they found."""

import json
from collections.abc import Mapping
from typing import Any

import typer


def print_table(content: Mapping[str, Any], as_json: bool) -> None:
    """Prints a line a key, or JSON; counts by kind become one line."""
    if as_json:
        typer.echo(json.dumps(content))
        return
    for key, value in content.items():
        told = ", ".join(f"{n} {kind}" for kind, n in value.items()) or "none" if isinstance(value, dict) else value
        typer.echo(f"{key}: {told:.4g}" if isinstance(told, float) else f"{key}: {told}")
