"""`fedlm deploy server`, `node` and `add`: the parts of a deployment, each on a machine of its own."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Settings
from fedlm.errors import ConfigError

SMALLEST_COHORT = "Clients that a message must name, or the node refuses."
MAX_MESSAGE = "Largest message, in bytes."
Hosts = Annotated[list[str] | None, typer.Option("--host", help="A name or address of the coordinator; repeatable.")]
_PORT, _BIND, _MESSAGE = 9443, "0.0.0.0", 2**29  # noqa: S104 - the one open port


def server(
    folder: Path,
    host: Hosts = None,
    port: Annotated[int | None, typer.Option(help="The one open port (9443).", min=1, max=65535)] = None,
    bind: Annotated[str | None, typer.Option(help="Address that the open port listens on (0.0.0.0).")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Write a new server certificate and stop.")] = False,
    max_message_bytes: Annotated[int | None, typer.Option(help=MAX_MESSAGE, min=1024)] = None,
) -> None:
    """Runs the coordinator in the foreground; the first time, makes its folder, keys and certificates."""
    from server.deploy.certificates import create_server_certificate, server_names
    from server.deploy.coordinator import run as serve
    from server.deploy.folder import ServerFolder
    from server.deploy.setup import make_server

    path = folder / "server"
    if renew:
        names = host or server_names(path / "server.pem")
        create_server_certificate(path, names)
        typer.echo(f"renewed {path / 'server.pem'} for {', '.join(server_names(path / 'server.pem'))}; restart it")
        return
    if (folder / "node.toml").exists():
        raise ConfigError(f"{folder} is a node's folder: give the coordinator one of its own.")
    if not path.exists():
        make_server(
            path, host or [], bind or _BIND, port or _PORT, _MESSAGE if max_message_bytes is None else max_message_bytes
        )
        name = (host or ["this machine's name"])[0]
        typer.echo(f"made {path}; give {path / 'ca.pem'} and the address {name}:{port or _PORT} to the owners")
    found = ServerFolder(path)
    has = {"--port": found.port, "--bind": found.host, "--max-message-bytes": found.max_message_bytes}
    _as_before({"--port": port, "--bind": bind, "--max-message-bytes": max_message_bytes}, has, path / "server.toml")
    if missing := set(host or []) - set(server_names(path / "server.pem")):
        raise ConfigError(
            f"The certificate is not for {', '.join(sorted(missing))}: add --renew, once, with every --host."
        )
    serve(found, typer.echo)


def _as_before(asked: Mapping[str, object], has: Mapping[str, object], file: Path) -> None:
    """Raises a ConfigError if an option says otherwise than what was settled when a folder was made."""
    for option, value in asked.items():
        if value not in (None, has[option]):
            raise ConfigError(f"{option} {value}: it was made with {has[option]}; change it in {file}.")


def node(
    folder: Path,
    corpus: Annotated[str, typer.Option(help="The owner's text; sealed the first time.")] = "",
    superlink: Annotated[str, typer.Option(help="The coordinator's HOST:PORT.")] = "",
    ca: Annotated[Path | None, typer.Option(help="The coordinator's ca.pem.")] = None,
    pseudonym_key: Annotated[Path | None, typer.Option(help="The federation's pseudonym key.")] = None,
    settings: Settings = None,
    smallest_cohort: Annotated[int | None, typer.Option(help=f"{SMALLEST_COHORT} (1)")] = None,
    prepare_only: Annotated[bool, typer.Option("--prepare-only", help="Make keys and vault, and stop.")] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a new node key, after an expulsion, and stop.")
    ] = False,
) -> None:
    """Runs an owner's node in the foreground; the first time, makes its keys and vault, which never leave it."""
    from clients.deploy.folder import NodeFolder
    from clients.deploy.supervisor import NodeProcess, say

    if new_key:
        from clients.deploy.keys import create_node_key

        typer.echo(f"made {create_node_key(NodeFolder(folder).path)}; give it to the coordinator, restart the node")
        return
    made = not folder.exists()
    if made:
        _make_node(folder, corpus, superlink, ca, pseudonym_key, settings or [], smallest_cohort)
        typer.echo(f"made {folder}; give {folder / 'node.key.pub'} to the coordinator")
    elif corpus or ca or pseudonym_key or settings:
        raise ConfigError(
            f"{folder} is there already, with its vault: leave --corpus, --ca, --pseudonym-key and --set out."
        )
    found = NodeFolder(folder)
    _as_before({"--superlink": superlink or None}, {"--superlink": found.superlink}, folder / "node.toml")
    has = {"--smallest-cohort": found.policy().smallest_cohort}
    _as_before({"--smallest-cohort": smallest_cohort}, has, folder / "policy.toml")
    if not prepare_only:
        NodeProcess(found, say).run()
    elif not made:
        typer.echo(f"{folder} is there already, with its vault: nothing to prepare")


def _make_node(
    folder: Path,
    corpus: str,
    superlink: str,
    ca: Path | None,
    pseudonym_key: Path | None,
    settings: list[str],
    smallest_cohort: int | None,
) -> None:
    from clients.deploy.folder import make_node
    from clients.policy import Policy
    from fedlm.config import RunConfig
    from fedlm.preparation.vault import prepare
    from fedlm.system.terminal import ClientProgress
    from fedlm.vault.keys import KeySource

    if not (corpus and superlink and ca):
        raise ConfigError("A new node needs --corpus, --superlink HOST:PORT and --ca FILE.")
    key = [f"pseudonym_key={pseudonym_key}"] if pseudonym_key else []
    config = RunConfig.load(None, [*settings, *key])
    rules = {} if smallest_cohort is None else {"smallest_cohort": smallest_cohort}
    make_node(folder, superlink, ca, Policy.checked(rules))
    try:
        source = KeySource(folder / "vault.db.key")
        with ClientProgress("scrubbing and sealing") as progress:
            prepare(corpus, folder / "vault.db", source, config, progress.update, keep=lambda name: True)
    except BaseException:
        shutil.rmtree(folder)
        raise


def add(
    folder: Path,
    pubkey: Path,
    expel: Annotated[bool, typer.Option("--expel", help="Take the admission back.")] = False,
) -> None:
    """Admits the node with a public key (node.key.pub), or expels it."""
    from clients.deploy.keys import load_public_key
    from server.deploy.folder import ServerFolder

    found, key = ServerFolder(folder / "server"), load_public_key(pubkey)
    kept = found.admits()
    if expel:
        if not found.control.expel(key) and key not in kept:
            raise ConfigError(f"The node with {pubkey} is not admitted: there is nothing to take back.")
        (found.path / "nodes" / f"{kept.get(key, '')}.pub").unlink(missing_ok=True)
        typer.echo("expelled")
        return
    found.control.register(key)
    if key not in kept:
        shutil.copy(pubkey, found.path / "nodes" / f"{_free_name(pubkey, set(kept.values()))}.pub")
    typer.echo("admitted")


def _free_name(pubkey: Path, taken: set[str]) -> str:
    """Returns what `status` calls a node: the file's name (hospital-a.pub), or a piece of the key where that says nothing."""
    name = pubkey.name.removesuffix(".pub")
    if name == "node.key" or name in taken:
        name = pubkey.read_text().split()[1][-12:].replace("/", "_")
    return name
