"""`fedlm deploy up`."""

import typer

from fedlm.cli.deploy.options import DeploymentFolder
from fedlm.errors import counted


def up(folder: DeploymentFolder) -> None:
    """Starts the SuperLink, nodes and workers that are not running, and waits until all are connected."""
    from server.deploy.processes import Deployment

    deployment = Deployment(folder)
    away = deployment.up(lambda sentence: typer.echo(sentence, err=True))
    online, port = len(deployment.members()) - len(away), deployment.server.port
    connected = f"{counted(online, 'node')} connected to port {port}"
    typer.echo(connected + (f"; not connected: {', '.join(away)}" if away else ""))
