"""The gateway: a TLS reverse proxy that forwards only Flower's fleet API.

In Flower 1.41 one port serves the fleet, the control and the runtime API, and the control API takes
anyone's bundle. The SuperLink therefore listens on loopback, and the gateway, the only open port,
passes `POST /v1/fleet/<method>` on to it:

    node --TLS, HTTP/1.1--> [head: read, checked, rebuilt] --TLS, loopback--> SuperLink
                            [body: Content-Length bytes  ]

h11 parses and writes every head. It is lenient where HTTP implementations disagree (bare line
feeds, folded lines, repeated lengths), and a disagreement between two parsers is what smuggles a
second request past the first one. So a head that could be read in two ways is refused before and
after h11 has seen it, and the SuperLink gets a new head, never the bytes that came.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h11

_FLEET = re.compile(rb"/v1/fleet/[a-z]+(-[a-z]+)*")
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t"
_LENGTH, _LENGTH_DIGITS = b"content-length", 12
# Headers about one connection, which a proxy does not pass on (RFC 9110, 7.6.1), and those that the
# gateway sets itself.
_HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-authorization", b"expect"}
_NOT_PASSED = _HOP_BY_HOP | {b"host"}
_HEAD_BYTES, _BLOCK = 16384, 65536
_IDLE_SECONDS, _START_SECONDS = 75.0, 20.0


class Refusal(Exception):
    """A request is not forwarded; `status` is the answer's status line after the version."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Peer(NamedTuple):
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(frozen=True)
class Gateway:
    """The gateway of one coordinator.

    Attributes:
      backend_port: the SuperLink's port on loopback.
      folder: has server.pem, server.key and ca.pem.
      max_body_bytes: largest request.
    """

    backend_port: int
    folder: Path
    max_body_bytes: int = 2**29

    async def serve(self, listener: socket.socket) -> None:
        """Serves a listening socket until cancelled."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        server = await asyncio.start_server(self._connection, sock=listener, ssl=context, limit=_HEAD_BYTES)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves the requests of one node's connection, one after the other."""
        node, superlink = Peer(reader, writer), None
        try:
            while (head := await _read_head(reader)) is not None:
                request = parsed_request(head, self.max_body_bytes)
                superlink = await self._connected(superlink)
                if not await _exchange(request, node, superlink):
                    return
        except Refusal as refusal:
            writer.write(f"HTTP/1.1 {refusal.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            with contextlib.suppress(OSError):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, h11.ProtocolError):
            pass  # a lost, slow or malformed peer: the connection is closed without a response
        finally:
            for peer in (node, superlink):
                if peer is not None:
                    peer.writer.close()
                    with contextlib.suppress(OSError):
                        await peer.writer.wait_closed()

    async def _connected(self, before: Peer | None) -> Peer:
        """Returns an open connection to the SuperLink: the one before, or a new one.

        The SuperLink closes a connection that was idle for 5 seconds. While it is being started,
        the gateway waits for it: a node waits longer after each attempt that fails.
        """
        if before is not None:
            if not (before.reader.at_eof() or before.writer.is_closing()):
                return before
            before.writer.close()
        context, end = ssl.create_default_context(cafile=str(self.folder / "ca.pem")), time.monotonic() + _START_SECONDS
        while True:
            try:
                return Peer(
                    *await asyncio.open_connection("127.0.0.1", self.backend_port, ssl=context, limit=_HEAD_BYTES)
                )
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


class FleetRequest(NamedTuple):
    """A request that may be forwarded.

    Attributes:
      head: method, target and headers, as h11 read them.
      length: bytes of the body.
      parser: h11's state of the node's connection, which writes the response.
    """

    head: h11.Request
    length: int
    parser: h11.Connection


def parsed_request(head: bytes, max_body_bytes: int) -> FleetRequest:
    """Reads a request's head, up to and with the empty line.

    Raises:
      Refusal: it is not a call of the fleet API (403), malformed or ambiguous (400), or its body is
        too large (413).
    """
    # Printable ASCII in lines that end with CR LF: no control character, no bare CR or LF, no
    # folded line.
    if head.replace(b"\r\n", b"").translate(None, _PRINTABLE) or b"\r\n " in head or b"\r\n\t" in head:
        raise Refusal("400 Bad Request")
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
    try:
        parser.receive_data(head)
        request = parser.next_event()
    except h11.RemoteProtocolError:
        raise Refusal("400 Bad Request") from None
    if not isinstance(request, h11.Request):
        raise Refusal("400 Bad Request")
    if (request.method, request.http_version) != (b"POST", b"1.1") or not _FLEET.fullmatch(request.target):
        raise Refusal("403 Forbidden")
    length = _body_length(head, request)
    if length > max_body_bytes:
        raise Refusal("413 Content Too Large")
    return FleetRequest(request, length, parser)


def _body_length(head: bytes, request: h11.Request) -> int:
    """Returns the length of the body; it is given once and in digits, and there is no other framing.

    h11 merges repeated lengths ("5, 5", or two equal headers), so they are counted in the lines
    themselves.
    """
    fields = [line.partition(b":") for line in head.split(b"\r\n")]
    lengths = [value.strip() for name, _, value in fields if name.lower() == _LENGTH]
    is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
    if is_chunked or len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > _LENGTH_DIGITS:
        raise Refusal("400 Bad Request")
    return int(lengths[0])


def rebuilt(request: h11.Request) -> h11.Request:
    """Returns a request's head as it goes to the SuperLink."""
    kept = [(name, value) for name, value in request.headers.raw_items() if name.lower() not in _NOT_PASSED]
    return h11.Request(method=b"POST", target=request.target, headers=[(b"Host", b"127.0.0.1"), *kept])


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    """Returns the next head with its empty line; None if the connection was closed before."""
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _IDLE_SECONDS)
    except asyncio.IncompleteReadError:
        return None


async def _exchange(request: FleetRequest, node: Peer, superlink: Peer) -> bool:
    """Forwards one request and its response; returns whether the node's connection can be reused."""
    backend = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
    await _send(superlink, backend, rebuilt(request.head))
    async for block in _body(node.reader, request.length):
        await _send(superlink, backend, h11.Data(data=block))
    await _send(superlink, backend, h11.EndOfMessage())
    while not isinstance(event := await _next_event(superlink, backend), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            headers = [(n, v) for n, v in event.headers.raw_items() if n.lower() not in _HOP_BY_HOP]
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        await _send(node, request.parser, event)
    await _send(node, request.parser, h11.EndOfMessage())
    if backend.their_state is not h11.DONE:  # the SuperLink closes its connection; the node's may stay open
        superlink.writer.close()
    return request.parser.our_state is h11.DONE


async def _body(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    """Yields the unmodified bytes of a body as they arrive."""
    while length:
        block = await reader.read(min(length, _BLOCK))
        if not block:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(block)
        yield block


async def _next_event(peer: Peer, connection: h11.Connection) -> h11.Event:
    """Returns the next part of a response; interim responses (1xx) are dropped, since the node requested none."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await peer.reader.read(_BLOCK))
        elif isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
            return event
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("The SuperLink closed the connection before its response was complete.")


async def _send(peer: Peer, connection: h11.Connection, event: h11.Event) -> None:
    content = connection.send(event)
    if content:
        peer.writer.write(content)
        await peer.writer.drain()
