"""`fedlm deploy`: the same training as real processes over TLS (docs/deployment.md)."""

import json
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fedlm.commands.options import ConfigFile, Json, Settings
from fedlm.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Trains with real processes over TLS, on one machine or several.")

Hosts = Annotated[list[str] | None, typer.Option("--host", help="A name or address of the coordinator; repeatable.")]
SmallestCohort = Annotated[int, typer.Option(help="Clients that a message must name, or the node refuses.")]
MaxMessage = Annotated[int, typer.Option(help="Largest message, in bytes.")]


@app.command()
def init(
    folder: Path,
    nodes: Annotated[int, typer.Option(help="Owners, each with a vault and keys of its own.")] = 3,
    corpus: Annotated[str, typer.Option(help="Its clients are split over the nodes.")] = "shakespeare",
    host: Hosts = None,
    config: ConfigFile = None,
    settings: Settings = None,
    smallest_cohort: SmallestCohort = 1,
    max_message_bytes: MaxMessage = 2**29,
) -> None:
    """Makes keys, certificates, vaults and configuration of a deployment on this machine."""
    from clients.policy import Policy
    from fedlm.config import RunConfig
    from fedlm.progress import ClientProgress
    from server import setup

    policy = Policy.model_validate({"smallest_cohort": smallest_cohort, "max_message_bytes": max_message_bytes})
    values = RunConfig.load(config, settings or [])
    with ClientProgress("scrubbing and sealing", quiet=True) as progress:
        setup.init(folder, nodes, corpus, values, host or [], policy, progress.update)
    typer.echo(f"made {folder}: a coordinator and {nodes} nodes; start them with fedlm deploy up {folder}")


@app.command()
def up(folder: Path) -> None:
    """Starts the SuperLink, the nodes and their workers, and waits until all are connected."""
    from server.deployment import Deployment

    deployment = Deployment(folder)
    typer.echo(f"{deployment.up()} nodes are connected to port {deployment.server.port}")


@app.command()
def run(
    folder: Path,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of --out.")] = False,
    as_json: Json = False,
) -> None:
    """Trains over the connected nodes and shows each round."""
    from server.deployed_run import train

    def show(line: dict[str, Any]) -> None:
        if line.get("epsilon", False) is not False:  # under differential privacy nothing else may be shown
            typer.echo(f"round {line['round']}: epsilon {'unbounded' if line['epsilon'] is None else line['epsilon']}")
            return
        figures = line.get("eval", {})
        held_out = f", held-out accuracy {figures['accuracy']:.4f}" if figures else ""
        left_out = f", {line['failed']} left out" if line["failed"] else ""
        typer.echo(f"round {line['round']}: {line['seconds']:.1f} s{left_out}{held_out}")

    out = out or folder / "runs" / time.strftime("%Y%m%d-%H%M%S")
    summary = train(folder, out, settings or [], (lambda line: None) if as_json else show, resume=resume)
    typer.echo(
        json.dumps(summary) if as_json else f"weights {summary['weights_sha256']}\nreport: {out / 'report.html'}"
    )


@app.command()
def status(folder: Path, as_json: Json = False) -> None:
    """Says what runs and which nodes are connected."""
    from server.deployment import Deployment

    found = Deployment(folder).status()
    typer.echo(json.dumps(found) if as_json else "\n".join(f"{k}: {v}" for k, v in found.items()))


@app.command()
def down(folder: Path) -> None:
    """Ends every process of the deployment and removes the message store."""
    from server.deployment import Deployment

    typer.echo(f"ended {Deployment(folder).down()} processes")


