"""What several commands print about a run."""

from collections.abc import Mapping
from typing import Any

import typer


def warn_of_failures(summary: Mapping[str, Any]) -> None:
    """Warns on stderr if updates of clients failed in a run; see `server.run.summary.failed_updates`."""
    from server.run.summary import failed_updates

    if sentence := failed_updates(summary):
        typer.echo(f"warning: {sentence}", err=True)
