"""Relays between a node and the gateway that record what passes."""

import asyncio
import contextlib
import socket
import ssl
import threading
from pathlib import Path


class Relay:
    """Listens on a port of loopback, passes on, and keeps the bytes of each direction of each connection.

    All of it runs in one thread: a TLS connection may not be read and written by two at once.

    Args:
      target: the gateway's port.
      server: the coordinator's folder. With it, the relay opens the TLS with the server's own key, and what it keeps is
        what was encrypted; without, it keeps what is on the wire.
    """

    def __init__(self, target: int, server: Path | None = None) -> None:
        self._target, self._ours, self._theirs = target, None, None
        if server is not None:
            self._ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._ours.load_cert_chain(server / "server.pem", server / "server.key")
            self._theirs = ssl.create_default_context(cafile=str(server / "ca.pem"))
        self.streams: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(asyncio.start_server(self._connect, sock=self._listener, ssl=self._ours))
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            name = None if self._theirs is None else "127.0.0.1"
            far = await asyncio.open_connection("127.0.0.1", self._target, ssl=self._theirs, server_hostname=name)
            await asyncio.gather(self._pass(reader, far[1]), self._pass(far[0], writer))
        writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.streams.append(kept)
        with contextlib.suppress(OSError):
            while block := await source.read(65536):
                kept += block
                sink.write(block)
                await sink.drain()
        sink.close()


def is_tls(stream: bytes) -> bool:
    """Returns whether a stream is TLS records only (RFC 8446, 5.1); the last one may be cut off."""
    at = 0
    while at + 5 <= len(stream):
        kind, version, length = stream[at], stream[at + 1 : at + 3], int.from_bytes(stream[at + 3 : at + 5], "big")
        if kind not in (20, 21, 22, 23) or version not in (b"\3\1", b"\3\3") or length > 2**14 + 256:
            return False
        at += 5 + length
    return True