@app.command()
def server(
    folder: Path,
    host: Hosts = None,
    port: Annotated[int, typer.Option(help="The one open port.")] = 9443,
    bind: Annotated[str, typer.Option(help="Address that the open port listens on.")] = "0.0.0.0",  # noqa: S104
    renew: Annotated[bool, typer.Option("--renew", help="Write a new server certificate and stop.")] = False,
    max_message_bytes: MaxMessage = 2**29,
) -> None:
    """Runs the coordinator in the foreground; the first time, makes its folder, keys and certificates."""
    from server.certificates import create_server_certificate
    from server.coordinator import ServerFolder
    from server.coordinator import run as serve
    from server.setup import make_server

    path = folder / "server"
    if renew:
        create_server_certificate(path, host or [])
        typer.echo(f"renewed {path / 'server.pem'}; restart the coordinator")
        return
    if not path.exists():
        make_server(path, host or [], bind, port, max_message_bytes)
        typer.echo(f"made {path}; give {path / 'ca.pem'} and this address to the owners")
    serve(ServerFolder(path))


@app.command()
def node(
    folder: Path,
    corpus: Annotated[str, typer.Option(help="The owner's text; sealed the first time.")] = "",
    superlink: Annotated[str, typer.Option(help="The coordinator's HOST:PORT.")] = "",
    ca: Annotated[Path | None, typer.Option(help="The coordinator's ca.pem.")] = None,
    pseudonym_key: Annotated[Path | None, typer.Option(help="The federation's pseudonym key.")] = None,
    settings: Settings = None,
    smallest_cohort: SmallestCohort = 1,
    prepare_only: Annotated[bool, typer.Option("--prepare-only", help="Make keys and vault, and stop.")] = False,
) -> None:
    """Runs an owner's node in the foreground; the first time, makes its keys and vault, which never leave it."""
    if not folder.exists():
        _make_node(folder, corpus, superlink, ca, pseudonym_key, settings or [], smallest_cohort)
        typer.echo(f"made {folder}; give {folder / 'node.key.pub'} to the coordinator")
    elif not (folder / "node.toml").is_file():
        raise ConfigError(f"{folder} is not a node's folder: it has no node.toml.")
    if not prepare_only:
        from clients.executor import NodeFolder, NodeProcess

        NodeProcess(NodeFolder(folder)).run()


def _make_node(
    folder: Path,
    corpus: str,
    superlink: str,
    ca: Path | None,
    pseudonym_key: Path | None,
    settings: list[str],
    smallest_cohort: int,
) -> None:
    from clients.policy import Policy
    from fedlm.config import RunConfig
    from fedlm.prepare import prepare
    from fedlm.vault.keys import KeySource
    from server.setup import make_node

    if not (corpus and superlink and ca):
        raise ConfigError("A new node needs --corpus, --superlink HOST:PORT and --ca FILE.")
    key = [f"pseudonym_key={pseudonym_key}"] if pseudonym_key else []
    config = RunConfig.load(None, [*settings, *key])
    make_node(folder, superlink, ca, Policy.model_validate({"smallest_cohort": smallest_cohort}))
    try:
        source = KeySource(folder / "vault.db.key")
        prepare(corpus, folder / "vault.db", source, config, lambda done, total: None, keep=lambda name: True)
    except BaseException:
        shutil.rmtree(folder)
        raise


@app.command()
def add(
    folder: Path,
    pubkey: Path,
    expel: Annotated[bool, typer.Option("--expel", help="Take the admission back.")] = False,
) -> None:
    """Admits the node with a public key (node.key.pub), or expels it."""
    from server.certificates import load_public_key
    from server.coordinator import ServerFolder

    server_folder = ServerFolder(folder / "server")
    key, name = load_public_key(pubkey), pubkey.read_text().split()[1][-24:].replace("/", "_")
    kept = server_folder.path / "nodes" / f"{name}.pub"
    if expel:
        server_folder.control.expel(key)
        for file in server_folder.path.glob("nodes/*.pub"):
            if load_public_key(file) == key:
                file.unlink()
        typer.echo("expelled")
        return
    server_folder.control.register(key)
    shutil.copy(pubkey, kept)
    typer.echo("admitted")
