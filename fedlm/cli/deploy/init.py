"""`fedlm deploy init`."""

import shlex
from typing import Annotated

import typer

from fedlm.cli.deploy.options import MAX_MESSAGE, MIN_CHUNK, MIN_GROUP, DeploymentFolder, Hosts
from fedlm.cli.options import ConfigFile, Settings
from fedlm.errors import counted


def init(
    folder: DeploymentFolder,
    nodes: Annotated[int, typer.Option(help="Number of owners, each with a separate vault and keys.")] = 3,
    corpus: Annotated[str, typer.Option(help="The corpus; its clients are split over the nodes.")] = "shakespeare",
    host: Hosts = None,
    config: ConfigFile = None,
    settings: Settings = None,
    min_chunk_clients: Annotated[int, typer.Option(help=MIN_CHUNK)] = 1,
    min_group: Annotated[int, typer.Option(help=MIN_GROUP)] = 1,
    max_message_bytes: Annotated[int, typer.Option(help=MAX_MESSAGE)] = 2**29,
) -> None:
    """Makes the keys, certificates, vaults and configuration of a deployment on this machine."""
    from clients.policy import Policy
    from fedlm.config import RunConfig
    from fedlm.system.terminal import ClientProgress
    from server.deploy import setup

    rules = {"min_chunk_clients": min_chunk_clients, "min_group": min_group, "max_message_bytes": max_message_bytes}
    policy = Policy.checked(rules)
    values = RunConfig.load(config, settings or [])
    with ClientProgress("scrubbing and sealing") as progress:
        told = setup.init(folder, nodes, corpus, values, host or [], policy, progress.update)
    for line in told:
        typer.echo(line)
    start = f"fedlm deploy up {shlex.quote(str(folder))}"
    typer.echo(f"made {folder}: a coordinator and {counted(nodes, 'node')}; start them with {start}")
