"""Flower's HTTP APIs on a Unix socket of this user instead of a TCP port.

Flower 1.41 serves its APIs on TCP only, and every user of a machine can connect to a port on
loopback. The control API starts anyone's code, and the runtime API hands out tasks. On a Unix socket
of mode 0600 the kernel refuses other users:

    serve_on(PATH)                    a Flower server of this process listens on the socket
    client_on(PATH, kind, ...)        a client of ours connects to it
    connect_over_sockets()            clients that Flower creates connect to an address "unix:PATH"
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn
from flwr.supercore.protobuf.client import ProtobufClient, ProtobufClientInterceptor

from clients.ipc.frames import private_listener, unix_path

SCHEME = "unix:"
_SECONDS = 30.0  # as Flower's own clients
Client = TypeVar("Client", bound=ProtobufClient)


class _SocketTransport(httpx.HTTPTransport):
    """Connects to a Unix socket; its path may be longer than the kernel accepts."""

    def __init__(self, path: Path) -> None:
        self._opened = contextlib.ExitStack()
        name = self._opened.enter_context(unix_path(path))
        super().__init__(uds=name, verify=False)  # no TLS here, and reading all authorities takes 30 ms

    def close(self) -> None:
        super().close()
        self._opened.close()


def client_on(
    path: Path, kind: type[Client], interceptors: Sequence[ProtobufClientInterceptor], retry_invoker: Any = None
) -> Client:
    """Returns a client of one of Flower's APIs on a Unix socket.

    Raises:
      httpx.ConnectError: the socket's folder does not exist.
    """
    client = kind("http://localhost", interceptors=interceptors, verify=False, retry_invoker=retry_invoker)
    client._client.close()
    try:
        client._client = httpx.Client(transport=_SocketTransport(path), timeout=_SECONDS)
    except OSError as error:
        raise httpx.ConnectError(str(error)) from None
    return client


def connect_over_sockets() -> None:
    """Lets the clients that Flower creates in this process connect to addresses that begin with SCHEME."""
    original: Any = ProtobufClient.__dict__["from_server_address"].__func__

    def from_server_address(cls: type[Client], server_address: str, *given: Any, **named: Any) -> Any:
        if not server_address.startswith(SCHEME):
            return original(cls, server_address, *given, **named)
        path = Path(server_address.removeprefix(SCHEME))
        return client_on(path, cls, named["interceptors"], named.get("retry_invoker"))

    setattr(ProtobufClient, "from_server_address", classmethod(from_server_address))  # noqa: B010 - no TCP


def serve_on(path: Path) -> None:
    """Lets uvicorn, which serves Flower's APIs in this process, listen on a Unix socket and on no port; without TLS."""
    run = uvicorn.Server.run

    def run_on_socket(server: uvicorn.Server, sockets: object = None) -> None:  # noqa: ARG001 - uvicorn's signature
        server.config.ssl_certfile = server.config.ssl_keyfile = None  # nothing leaves the machine
        with private_listener(path) as listener:
            run(server, [listener])

    setattr(uvicorn.Server, "run", run_on_socket)  # noqa: B010 - Flower has no option for it
