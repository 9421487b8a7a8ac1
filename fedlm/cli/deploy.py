"""`fedlm deploy`: the same training as real processes over TLS (docs/deployment.md); the commands of one machine."""

import json
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fedlm.cli import deploy_hosts
from fedlm.cli.options import ConfigFile, Json, Settings

app = typer.Typer(no_args_is_help=True, help="Trains with real processes over TLS, on one machine or several.")


@app.command()
def init(
    folder: Path,
    nodes: Annotated[int, typer.Option(help="Owners, each with a vault and keys of its own.")] = 3,
    corpus: Annotated[str, typer.Option(help="Its clients are split over the nodes.")] = "shakespeare",
    host: deploy_hosts.Hosts = None,
    config: ConfigFile = None,
    settings: Settings = None,
    smallest_cohort: Annotated[int, typer.Option(help=deploy_hosts.SMALLEST_COHORT)] = 1,
    max_message_bytes: Annotated[int, typer.Option(help=deploy_hosts.MAX_MESSAGE)] = 2**29,
) -> None:
    """Makes keys, certificates, vaults and configuration of a deployment on this machine."""
    from clients.policy import Policy
    from fedlm.config import RunConfig
    from fedlm.system.terminal import ClientProgress
    from server.deploy import setup

    policy = Policy.checked({"smallest_cohort": smallest_cohort, "max_message_bytes": max_message_bytes})
    values = RunConfig.load(config, settings or [])
    with ClientProgress("scrubbing and sealing") as progress:
        setup.init(folder, nodes, corpus, values, host or [], policy, progress.update)
    typer.echo(
        f"made {folder}: a coordinator and {nodes} nodes; start them with fedlm deploy up {shlex.quote(str(folder))}"
    )


@app.command()
def up(folder: Path) -> None:
    """Starts what does not run yet, the SuperLink, nodes and workers, and waits until all are connected."""
    from server.deploy.processes import Deployment

    deployment = Deployment(folder)
    away = deployment.up(lambda sentence: typer.echo(sentence, err=True))
    online, port = len(deployment.members()) - len(away), deployment.server.port
    typer.echo(f"{online} nodes are connected to port {port}" + (f"; not: {', '.join(away)}" if away else ""))


@app.command()
def run(
    folder: Path,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default DIR/runs/TIME.")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of --out.")] = False,
    as_json: Json = False,
) -> None:
    """Trains over the connected nodes and shows each round."""
    from fedlm.errors import ConfigError
    from server.deploy.submit import train

    def show(line: dict[str, Any]) -> None:
        if line.get("epsilon", False) is not False:  # under differential privacy nothing else may be shown
            typer.echo(f"round {line['round']}: epsilon {'unbounded' if line['epsilon'] is None else line['epsilon']}")
            return
        figures = line.get("eval", {})
        held_out = f", held-out accuracy {figures['accuracy']:.4f}" if figures else ""
        left_out = f", {line['failed']} left out" if line["failed"] else ""
        typer.echo(f"round {line['round']}: {line['seconds']:.1f} s{left_out}{held_out}")

    if resume and out is None:
        raise ConfigError("Which run is to go on? Name its folder with --out.")
    out = out or folder / "runs" / time.strftime("%Y%m%d-%H%M%S")
    listener = (lambda line: None) if as_json else show
    summary = train(folder, out, settings or [], listener, lambda s: typer.echo(s, err=True), resume=resume)
    typer.echo(
        json.dumps(summary) if as_json else f"weights {summary['weights_sha256']}\nreport: {out / 'report.html'}"
    )


@app.command()
def status(folder: Path, as_json: Json = False) -> None:
    """Says what runs, which nodes are connected, and how far the runs are."""
    from server.deploy.processes import Deployment

    found: dict[str, Any] = Deployment(folder).status()
    if as_json:
        typer.echo(json.dumps(found))
        return
    process = f", process {found['process']}" if found["process"] else ""
    typer.echo(f"coordinator: {found['coordinator']}, port {found['port']}{process}")
    for node in found["nodes"]:
        since = f" since {node['since'][:19].replace('T', ' ')} UTC" if node["status"] == "online" else ""
        typer.echo(f"node {node['name']}: {node['status']}{since}")
    for one in found["runs"]:
        typer.echo(f"run {one['folder']}: round {one['round']} of {one['rounds']}, {one['state']}")


@app.command()
def down(folder: Path) -> None:
    """Ends every process that `up` started and removes the message store."""
    from server.deploy.processes import Deployment

    typer.echo(f"ended {Deployment(folder).down()} processes")


app.command()(deploy_hosts.server)
app.command()(deploy_hosts.node)
app.command()(deploy_hosts.add)
