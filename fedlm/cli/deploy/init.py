"""`fedlm deploy init`."""

import shlex
from typing import Annotated

import typer

from fedlm.cli.deploy.options import MAX_MESSAGE, SMALLEST_COHORT, DeploymentFolder, Hosts
from fedlm.cli.options import ConfigFile, Settings


def init(
    folder: DeploymentFolder,
    nodes: Annotated[int, typer.Option(help="Number of owners, each with a separate vault and keys.")] = 3,
    corpus: Annotated[str, typer.Option(help="The corpus; its clients are split over the nodes.")] = "shakespeare",
    host: Hosts = None,
    config: ConfigFile = None,
    settings: Settings = None,
    smallest_cohort: Annotated[int, typer.Option(help=SMALLEST_COHORT)] = 1,
    max_message_bytes: Annotated[int, typer.Option(help=MAX_MESSAGE)] = 2**29,
) -> None:
    """Makes the keys, certificates, vaults and configuration of a deployment on this machine."""
    from clients.policy import Policy
    from fedlm.config import RunConfig
    from fedlm.system.terminal import ClientProgress
    from server.deploy import setup

    policy = Policy.checked({"smallest_cohort": smallest_cohort, "max_message_bytes": max_message_bytes})
    values = RunConfig.load(config, settings or [])
    with ClientProgress("scrubbing and sealing") as progress:
        setup.init(folder, nodes, corpus, values, host or [], policy, progress.update)
    start = f"fedlm deploy up {shlex.quote(str(folder))}"
    typer.echo(f"made {folder}: a coordinator and {nodes} nodes; start them with {start}")
