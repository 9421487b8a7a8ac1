"""`fedlm deploy server`: the coordinator on a separate machine."""

from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.deploy.options import MAX_MESSAGE, DeploymentFolder, Hosts, check_unchanged
from fedlm.errors import ConfigError

_PORT, _BIND, _MESSAGE = 9443, "0.0.0.0", 2**29  # noqa: S104 - the one open port


def server(
    folder: DeploymentFolder,
    host: Hosts = None,
    port: Annotated[int | None, typer.Option(help="The one open port (9443).", min=1, max=65535)] = None,
    bind: Annotated[str | None, typer.Option(help="Address on which the open port listens (0.0.0.0).")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Write a new server certificate and stop.")] = False,
    max_message_bytes: Annotated[int | None, typer.Option(help=MAX_MESSAGE, min=1024)] = None,
) -> None:
    """Runs the coordinator in the foreground; the first time, makes its folder, keys and certificates."""
    from server.deploy.certificates import server_names
    from server.deploy.coordinator import run as serve
    from server.deploy.folder import ServerFolder

    path = folder / "server"
    if renew:
        _renew(path, host)
        return
    if (folder / "node.toml").exists():
        raise ConfigError(f"{folder} is a node's folder: give the coordinator a separate folder.")
    if not path.exists():
        _make(
            path, host or [], bind or _BIND, port or _PORT, _MESSAGE if max_message_bytes is None else max_message_bytes
        )
    found = ServerFolder(path)
    has = {"--port": found.port, "--bind": found.host, "--max-message-bytes": found.max_message_bytes}
    check_unchanged(
        {"--port": port, "--bind": bind, "--max-message-bytes": max_message_bytes}, has, path / "server.toml"
    )
    if missing := set(host or []) - set(server_names(path / "server.pem")):
        raise ConfigError(
            f"The certificate is not for {', '.join(sorted(missing))}: run the command once with --renew and every --host."
        )
    serve(found, typer.echo)


def _renew(path: Path, host: list[str] | None) -> None:
    from server.deploy.certificates import create_server_certificate, server_names

    certificate = path / "server.pem"
    create_server_certificate(path, host or server_names(certificate))
    typer.echo(f"renewed {certificate} for {', '.join(server_names(certificate))}; restart the coordinator")


def _make(path: Path, hosts: list[str], bind: str, port: int, max_message_bytes: int) -> None:
    from server.deploy.setup import make_server

    make_server(path, hosts, bind, port, max_message_bytes)
    name = (hosts or ["this machine's name"])[0]
    typer.echo(f"made {path}; give {path / 'ca.pem'} and the address {name}:{port} to the owners")
