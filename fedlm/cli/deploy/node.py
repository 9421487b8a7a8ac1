"""`fedlm deploy node`: an owner's node on the owner's machine."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.deploy.options import MIN_CHUNK, DeploymentFolder, check_unchanged
from fedlm.cli.options import Settings
from fedlm.errors import ConfigError


def node(
    folder: DeploymentFolder,
    corpus: Annotated[str, typer.Option(help="The owner's text; sealed the first time.")] = "",
    superlink: Annotated[str, typer.Option(help="The coordinator's address, HOST:PORT.")] = "",
    ca: Annotated[Path | None, typer.Option(help="The coordinator's ca.pem.")] = None,
    pseudonym_key: Annotated[Path | None, typer.Option(help="The federation's pseudonym key.")] = None,
    settings: Settings = None,
    min_chunk_clients: Annotated[int | None, typer.Option(help=f"{MIN_CHUNK} (2)")] = None,
    max_runs: Annotated[
        int | None, typer.Option(help="Runs of the usual kind that the node joins without asking you. (0)")
    ] = None,
    prepare_only: Annotated[bool, typer.Option("--prepare-only", help="Make keys and vault, and stop.")] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a new node key after an expulsion, and stop.")
    ] = False,
) -> None:
    """Runs an owner's node in the foreground; the first time, makes its keys and vault, which never leave it."""
    from clients.deploy.folder import NodeFolder
    from clients.deploy.supervisor import NodeProcess, say

    if new_key:
        _make_key(folder)
        return
    is_new = not folder.exists()
    if is_new:
        key = [f"pseudonym_key={pseudonym_key}"] if pseudonym_key else []
        given = {"min_chunk_clients": min_chunk_clients, "max_runs": max_runs}
        rules = {key: value for key, value in given.items() if value is not None}
        _make(folder, corpus, superlink, ca, [*(settings or []), *key], rules)
    elif corpus or ca or pseudonym_key or settings:
        raise ConfigError(
            f"{folder} exists already, with its vault: leave --corpus, --ca, --pseudonym-key and --set out."
        )
    found = NodeFolder(folder)
    check_unchanged({"--superlink": superlink or None}, {"--superlink": found.superlink}, folder / "node.toml")
    policy = found.policy()
    has = {"--min-chunk-clients": policy.min_chunk_clients, "--max-runs": policy.max_runs}
    check_unchanged({"--min-chunk-clients": min_chunk_clients, "--max-runs": max_runs}, has, folder / "policy.toml")
    if not prepare_only:
        NodeProcess(found, say).run()
    elif not is_new:
        typer.echo(f"{folder} exists already, with its vault: nothing to prepare")


def _make_key(folder: Path) -> None:
    from clients.deploy.folder import NodeFolder
    from clients.deploy.keys import create_node_key

    made = create_node_key(NodeFolder(folder).path)
    typer.echo(f"made {made}; give it to the coordinator and restart the node")


def _make(
    folder: Path, corpus: str, superlink: str, ca: Path | None, settings: list[str], rules: Mapping[str, object]
) -> None:
    """Makes a node's folder with its keys and its vault: whole, or not at all."""
    from clients.deploy.folder import make_node
    from clients.policy import Policy
    from fedlm.config import RunConfig
    from fedlm.preparation.vault import prepare
    from fedlm.system.terminal import ClientProgress
    from fedlm.vault.keys import KeySource

    if not (corpus and superlink and ca):
        raise ConfigError("A new node needs --corpus, --superlink HOST:PORT and --ca FILE.")
    config = RunConfig.load(None, settings)
    make_node(folder, superlink, ca, Policy.checked(rules))
    try:
        source = KeySource(folder / "vault.db.key")
        with ClientProgress("scrubbing and sealing") as progress:
            done = prepare(corpus, folder / "vault.db", source, config, progress.update, keep=lambda name: True)
    except BaseException:
        shutil.rmtree(folder)
        raise
    for line in done.told(config.min_documents):
        typer.echo(line)
    typer.echo(f"made {folder}; give {folder / 'node.key.pub'} to the coordinator")
