"""The gateway: a TLS reverse proxy that forwards only what an admitted node asks of Flower's fleet API.

In Flower 1.41 one server has the fleet, the control and the runtime API, and the control API takes
anyone's bundle. The SuperLink therefore listens on a Unix socket, and the gateway, the only open
port, passes `POST /v1/fleet/<method>` on to it:

    stranger --TLS, HTTP/1.1--> [head: read, checked, signature verified] ----> refused
    node     --TLS, HTTP/1.1--> [head: the same, and rebuilt            ] --Unix socket--> SuperLink
                                [body: Content-Length bytes, in time    ]

A stranger costs one descriptor for a few seconds, and nothing of what it sends is passed on or kept.
"""

import asyncio
import logging
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11

from clients.ipc.frames import unix_path
from server.deploy.admission import Admission
from server.deploy.connections import Bodies, Events, Pool, Rate, Recent, owner_of, this_task, to_stderr
from server.deploy.fleet_request import HEAD_BYTES, Refusal, parsed_request
from server.deploy.limits import Limits, raise_descriptor_limit
from server.deploy.peer import Peer, exchange

_START_SECONDS = 20.0
_ADDRESSES = 4096
_FULL_SECONDS = 0.2  # between two attempts to accept a connection when no descriptor is free


@dataclass(frozen=True)
class Gateway:
    """The gateway of one coordinator.

    Attributes:
      superlink: the SuperLink's Unix socket.
      folder: has server.pem, server.key, and the folder `nodes` with the keys of the admitted nodes.
      max_body_bytes: largest request.
      limits: of connections and time.
      events: reports what is refused.
    """

    superlink: Path
    folder: Path
    max_body_bytes: int = 2**29
    limits: Limits = field(default_factory=Limits)
    events: Events = field(default_factory=lambda: Events(to_stderr))

    async def serve(self, listener: socket.socket) -> None:
        """Serves a listening socket until cancelled."""
        await _House(self, self.limits.within(raise_descriptor_limit())).serve(listener)


class _House:
    """A gateway that serves; its connections are tasks of one event loop."""

    def __init__(self, gateway: Gateway, limits: Limits) -> None:
        self.superlink, self.max_body_bytes = gateway.superlink, gateway.max_body_bytes
        self.limits, self.events = limits, gateway.events
        self.admission, self.bodies = Admission(gateway.folder / "nodes"), Bodies(gateway.max_body_bytes)
        self.strangers = Pool(limits.strangers, limits.strangers_per_address)
        self.nodes, self.known_addresses = Pool(limits.nodes, limits.per_node), Recent(_ADDRESSES)
        self._rate, self._open = Rate(limits.new_per_second), 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION  # a handshake costs the server more than the client
        self.context.load_cert_chain(gateway.folder / "server.pem", gateway.folder / "server.key")

    async def serve(self, listener: socket.socket) -> None:
        """Accepts connections until cancelled."""
        loop = asyncio.get_running_loop()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would write lines for every lost connection
        loop.set_exception_handler(self._unexpected)
        listener.setblocking(False)
        while True:
            await asyncio.sleep(0)  # `sock_accept` does not yield while there are connections to accept
            if self._open > self.limits.strangers + self.limits.nodes:
                continue  # ended connections are still being closed
            try:
                channel, address = await loop.sock_accept(listener)
            except OSError:
                self.events.count("a connection could not be accepted", "are too many files open?")
                await asyncio.sleep(_FULL_SECONDS)
                continue
            self._admit(channel, str(address[0]))

    def _admit(self, channel: socket.socket, host: str) -> None:
        """Starts the task of a new connection."""
        owner = owner_of(host)
        if not self._rate.allows(owner):
            channel.close()
            self.events.count("too many new connections a second from one address", host)
            return
        task = asyncio.create_task(_Connection(self, channel, host).run())
        self._open += 1
        task.add_done_callback(self._ended)
        if self.strangers.add(owner, task, self.known_addresses):
            self.events.count("too many connections without a signed request: the oldest was closed", host)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._open -= 1

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.events.count(f"unexpected {type(context.get('exception')).__name__}", "a fault of the gateway")


class _Connection:
    """One connection: a stranger's until its first signed request, then a node's."""

    def __init__(self, house: _House, channel: socket.socket, host: str) -> None:
        self._house, self._channel, self._host, self._node = house, channel, host, ""
        self._client: Peer | None = None
        self._superlink: Peer | None = None

    async def run(self) -> None:
        """Serves the connection's requests, one after the other, and closes it."""
        graceful = False
        try:
            await self._serve()
            graceful = True
        except Refusal as refusal:
            self._house.events.count(f"refused: {refusal.status}", self._host)
            if self._client is not None:
                graceful = await self._client.refuse(refusal)
        except TimeoutError:
            self._house.events.count("too slow: the connection was closed", self._host)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, h11.ProtocolError):
            pass  # a lost or malformed peer: the connection is closed without a response
        finally:
            try:
                if graceful and self._client is not None:
                    await self._client.close()
            finally:  # even if the connection is ended while it waits above
                for peer in (self._client, self._superlink):
                    if peer is not None:
                        peer.abort()
                self._forget()

    async def _serve(self) -> None:
        limits = self._house.limits
        async with asyncio.timeout(limits.head_seconds):
            self._client = await Peer.secured(self._channel, self._house.context, limits.head_seconds)
            head = await self._client.read_head()
        while head is not None:
            request = parsed_request(head, self._house.max_body_bytes)
            self._recognise(self._house.admission.node(request.head))
            self._superlink = await self._connected()
            async with self._house.bodies.passing(self._node, request.length):
                if not await exchange(request, self._client, self._superlink, limits):
                    return
            async with asyncio.timeout(limits.idle_seconds):
                head = await self._client.read_head()

    def _recognise(self, node: str) -> None:
        """Counts the connection as the node's that signed its last request."""
        self._forget()
        self._node = node
        self._house.known_addresses.see(owner_of(self._host))
        if self._house.nodes.add(node, this_task()):
            self._house.events.count("too many connections of a node: the oldest was closed", self._host)

    def _forget(self) -> None:
        self._house.strangers.remove(owner_of(self._host), this_task())
        self._house.nodes.remove(self._node, this_task())

    async def _connected(self) -> Peer:
        """Returns an open connection to the SuperLink: the one before, or a new one.

        The SuperLink closes a connection that was idle for 5 seconds. While it is being started,
        the gateway waits for it: a node waits longer after each attempt that fails.
        """
        if self._superlink is not None:
            if self._superlink.is_open:
                return self._superlink
            self._superlink.abort()
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                with unix_path(self._house.superlink) as name:
                    return Peer(*await asyncio.open_unix_connection(name, limit=HEAD_BYTES))
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)
