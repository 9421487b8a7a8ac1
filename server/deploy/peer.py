"""One end of a connection of the gateway, and the exchange of one request and its response, with deadlines.

A body may fall `stall_seconds` behind the least mean rate:

    allowance = stall_seconds;  after each read: allowance += bytes / bytes_per_second - seconds waited, at most stall_seconds

Only the time that the gateway waits for the node counts, so a slow SuperLink costs nobody a connection.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Self

import h11

from server.deploy.fleet_request import HEAD_BYTES, HOP_BY_HOP, FleetRequest, Refusal, rebuilt
from server.deploy.limits import Limits

_BLOCK = 65536
_CLOSE_SECONDS = 2.0


class Peer:
    """One end: a node or stranger, or the SuperLink."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    @classmethod
    async def secured(cls, channel: socket.socket, context: ssl.SSLContext, seconds: float) -> Self:
        """Returns the peer of an accepted connection after its TLS handshake."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=HEAD_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, channel, ssl=context, ssl_handshake_timeout=seconds
            )
        except BaseException:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)  # ends a transport that was cancelled before it began; it closes
            raise
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed the connection."""
        return not (self.reader.at_eof() or self._writer.is_closing())

    async def read_head(self) -> bytes | None:
        """Returns the next head with its empty line; None if the connection was closed before."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None

    async def body(self, length: int, limits: Limits) -> AsyncIterator[bytes]:
        """Yields the unmodified bytes of a body as they arrive.

        Raises:
          TimeoutError: they arrive too slowly.
        """
        allowance = limits.stall_seconds
        while length:
            begun = time.monotonic()
            async with asyncio.timeout(allowance):
                block = await self.reader.read(min(length, _BLOCK))
            if not block:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(block)
            earned = len(block) / limits.bytes_per_second - (time.monotonic() - begun)
            allowance = min(allowance + earned, limits.stall_seconds)
            yield block

    async def send(self, connection: h11.Connection, event: h11.Event, seconds: float) -> None:
        """Writes a part of a request or response; waits at most `seconds` for room."""
        content = connection.send(event)
        if content:
            self._writer.write(content)
            async with asyncio.timeout(seconds):
                await self._writer.drain()

    async def refuse(self, refusal: Refusal) -> bool:
        """Writes a refusal; returns whether it could be written."""
        content = refusal.content.encode()
        kind = "Content-Type: application/json\r\n" if content else ""
        head = f"HTTP/1.1 {refusal.status}\r\n{kind}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        self._writer.write(head.encode() + content)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.drain()
                return True
        return False

    async def close(self) -> None:
        """Closes the connection once what was written has left, at most `_CLOSE_SECONDS` later."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()

    def abort(self) -> None:
        """Closes the connection at once, whatever was still to be written; again does no harm."""
        self._writer.transport.abort()


async def exchange(request: FleetRequest, node: Peer, superlink: Peer, limits: Limits) -> bool:
    """Forwards one request and its response; returns whether the node's connection can be reused."""
    backend = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    await superlink.send(backend, rebuilt(request.head), limits.response_seconds)
    async for block in node.body(request.length, limits):
        await superlink.send(backend, h11.Data(data=block), limits.response_seconds)
    await superlink.send(backend, h11.EndOfMessage(), limits.response_seconds)
    while not isinstance(event := await _next_event(superlink, backend, limits), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            headers = [(n, v) for n, v in event.headers.raw_items() if n.lower() not in HOP_BY_HOP]
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        await node.send(request.parser, event, limits.stall_seconds)
    await node.send(request.parser, h11.EndOfMessage(), limits.stall_seconds)
    if backend.their_state is not h11.DONE:  # the SuperLink closes its connection; the node's may stay open
        superlink.abort()
    return request.parser.our_state is h11.DONE


async def _next_event(peer: Peer, connection: h11.Connection, limits: Limits) -> h11.Event:
    """Returns the next part of a response; interim responses (1xx) are dropped, since the node requested none."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            async with asyncio.timeout(limits.response_seconds):
                connection.receive_data(await peer.reader.read(_BLOCK))
        elif isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
            return event
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("The SuperLink closed the connection before its response was complete.")
