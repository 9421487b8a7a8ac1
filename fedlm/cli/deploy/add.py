"""`fedlm deploy add`."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.deploy.options import DeploymentFolder
from fedlm.errors import ConfigError


def add(
    folder: DeploymentFolder,
    pubkey: Annotated[Path, typer.Argument(help="The node's public key, node.key.pub.")],
    expel: Annotated[bool, typer.Option("--expel", help="Withdraw the admission.")] = False,
    max_clients: Annotated[
        int | None, typer.Option(help="The most clients that the node may have (100000 at first).", min=1)
    ] = None,
) -> None:
    """Admits the node with a public key, or expels it; an admitted node's --max-clients can be changed."""
    from clients.deploy.keys import load_public_key
    from server.deploy.folder import ServerFolder
    from server.deploy.members import set_max_clients

    found, key = ServerFolder(folder / "server"), load_public_key(pubkey)
    kept = found.admits()
    if expel:
        if not found.control.expel(key) and key not in kept:
            raise ConfigError(f"The node with {pubkey} is not admitted: there is nothing to withdraw.")
        for kind in ("pub", "toml"):
            (found.path / "nodes" / f"{kept.get(key, '')}.{kind}").unlink(missing_ok=True)
        typer.echo("expelled")
        return
    found.control.register(key)
    nodes, name = found.path / "nodes", kept.get(key) or _free_name(pubkey, set(kept.values()))
    if max_clients is not None:
        set_max_clients(nodes, name, max_clients)
    if key not in kept:
        shutil.copy(pubkey, nodes / f"{name}.pub")
    typer.echo("admitted")


def _free_name(pubkey: Path, taken: set[str]) -> str:
    """Returns a node's name for `status`: the file's (hospital-a.pub), or a part of the key if that is not distinctive."""
    name = pubkey.name.removesuffix(".pub")
    if name == "node.key" or name in taken:
        name = pubkey.read_text().split()[1][-12:].replace("/", "_")
    return name
