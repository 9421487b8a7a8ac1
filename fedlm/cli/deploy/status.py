"""`fedlm deploy status`."""

from typing import Any

import typer

from fedlm.cli.deploy.options import DeploymentFolder
from fedlm.cli.options import Json
from fedlm.system.figures_json import to_json


def status(folder: DeploymentFolder, as_json: Json = False) -> None:
    """Shows which processes run, which nodes are connected, and how far the runs are."""
    from server.deploy.processes import Deployment

    found: dict[str, Any] = Deployment(folder).status()
    if as_json:
        typer.echo(to_json(found))
        return
    process = f", process {found['process']}" if found["process"] else ""
    typer.echo(f"coordinator: {found['coordinator']}, port {found['port']}{process}")
    for node in found["nodes"]:
        since = f" since {node['since'][:19].replace('T', ' ')} UTC" if node["status"] == "online" else ""
        typer.echo(f"node {node['name']}: {node['status']}{since}")
    for one in found["runs"]:
        typer.echo(f"run {one['folder']}: round {one['round']} of {one['rounds']}, {one['state']}")
