"""`fedlm deploy down`."""

import typer

from fedlm.cli.deploy.options import DeploymentFolder


def down(folder: DeploymentFolder) -> None:
    """Stops every process that `up` started and removes the message store."""
    from server.deploy.processes import Deployment

    typer.echo(f"stopped {Deployment(folder).down()} processes")
