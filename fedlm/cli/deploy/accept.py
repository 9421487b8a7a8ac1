"""`fedlm deploy accept`: an owner accepts a run, or withdraws that."""

from pathlib import Path
from typing import Annotated

import typer


def accept(
    node: Annotated[Path, typer.Argument(help="The node's folder.")],
    manifest: Annotated[str, typer.Argument(help="SHA-256 of the run's manifest, or how it begins.")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Refuse the run, or withdraw an acceptance.")] = False,
) -> None:
    """Allows a run that deploy review shows; the node answers it from its next message on."""
    from clients.contract.approvals import Approvals
    from clients.deploy.folder import NodeFolder

    approvals = Approvals(NodeFolder(node).path / "runs")
    found = approvals.find(manifest)
    if withdraw:
        if approvals.is_refused(found.sha256):
            typer.echo(f"refused already: {found.sha256}")
            return
        approvals.refuse(found)
        typer.echo(f"refused: {found.sha256}; the node refuses the run's next message")
        return
    approvals.accept(found)
    typer.echo(f"accepted: {found.sha256}")
