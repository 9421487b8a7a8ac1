"""Options that several commands of a deployment share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fedlm.errors import ConfigError

MIN_CHUNK = "Clients that a message of training must name; the node refuses smaller messages."
MIN_GROUP = "Clients with held-out text that an evaluation needs; the node refuses smaller ones."
MAX_MESSAGE = "Largest message, in bytes."
DeploymentFolder = Annotated[Path, typer.Argument(help="The deployment's folder.")]
Hosts = Annotated[
    list[str] | None, typer.Option("--host", help="A name or address of the coordinator; may be repeated.")
]


def check_unchanged(asked: Mapping[str, object], has: Mapping[str, object], file: Path) -> None:
    """Raises a ConfigError if an option differs from what was set when a folder was made."""
    for option, value in asked.items():
        if value not in (None, has[option]):
            raise ConfigError(f"{option} {value}: the folder was made with {has[option]}; change it in {file}.")
